/*
 * A small process that ends the daemon's FUSE connections when the daemon dies.
 *
 * The kernel ends a connection when its last descriptor is closed, and closes the descriptors of a killed process when
 * its last thread has gone. A thread that is in a notification then waits, uninterruptibly, for write-back that only
 * the daemon could have served: it never goes, and everybody who uses the mount hangs. So somebody outside has to say
 * "abort" through fusectl. The aborter leaves with the daemon in any case.
 *
 * Connections with which a supervisor goes on (fs/supervise/supervisor.h) are not ended at the daemon's death as long as that lives, or
 * a service manager keeps them (fs/supervise/service.h).
 *
 *   aborter_new  ->  aborter_add, aborter_remove, aborter_abort  ->  aborter_free
 *
 * Threads: any, except aborter_new and aborter_free. Where neither fusectl nor the right to mount it is to be had, there is
 * no aborter.
 */
#ifndef CORPUSFS_FUSE_SESSION_ABORTER_H
#define CORPUSFS_FUSE_SESSION_ABORTER_H

#include <stdbool.h>

struct aborter;

struct aborter *aborter_new(bool supervised); /* by our parent; NULL where it could do nothing; the others take that */
void aborter_free(struct aborter *aborter);

/* The number of a connection is the minor number of its mount's device. */
void aborter_add(struct aborter *aborter, unsigned connection, bool kept); /* kept: the supervisor goes on with it */
void aborter_remove(struct aborter *aborter, unsigned connection); /* it has ended: the number may be another's now */
void aborter_abort(struct aborter *aborter, unsigned connection);  /* one that was added; returns before it is done */

/* The file that ends a connection when "1" is written to it, for the supervisor; -1: it is not to be had. */
int aborter_open(unsigned connection);

#endif
