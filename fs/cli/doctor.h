/*
 * What `corpusfs doctor` looks at. Each finding is a JSON object {area, what, value, state: "ok", "slow", "note" (neither slow nor
 * wrong, but to be known) or "bad", mend: what to do, or "", time?: the value as seconds since 1970, where it is a time}.
 * The checks of the system need nothing; those of a store ask its daemon, if it has one.
 */
#ifndef CORPUSFS_CLI_DOCTOR_H
#define CORPUSFS_CLI_DOCTOR_H

#include <jansson.h>
#include <stdbool.h>

enum doctor_state { DOCTOR_OK, DOCTOR_SLOW, DOCTOR_NOTE, DOCTOR_BAD };

/* Takes over nothing; `value` and `mend` are copied. */
void doctor_note(json_t *findings, const char *area, const char *what, enum doctor_state state, const char *value, const char *mend);

void doctor_system(json_t *findings);
/* Whether the daemons behind mounts answer: of one mountpoint, of a store, or of all stores. False: one does not, so ask none of them. */
bool doctor_mounts(json_t *findings, const char *store, const char *mountpoint);
/* status: result of store.status, with "mounts" if a daemon gave it; mountpoint: only this mount, or NULL for all. */
void doctor_store(json_t *findings, const char *store, const json_t *status, const char *mountpoint);

#endif
