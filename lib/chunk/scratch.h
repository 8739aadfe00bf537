/*
 * A pool of tools that are costly to make: a thread takes one set for a piece of work and puts it back. There are never more sets than
 * threads were at work at once. Any thread.
 */
#ifndef CORPUSFS_CHUNK_SCRATCH_H
#define CORPUSFS_CHUNK_SCRATCH_H

#include "lib/chunk/codec.h"
#include "lib/chunk/digest.h"
#include "lib/kv/kv.h"

struct scratch_pool;

struct scratch {
	struct digest *digest;
	struct codec *codec;
	struct kv_raw raw;
	struct scratch *next;
};

struct scratch_pool *scratch_pool_new(void);
void scratch_pool_free(struct scratch_pool *pool); /* everything must be back; NULL is fine */
struct scratch *scratch_take(struct scratch_pool *pool);
void scratch_put(struct scratch_pool *pool, struct scratch *tools);

#endif
