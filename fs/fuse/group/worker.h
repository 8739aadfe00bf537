/*
 * A thread for work that a request may not wait for in place: what takes the store's change lock, notifies the
 * kernel, or may take long. Jobs run one after the other in the order in which they came, and answer their requests
 * themselves.
 *
 * Threads: any.
 */
#ifndef CORPUSFS_FUSE_GROUP_WORKER_H
#define CORPUSFS_FUSE_GROUP_WORKER_H

struct worker;

struct worker *worker_new(void);
void worker_free(struct worker *worker); /* runs what is queued first; NULL is fine */
void worker_add(struct worker *worker, void (*run)(void *arg), void *arg);
void worker_drain(struct worker *worker); /* returns when what was added before has run; not from a job */

#endif
