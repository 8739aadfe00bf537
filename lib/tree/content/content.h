/* What the files that change content share. Internal to lib/tree. */
#ifndef CORPUSFS_TREE_CONTENT_CONTENT_H
#define CORPUSFS_TREE_CONTENT_CONTENT_H

#include "lib/tree/inodes/transaction.h"

#define FILE_SIZE_MAX (1ULL << 62)

/* 0, or -EROFS, -ESTALE, -EISDIR, -EINVAL: not a regular file of a writable view. -EFBIG when [offset, offset+len) goes beyond FILE_SIZE_MAX. */
WARN_UNUSED int content_check_change(struct inode *inode, uint64_t offset, uint64_t len);

/* Clears set-id bits and security.capability if the file has any. Caller holds no lock. */
WARN_UNUSED int content_kill_privileges(struct inode *inode, bool outsider);
/* The same as part of a transaction that has the inode and puts it. */
WARN_UNUSED int content_kill_privileges_in(struct transaction *transaction, struct inode *inode, bool outsider);

/* Notes the time of a change of content. Caller holds inode->lock. */
void content_touch(struct inode *inode);

/*
 * Drops buffered bytes beyond `size`, adds the removal of extents beyond it to the transaction, sets size and record.size. Very long files are
 * shortened in several written steps first, from the end. Nothing of the inode is being committed; the caller puts the inode. With content
 * still buffered a growing record.size is left to its commit.
 */
WARN_UNUSED int content_truncate(struct transaction *transaction, struct inode *inode, uint64_t size);

#endif
