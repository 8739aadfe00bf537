/*
 * Chunks of which only parts are named any more: what was overwritten of the others stays on the disk with them. Internal to lib/reclaim.
 *
 * The mark gives all extents; then it is known which chunks are worn: their extents are less than three quarters of them, all together, and none
 * is the whole chunk. Bytes that several extents name count several times, so a chunk is not called worn without being it. Memory is
 * bounded: of a store with very many such chunks some are seen, and others in the next run.
 */
#ifndef CORPUSFS_RECLAIM_PARTS_H
#define CORPUSFS_RECLAIM_PARTS_H

#include "lib/chunk/chunks.h"
#include "lib/format/key.h"
#include "lib/format/record.h"

struct parts;

/* The ends of the mark: chunks from there on are not looked at. */
struct parts *parts_new(uint64_t bulk_end, uint64_t small_end);
void parts_free(struct parts *parts); /* NULL is fine */

/* Extents of one inode come one after the other. */
void parts_add(struct parts *parts, uint32_t family, uint64_t ino, const struct extent_record *extent);

/* After all were added: */
bool parts_is_worn(const struct parts *parts, uint64_t chunk);
/* Plain bytes of the worn chunks that are named, and that are not. */
void parts_sum(const struct parts *parts, uint64_t *ret_named, uint64_t *ret_wasted);

struct parts_place {
	uint32_t family;
	uint64_t ino;
};
/* All inodes that have extents of worn chunks, by family and number, and perhaps others. */
const struct parts_place *parts_places(const struct parts *parts, size_t *ret_count);

#endif
