/*
 * Extents as they are stored: which bytes of a file are which bytes of a chunk. Internal to lib/tree, but for struct extent.
 *
 * Extents of one view and inode never overlap, and none is longer than EXTENT_LEN_MAX.
 */
#ifndef CORPUSFS_TREE_RECORDS_EXTENT_H
#define CORPUSFS_TREE_RECORDS_EXTENT_H

#include "lib/base/array.h"
#include "lib/tree/records/view.h"

struct version_iter;

struct extent {
	uint64_t offset;
	struct extent_record record;
	uint64_t epoch; /* it was written in */
};

static inline uint64_t extent_end(const struct extent *extent)
{
	return extent->offset + extent->record.length;
}

/* Holes are told of in whole blocks (lib/tree/content/seek.c): the first one behind data, and where the one is cut short in which data begins. */
#define HOLE_BLOCK 4096U

static inline uint64_t hole_first(uint64_t data_end)
{
	return data_end > UINT64_MAX - HOLE_BLOCK ? data_end : (data_end + HOLE_BLOCK - 1) / HOLE_BLOCK * HOLE_BLOCK;
}

static inline uint64_t hole_last(uint64_t data_first)
{
	return data_first / HOLE_BLOCK * HOLE_BLOCK;
}

struct extent_list {
	ARRAY_FIELDS(struct extent);
};

#define EXTENTS_ALL SIZE_MAX
/* Adds those that overlap [first, end), ascending, at most `limit`. The caller holds the epoch lock shared. */
WARN_UNUSED int extents_load(struct view *view, uint64_t ino, uint64_t first, uint64_t end, size_t limit, struct extent_list *list);
/* The last one that starts before `offset`; -ENOENT. The caller holds the epoch lock shared. */
WARN_UNUSED int extents_before(struct view *view, uint64_t ino, uint64_t offset, struct extent *ret_extent);

/* Adds the last `limit` of those that start at `first` or later, the last one first. The caller holds the epoch lock shared. */
WARN_UNUSED int extents_load_last(struct view *view, uint64_t ino, uint64_t first, size_t limit, struct extent_list *list);

/* All of an inode, ascending, as they are when it is called; it takes the epoch lock. Freed with version_iter_free. */
struct version_iter *extents_iterate(struct view *view, uint64_t ino);
WARN_UNUSED int extents_next(struct version_iter *iter, struct extent *ret_extent); /* 1; 0 at the end */

/* Calls back for each committed data or zeros extent of the inode, ascending; stops when the callback returns not 0, and returns that.
 * Takes the epoch lock. */
typedef int (*inode_extent_fn)(void *arg, const struct extent *extent);
WARN_UNUSED int view_extents(struct view *view, uint64_t ino, inode_extent_fn each, void *arg);

#endif
