/*
 * A shelf of tools that are costly to make: a thread takes one set for a piece of work and puts it back. There are never more sets than
 * threads were at work at once. Any thread.
 */
#ifndef CORPUSFS_CHUNK_SHELF_H
#define CORPUSFS_CHUNK_SHELF_H

#include "lib/chunk/codec.h"
#include "lib/chunk/digest.h"
#include "lib/kv/kv.h"

struct shelf;

struct tools {
	struct digest *digest;
	struct codec *codec;
	struct kv_raw raw;
	struct tools *next;
};

struct shelf *shelf_new(void);
void shelf_free(struct shelf *shelf); /* everything must be back; NULL is fine */
struct tools *shelf_take(struct shelf *shelf);
void shelf_put(struct shelf *shelf, struct tools *tools);

#endif
