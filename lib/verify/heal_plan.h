/*
 * Healing by itself: content that is known to be damaged is looked for where the store's own backups are, without anybody being asked. Here is where
 * that may be, when it is due, and how it went. Who looks is somebody else: a tick of the command, which the daemon calls (fs/cli/heal_tick.c).
 *
 * Places are the repositories of scheduled backups (lib/backup/backup_schedule.h), and remotes that datasets were published in or restored from.
 *
 * It is due when a damaged chunk has none that stands for it, there is a place, and one of
 *   HP1  it was found after all that was known when the last try began,
 *   HP2  the last try could not look everywhere, or did not end, and began HEAL_RETRY seconds ago, twice as long after each that fared so, but
 *        a day at most: what is damaged there, too, does not get better,
 *   HP3  the last try began a day ago: newer backups may have what the older ones had not.
 *
 * One record of the catalogue ('J' "healing"):
 *
 *   {"published": ["NAME:", ...] of remotes, the last one first; "tried": when the last try began, "known": when the youngest damage that it knew of
 *    was found, "failure": why it could not look everywhere, or null; "failures": how many tries fared so in a row; "last": {"time", "chunks",
 *    "bytes", "from"}: of the last one that healed something}
 *
 * Any thread.
 */
#ifndef CORPUSFS_VERIFY_HEAL_PLAN_H
#define CORPUSFS_VERIFY_HEAL_PLAN_H

#include <jansson.h>

#include "lib/store/store.h"

#define HEAL_RETRY 900
#define HEAL_AGAIN (24 * 3600)
#define HEAL_DOUBLED 8 /* failures after which the pause grows no more */

bool heal_plan_due(struct store *store, int64_t now); /* seconds since 1970 */

/* Each place once. `password_file`: NULL: the remote says where its password comes from. What `each` returns, if not 0, ends it and is returned. */
typedef int (*heal_place_fn)(void *arg, const char *repository, const char *password_file);
WARN_UNUSED int heal_plan_places(struct store *store, heal_place_fn each, void *arg);

/* A dataset was published in the remote, or restored from it. `remote`: its name, with or without the colon; what can be none is passed over. */
void heal_plan_published(struct store *store, const char *remote);

struct heal_note {
	bool begins;       /* the rest is not known yet */
	bool interrupted;  /* it is due as if it had not begun */
	const char *failure; /* NULL: all places were looked at */
	uint64_t chunks, bytes; /* healed */
	const char *from;
};
WARN_UNUSED int heal_plan_note(struct store *store, const struct heal_note *note, int64_t now, struct error *err);

/* {"tried"?, "failure"?: while something is damaged, "last"?}; the caller's. */
json_t *heal_plan_status(struct store *store);

#endif
