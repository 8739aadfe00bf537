/*
 * Whether the gaps between a file's extents are holes (I9). They are if the extents that are there add up to record.allocated; otherwise one
 * was lost, and nothing says what was in it. Internal to lib/tree, but for view_check_holes.
 *
 * All extents of the file are counted once, without the inode's lock; then the answer is kept while the inode is in memory (extent_edit.c
 * says for how long).
 */
#ifndef CORPUSFS_TREE_CONTENT_HOLES_H
#define CORPUSFS_TREE_CONTENT_HOLES_H

#include "lib/tree/inodes/inode.h"

/* Caller holds inode->lock. */
bool holes_are_confirmed(const struct inode *inode);
/* 0, or -EIO. Caller holds no lock of the inode. */
WARN_UNUSED int holes_confirm(struct inode *inode);

#endif
