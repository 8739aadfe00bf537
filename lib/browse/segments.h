/*
 * The segments of a cache on disk, and where in them its blobs are: how much that is, and which segment was not read for longest.
 *
 *   segments_init -> segments_add ... -> segments_clear
 *
 * Internal to lib/browse. One thread at a time.
 */
#ifndef CORPUSFS_BROWSE_SEGMENTS_H
#define CORPUSFS_BROWSE_SEGMENTS_H

#include <uthash.h>

#include "lib/browse/blob_table.h"

struct segment {
	uint32_t number;
	uint64_t bytes, blobs; /* blobs: that are found in it */
	uint64_t pinned;       /* bytes of their records that are pinned */
	bool stays;            /* what is pinned could not be moved out of it */
	UT_hash_handle hh;
	struct segment *prev, *next;
};

/* To be read by all. */
struct segments {
	struct segment *by_number; /* a table */
	struct segment *by_use;    /* a list: the one that was not read for longest first */
	struct blob_table *table;
	uint64_t bytes, blobs; /* of all */
	uint64_t pinned, pinned_here; /* bytes that are pinned, wherever they are, and that are in a segment */
};

void segments_init(struct segments *segments); /* stays where it is */
void segments_clear(struct segments *segments);

struct segment *segments_add(struct segments *segments, uint32_t number, uint64_t bytes); /* stays theirs */
struct segment *segments_get(const struct segments *segments, uint32_t number);           /* NULL: there is none */
void segments_grow(struct segments *segments, struct segment *segment, uint64_t bytes);
void segments_use(struct segments *segments, struct segment *segment); /* it was read */
/* Adds it to the list `gone`, which is the caller's. What is in it is not found any more. */
void segments_take_out(struct segments *segments, struct segment *segment, struct segment **gone);

bool segments_find(const struct segments *segments, uint64_t key, bool is_tree, struct blob_spot *ret_spot);
void segments_set(struct segments *segments, const struct blob_spot *spot);
/* A pin needs the blob, which may not be here yet; length: with SEGMENT_TREE. */
void segments_pin(struct segments *segments, uint64_t key, uint32_t length);
void segments_unpin(struct segments *segments, uint64_t key, uint32_t length); /* it does not need it any more */
void segments_unpin_all(struct segments *segments);
void segments_forget(struct segments *segments, const struct blob_spot *spot); /* unless the blob is somewhere else now */

#endif
