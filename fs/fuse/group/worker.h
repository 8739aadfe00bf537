/*
 * A thread for work that a request may not wait for in place: what takes the store's change lock, notifies the
 * kernel, or may take long. Jobs run one after the other in the order in which they came, and answer their requests
 * themselves. Their mount stays until they have run. A request of which daemons die again and again is refused, as when it runs in place.
 *
 * Threads: any.
 */
#ifndef CORPUSFS_FUSE_GROUP_WORKER_H
#define CORPUSFS_FUSE_GROUP_WORKER_H

#include <stdint.h>

#include "fs/fuse/session/session.h"

struct mount;
struct worker;

struct worker *worker_new(enum session_place place);
void worker_free(struct worker *worker); /* runs what is queued first; NULL is fine */
/* `request`: its number, if the job is for one that waits for an answer; else 0. */
void worker_add(struct worker *worker, struct mount *mount, uint64_t request, void (*run)(void *arg), void *arg);
void worker_drain(struct worker *worker); /* returns when what was added before has run; not from a job */

#endif
