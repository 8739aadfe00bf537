/*
 * The lock of a store: one process at a time has it open for writing. lock.c says how that holds, and where.
 *
 *   lock_take -> lock_check before each write and after each sync -> lock_release
 *
 * Internal to lib/store. Any thread, but take and release.
 */
#ifndef CORPUSFS_STORE_LOCK_H
#define CORPUSFS_STORE_LOCK_H

#include "lib/store/store_dir.h"

struct lock;

struct lock_options {
	unsigned beat_ms, patience_ms; /* 0: as lock.c says */
	/* May be NULL. Told a line of text when taking the lock has to wait for long. */
	void (*notice)(void *arg, const char *text);
	/* May be NULL. Told once, on a thread of its own, that somebody else has taken the store, and who. */
	void (*lost)(void *arg, const char *text);
	void *arg;
	const pid_t *dead; /* processes that run no more, though the system may show them yet; ended by 0; NULL: none */
	int locked_fd; /* with `dead`: of STORE/lock, locked by whoever keeps it for us; stays the caller's */
};

/* -EBUSY: somebody has it, err says who; -EACCES. If the last owner may still live somewhere, the database has another name then. */
WARN_UNUSED int lock_take(const struct store_dir *dir, const struct lock_options *options, struct lock **ret_lock, struct error *err);
/*
 * 0: it is still ours. -EROFS: somebody else has taken the store, and nothing may be written any more. Others: it cannot be told now.
 * Without `now`, what was true a moment ago will do where looking takes long.
 */
WARN_UNUSED int lock_check(struct lock *lock, bool now);
/* Who has taken the store from us; NULL: nobody. */
const char *lock_lost_to(struct lock *lock);
int lock_fd(const struct lock *lock); /* of STORE/lock; stays the lock's */
/* Before it is released: why not all that was written is on disk, which lock_file_result() then gives; 0, as without it: all is. */
void lock_set_result(struct lock *lock, int result);
void lock_release(struct lock *lock); /* NULL is fine */
void lock_undo(struct lock *lock);    /* the same, and leaves every byte as it was before: the store could not be opened */
void lock_remove(struct lock *lock);  /* the same, and takes its files away: there is no store */

#endif
