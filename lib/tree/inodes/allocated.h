/* What a file takes with all that is buffered. Internal to lib/tree. */
#ifndef CORPUSFS_TREE_INODES_ALLOCATED_H
#define CORPUSFS_TREE_INODES_ALLOCATED_H

#include "lib/tree/inodes/inode.h"

/*
 * What record.allocated will be once the buffered content is committed, to the byte: whoever keeps the answer for a while, as the kernel
 * does, has the right one after the commit, too. Caller holds inode->lock and not the epoch lock.
 */
uint64_t allocated_after_commit(struct inode *inode);

/* How much of that a write to [offset, offset+len) will add, at most. Likewise. */
uint64_t allocated_growth(struct inode *inode, uint64_t offset, uint64_t len);

#endif
