/*
 * What was found good in which repository, whoever looked, and how the last drill there went. One record of the catalogue ('J' "verified"):
 *
 *   {repository: {dataset's STORE/NUMBER: when the newest backup was taken that came back or was read whole, ...,
 *                 "drill": {"tried": when the last one ended, "time": when the last one ended well, "seconds": how long that took,
 *                           "failure": text or null},
 *                 "noted": when something was}, ...}
 *
 * of the VERIFIED_REPOSITORIES in which somebody looked last. Repositories are named as in schedules (backup_schedule.h). A drill by the clock that failed
 * is told by its schedule and not noted here; one that went well is.
 *
 * Any thread.
 */
#ifndef CORPUSFS_BACKUP_VERIFIED_H
#define CORPUSFS_BACKUP_VERIFIED_H

#include <jansson.h>

#include "lib/store/store.h"

#define VERIFIED_REPOSITORIES 64

struct verified_note {
	const char *repository;
	bool is_drill;
	bool has_newest; /* the newest backups were among them, so what was known before counts no more */
	int64_t now;
	const char *failure; /* NULL: it went well */
	double seconds;
	const json_t *taken; /* {dataset's STORE/NUMBER: when its newest backup was taken that was found good}, or NULL */
};
WARN_UNUSED int verified_note(struct store *store, const struct verified_note *note, struct error *err);

/* When the newest backup of the dataset with this STORE/NUMBER was taken that was found good in the repository; 0: none is known. */
WARN_UNUSED int verified_get(struct store *store, const char *repository, const char *of, double *ret_taken, struct error *err);

/* {repository: its "drill"}, the caller's. */
WARN_UNUSED int verified_drills(struct store *store, json_t **ret_drills, struct error *err);
/* Tells no more how drills of the repository went. -ENOENT: nothing was told. */
WARN_UNUSED int verified_forget_drills(struct store *store, const char *repository, struct error *err);

#endif
