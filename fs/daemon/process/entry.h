/*
 * A mount in the daemon's list, with all places where it shows. A place that somebody unmounts by hand is forgotten when it is looked for;
 * the last one stays in the list, to name the mount by. Where nothing shows any more, the session goes on as long as files are open in it.
 *
 * Threads: the caller holds the list's lock, but for entry_new, entry_free and entry_has_lease.
 */
#ifndef CORPUSFS_DAEMON_PROCESS_ENTRY_H
#define CORPUSFS_DAEMON_PROCESS_ENTRY_H

#include <jansson.h>

#include "fs/daemon/process/mount_args.h"
#include "fs/fuse/mount/mount.h"

struct place {
	struct place *prev, *next;
	json_t *args; /* owned, of the mount.start that made it; the mountpoint's text lives in it */
	const char *mountpoint;
};

struct entry {
	struct entry *prev, *next;
	struct mount *mount; /* NULL while it starts */
	struct mount_source source; /* by the name that it was asked for with, until it serves */
	struct place *places; /* the oldest first; never empty */
	json_t *lease; /* of the first place's args; NULL: it was mounted without. All places have it. Never changes */
	unsigned refs;
	bool ended;
};

struct entry *entry_new(json_t *args, const struct mount_source *source); /* takes over the arguments of mount.start; one reference */
void entry_free(struct entry *entry);

void entry_add_place(struct entry *entry, json_t *args); /* instead of one that it had there before */
bool entry_shows_at(struct entry *entry, const char *mountpoint);
const char *entry_first_shown(struct entry *entry); /* the place that was made first; NULL: it shows nowhere */
bool entry_has_lease(const struct entry *entry); /* it was mounted with one */
bool entry_has_place(const struct entry *entry, const char *mountpoint); /* whether it shows there still or not */

/* What is needed to go on with it in another process is kept with its mount. -E2BIG */
WARN_UNUSED int entry_keep(const struct entry *entry);

/* Appends one row for each place where it shows, with what its session says; where there is none, one with "detached" set. */
void entry_list(struct entry *entry, struct store *store, json_t *rows);

#endif
