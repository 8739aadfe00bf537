/* What the sweep asks of a chunk_set beyond chunks.h. Ids carry CHUNK_BULK; `end` is of the same kind as `id`. */
#ifndef CORPUSFS_CHUNK_SET_H
#define CORPUSFS_CHUNK_SET_H

#include "lib/chunk/chunks.h"

/* The least id in [id, end) that is not in the set, or `end`. */
uint64_t chunk_set_next_absent(const struct chunk_set *set, uint64_t id, uint64_t end);

/* How many of [id, end) are in the set. */
uint64_t chunk_set_count(const struct chunk_set *set, uint64_t id, uint64_t end);

/* The least id in [id, end) that is in the set, or `end`. */
uint64_t chunk_set_next_member(const struct chunk_set *set, uint64_t id, uint64_t end);

#endif
