/*
 * Reading ahead for readers that are seen to be sequential, in the order of chunk ids, which is the order on disk. (The window that grows
 * with the reader is that of the kernel's own read-ahead: Wu, Xi, Xu: On the design of a new Linux readahead framework, 2008.)
 *
 * Several streams are followed at once. A read that begins where another ended, or a few chunks behind it, continues that one's stream:
 * within a large file, or across the files of a directory that are read one after the other. What follows the stream is read into blocks
 * of chunks: never more of it than an eighth of what the reader has read in a row, so a reader that stops or jumps has cost an eighth more
 * at most. A block that nobody used makes its stream begin anew. Random readers start streams that nobody continues, and cost nothing.
 *
 * Blocks are buffers of ours, used again and again: fresh pages of the page cache would cost more than the copy out of it, and would stand
 * in memory beside the pages of the mount. There are AHEAD_BLOCKS of them, 32 MiB at the usual size of chunks.
 *
 *   ahead_note(ahead, first, count)               before the chunks [first, first + count) are read
 *   n = ahead_take(ahead, first, count, &taken)   how many of them, from the first on, are in a block; waits for one that is being read
 *   ... uses taken.values[0..n), of which some may have data NULL: not found ...
 *   ahead_put(ahead, &taken)                      when n > 0
 *
 * Values are as backend_get_many() gives them: nothing is verified. Threads: any.
 */
#ifndef CORPUSFS_CHUNK_AHEAD_H
#define CORPUSFS_CHUNK_AHEAD_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/chunk/backend.h"

#define AHEAD_BLOCKS 16
#define AHEAD_BLOCK_CHUNKS 16

struct ahead;
struct ahead_block;

struct ahead_taken {
	struct ahead_block *block;
	const struct kv_value *values;
};

struct ahead *ahead_new(struct backend *backend); /* which outlives it */
void ahead_free(struct ahead *ahead); /* waits for what is under way; everything must have been put; NULL is fine */

void ahead_note(struct ahead *ahead, uint64_t first, uint32_t count);
size_t ahead_take(struct ahead *ahead, uint64_t first, size_t count, struct ahead_taken *ret_taken);
bool ahead_has(struct ahead *ahead, uint64_t id); /* or will have it soon */
void ahead_put(struct ahead *ahead, const struct ahead_taken *taken);
uint64_t ahead_chunks(struct ahead *ahead); /* found by reading ahead so far */

#endif
