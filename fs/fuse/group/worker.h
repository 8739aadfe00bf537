/*
 * A thread for work that a request may not wait for in place: what takes the store's change lock, notifies the
 * kernel, or may take long. Jobs run one after the other in the order in which they came, and answer their requests
 * themselves. Their mount stays until they have run. A job that would have to wait for somebody puts itself off, and
 * others run meanwhile. A request of which daemons die again and again is refused, as when it runs in place.
 *
 * Threads: any.
 */
#ifndef CORPUSFS_FUSE_GROUP_WORKER_H
#define CORPUSFS_FUSE_GROUP_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "fs/fuse/session/session.h"

struct mount;
struct worker;

struct worker *worker_new(enum session_place place);
void worker_free(struct worker *worker); /* runs what is queued first; NULL is fine */
/* `request`: its number, if the job is for one that waits for an answer; else 0. */
void worker_add(struct worker *worker, struct mount *mount, uint64_t request, void (*run)(void *arg), void *arg);
/* For a job: it runs once more, in a moment, and those that wait run first. False: `until_ms` has come. */
bool worker_put_off(struct worker *worker, struct mount *mount, uint64_t request, void (*run)(void *arg), void *arg, uint64_t until_ms);
void worker_drain(struct worker *worker, const struct mount *mount); /* returns when no job of the mount is left; not from a job */

#endif
