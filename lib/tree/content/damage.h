/*
 * Telling of content that is damaged, once for each chunk in ten minutes (lib/chunk/chunks.h), and of a small file once while its inode is in
 * memory. Who is told is in tree_options. Internal to lib/tree.
 */
#ifndef CORPUSFS_TREE_CONTENT_DAMAGE_H
#define CORPUSFS_TREE_CONTENT_DAMAGE_H

#include "lib/tree/inodes/inode.h"

/* After a read of this range has failed. Caller holds no lock. */
void damage_tell(struct inode *inode, uint64_t offset, size_t len);

#endif
