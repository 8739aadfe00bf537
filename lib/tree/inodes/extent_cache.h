/*
 * Committed extents in memory, so that a READ does not need iterators. Internal to lib/tree. The caller holds inode->lock and not the
 * epoch lock, which these functions take themselves.
 */
#ifndef CORPUSFS_TREE_INODES_EXTENT_CACHE_H
#define CORPUSFS_TREE_INODES_EXTENT_CACHE_H

#include "lib/tree/inodes/inode.h"
#include "lib/tree/records/extent.h"

#define EXTENTS_CACHED_USUAL (1U << 20) /* of all inodes */

/* Adds the extents that overlap [first, end) to the list, from memory where it can. */
WARN_UNUSED int extent_cache_load(struct inode *inode, uint64_t first, uint64_t end, struct extent_list *list);
/* Before every change of extents, and before the inode is freed. */
void extent_cache_drop(struct inode *inode);

#endif
