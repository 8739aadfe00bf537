/*
 * A read-only mount of what lib/browse shows: one FUSE session. What may have to wait for the place where the repository is runs in threads
 * of its own, so that all else is answered at once, whatever becomes of that place.
 *
 *   backups_start -> ... the kernel ends the session: `ended` is called, from a thread of the session -> backups_free
 *
 * Threads: any.
 */
#ifndef CORPUSFS_FUSE_BACKUPS_BACKUPS_H
#define CORPUSFS_FUSE_BACKUPS_BACKUPS_H

#include "lib/browse/browse.h"

struct backups;

struct backups_options {
	struct browse *browse; /* stays the caller's, and is there until backups_free returned */
	const char *mountpoint; /* an absolute path */
	const char *source;     /* the repository's path, for mountinfo */
	bool allow_other, debug;
	bool follows; /* the root becomes another (browse_move) */
	const char *extra; /* mount options for the kernel, or NULL */
	void (*ended)(void *arg);
	void *arg;
};

/* As mount_start (fs/fuse/mount/mount.h). */
WARN_UNUSED int backups_start(const struct backups_options *options, struct backups **ret_backups, struct error *err);
/* For who moves the root: what the kernel keeps of a name in it, or, with NULL, of the root itself, is dropped when it returns 0. No request's thread. */
WARN_UNUSED int backups_drop(struct backups *backups, const char *name);
void backups_free(struct backups *backups); /* after it ended; NULL is fine */

#endif
