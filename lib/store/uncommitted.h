/*
 * What is said where heads could not be committed: the one way, with the file that is to blame, and what helps. Any thread; takes catalog_lock and
 * epoch locks, so the caller holds nothing but change_lock.
 */
#ifndef CORPUSFS_STORE_UNCOMMITTED_H
#define CORPUSFS_STORE_UNCOMMITTED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/error.h"

struct store;

/* Which file of these heads, by the numbers of their views, could not be committed: DATASET/PATH, freed by the caller. NULL: none. count 0: of all. */
char *uncommitted_file(struct store *store, const uint32_t *views, size_t count);

/*
 * Behind what the error says and has the code of, a commit or a freeze of these heads that failed, comes why, and its hint is what helps. True: the
 * reason is a file.
 */
bool uncommitted_explain(struct store *store, const uint32_t *views, size_t count, struct error *err);
/* The same after store_hooks.freeze, which may have said itself what is lost. */
bool uncommitted_explain_freeze(struct store *store, const uint32_t *views, size_t count, const struct error *lost, struct error *err);

#endif
