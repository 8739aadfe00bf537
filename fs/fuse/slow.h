/*
 * A thread for work that a request may not wait for in place: what takes the store's change lock, notifies the
 * kernel, or may take long. Jobs run one after the other in the order in which they came, and answer their requests
 * themselves.
 *
 * Threads: any.
 */
#ifndef CORPUSFS_FUSE_SLOW_H
#define CORPUSFS_FUSE_SLOW_H

struct slow;

struct slow *slow_new(void);
void slow_free(struct slow *slow); /* runs what is queued first; NULL is fine */
void slow_add(struct slow *slow, void (*run)(void *arg), void *arg);
void slow_drain(struct slow *slow); /* returns when what was added before has run; not from a job */

#endif
