/*
 * Reads that were begun before they were asked for: whoever opens a file is going to read it, and the disk can work meanwhile. (A cold file of
 * 100 KiB through a mount: its look-up and the way of its READ take a quarter of the time.)
 *
 *   begun_start(begun, first, count)             begins to read the chunks [first, first + count), count <= BEGUN_CHUNKS; does not wait
 *   n = begun_take(begun, first, count, &taken)  how many of them, from the first on, such a read has; waits for it. It can be taken once
 *   ... uses taken.values[0..n), of which some may have data NULL: not found ...
 *   begun_put(begun, &taken)                     when n > 0
 *
 * There are BEGUN_READS at a time, in 16 MiB of buffers. A read that nobody takes makes room for another after a moment. Nothing is begun when
 * there is no room.
 *
 * Values are as backend_get_many() gives them: nothing is verified. Threads: any.
 */
#ifndef CORPUSFS_CHUNK_BEGUN_H
#define CORPUSFS_CHUNK_BEGUN_H

#include <stddef.h>
#include <stdint.h>

#include "lib/chunk/backend.h"

#define BEGUN_READS 8
#define BEGUN_CHUNKS 16

struct begun;
struct begun_read;

struct begun_taken {
	struct begun_read *read;
	const struct kv_value *values;
};

struct begun *begun_new(struct backend *backend); /* which outlives it */
void begun_free(struct begun *begun); /* waits for the disk; everything must have been put; NULL is fine */

void begun_start(struct begun *begun, uint64_t first, uint32_t count);
size_t begun_take(struct begun *begun, uint64_t first, size_t count, struct begun_taken *ret_taken);
void begun_put(struct begun *begun, const struct begun_taken *taken);

#endif
