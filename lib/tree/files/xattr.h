/* Extended attributes inside a change: the inode is locked. Internal to lib/tree. */
#ifndef CORPUSFS_TREE_FILES_XATTR_H
#define CORPUSFS_TREE_FILES_XATTR_H

#include "lib/tree/files/files.h"
#include "lib/tree/inodes/transaction.h"

WARN_UNUSED int xattr_load(struct transaction *transaction, const struct inode *inode, const char *name, struct buf *value); /* -ENODATA */
WARN_UNUSED int xattr_put(struct transaction *transaction, const struct inode *inode, const char *name, const void *value, size_t len);
WARN_UNUSED int xattr_delete(struct transaction *transaction, const struct inode *inode, const char *name); /* also when there is none */

/* Those that a new inode is made with: nothing is stored under its number yet. */
void xattr_put_first(struct transaction *transaction, uint64_t ino, const struct create *create);

#endif
