/*
 * Changes of one inode's extents in one batch, by ascending ranges. Internal to lib/tree. What an old extent keeps beyond a replaced range
 * is carried along, since the batch itself cannot be read. Adjusts record.allocated as it goes.
 *
 * The caller holds inode->lock and the view's epoch lock shared.
 */
#ifndef CORPUSFS_TREE_INODES_EXTENT_EDIT_H
#define CORPUSFS_TREE_INODES_EXTENT_EDIT_H

#include "lib/tree/inodes/inode.h"
#include "lib/tree/records/extent.h"

struct extent_edit {
	struct inode *inode;
	struct kv_batch *batch;
	bool empty;            /* the inode has no extents: nothing to look up */
	bool has_carry;
	struct extent carry;   /* the rest of the last old extent, not yet put */
	uint64_t seen;         /* old extents that start below were dealt with */
};
struct extent_edit extent_edit_begin(struct inode *inode, struct kv_batch *batch);
/* Nothing is mapped in [first, end) any more, then the given extents (sorted, inside) are. */
WARN_UNUSED int extent_edit_replace(struct extent_edit *edit, uint64_t first, uint64_t end, const struct extent *extents, size_t count);
void extent_edit_end(struct extent_edit *edit);

/* One such change. */
WARN_UNUSED int extents_replace(struct inode *inode, struct kv_batch *batch, uint64_t first, uint64_t end, const struct extent *extents,
				size_t count);

#endif
