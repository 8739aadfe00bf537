/*
 * Locks of a repository, as restic's clients take them: who only adds or reads holds a shared lock, who removes an exclusive one. A lock is an
 * object that its holder makes anew every five minutes; one whose process is gone, or that is older than half an hour, is stale. Who comes
 * counts a stale lock for nothing, and removes it; so its holder must notice that it became one (the machine slept), or was taken away, and end.
 *
 * Whether its process is gone is known only where pids mean the same to it and to us: names of machines are not unique, and containers have pids of
 * their own. So a lock says where its pid counts, and when the process was started, for pids are used again (lib/base/process_mark.h); and on which
 * machine, so that one that was put before this machine was started anew is stale as soon as it must have been renewed. Clones of a machine have its
 * names, so one that was put since then is a clone's. Of that, of one that does not say it, as restic's, or that counts elsewhere, only the age tells.
 *
 * The age is told by two clocks, one of which may be wrong. So a lock of a process that is known to live is never stale. Who is about to write, and
 * finds another's lock that is stale by its age alone, waits until its holder must have made it anew, were it alive: then the lock is another
 * object. If it is the same one still, it is removed.
 *
 *   lock = repository_lock_take(...)  ->  repository_lock_lost(lock) between steps, repository_lock_check(lock) before what others rely on
 *        ->  repository_lock_release(lock)
 *
 * There is no lock manager: one puts a lock, waits a moment, looks for others, and takes its own back when one is there that it does not go with.
 * Two that come at once may both give way; none goes on beside another.
 *
 * Threads: a lock has a thread of its own that renews it; the calls belong to one thread at a time, repository_lock_lost to any.
 */
#ifndef CORPUSFS_REPOSITORY_LOCKS_H
#define CORPUSFS_REPOSITORY_LOCKS_H

#include "lib/repository/repository.h"

struct repository_lock;

/* -EBUSY: somebody holds one that it does not go with; the text says who, and since when. It may wait for six minutes, see repository->waits. */
WARN_UNUSED int repository_lock_take(struct repository *repository, bool exclusive, struct repository_lock **ret_lock, struct error *err);
/*
 * The same of a shared one in two steps, between which others' locks come to be seen: what was read meanwhile may be what somebody removes, who came at
 * the same time. When the second one fails, the lock is to be released.
 */
WARN_UNUSED int repository_lock_begin(struct repository *repository, struct repository_lock **ret_lock, struct error *err);
WARN_UNUSED int repository_lock_settle(struct repository_lock *lock, struct error *err);
/*
 * A shared one for who only reads. Where nothing can be written, on a disk that is mounted read-only or full for example, or in a copy without a folder of
 * locks, there is none: ret_lock is NULL then. What others remove meanwhile is then missing for the reader, who notices. So it does not wait for what is
 * stale by its age either, and passes over locks that cannot be read.
 */
WARN_UNUSED int repository_lock_take_to_read(struct repository *repository, struct repository_lock **ret_lock, struct error *err);
void repository_lock_release(struct repository_lock *lock); /* NULL is fine */
/* NULL is never lost. It was taken away, or not renewed for so long that others take it for stale: what goes on under it must end. */
bool repository_lock_lost(struct repository_lock *lock);
/* The same, and looks whether it is there. -ETIMEDOUT. */
WARN_UNUSED int repository_lock_check(struct repository_lock *lock, struct error *err);
/* What the lock's thread does every few minutes. */
void repository_lock_renew(struct repository_lock *lock);

/* Removes the stale locks, or all of them, also those that cannot be read, and counts them. */
WARN_UNUSED int repository_locks_remove(struct repository *repository, bool all, size_t *ret_count, struct error *err);

#endif
