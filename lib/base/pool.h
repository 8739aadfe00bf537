/*
 * Worker threads that share out the steps of one job: pool_run() calls fn(arg, i) for every i in [0, count) on the pool's threads and on
 * the caller's, and returns when all are done. Several callers may run jobs at once; their steps share the threads. A step may not call
 * pool_run.
 */
#ifndef CORPUSFS_BASE_POOL_H
#define CORPUSFS_BASE_POOL_H

#include <stddef.h>

struct pool;

struct pool *pool_new(unsigned threads); /* extra threads beside the callers; 0 is allowed */
void pool_free(struct pool *pool);       /* no job may be running; NULL is fine */
unsigned pool_width(const struct pool *pool); /* threads + 1 */
void pool_run(struct pool *pool, void (*fn)(void *arg, size_t index), void *arg, size_t count);

#endif
