/*
 * A small process that ends the daemon's FUSE connections when the daemon dies.
 *
 * The kernel ends a connection when its last descriptor is closed, and closes the descriptors of a killed process when
 * its last thread has gone. A thread that is in a notification then waits, uninterruptibly, for write-back that only
 * the daemon could have served: it never goes, and everybody who uses the mount hangs. So somebody outside has to say
 * "abort" through fusectl. The guard leaves with the daemon in any case.
 *
 *   guard_new  ->  guard_add, guard_remove, guard_abort  ->  guard_free
 *
 * Threads: any, except guard_new and guard_free. Where neither fusectl nor the right to mount it is to be had, there is
 * no guard.
 */
#ifndef CORPUSFS_FUSE_GUARD_H
#define CORPUSFS_FUSE_GUARD_H

struct guard;

struct guard *guard_new(void); /* NULL where it could do nothing; the others take that */
void guard_free(struct guard *guard);

/* The number of a connection is the minor number of its mount's device. */
void guard_add(struct guard *guard, unsigned connection);
void guard_remove(struct guard *guard, unsigned connection); /* it has ended: the number may be another's now */
void guard_abort(struct guard *guard, unsigned connection);  /* one that was added; returns before it is done */

#endif
