/* Extended attributes inside a change: the inode is locked. Internal to lib/tree. */
#ifndef CORPUSFS_TREE_FILES_XATTR_H
#define CORPUSFS_TREE_FILES_XATTR_H

#include "lib/tree/records/transaction.h"

WARN_UNUSED int xattr_load(struct change *change, const struct inode *inode, const char *name, struct buf *value); /* -ENODATA */
WARN_UNUSED int xattr_put(struct change *change, const struct inode *inode, const char *name, const void *value, size_t len);
WARN_UNUSED int xattr_delete(struct change *change, const struct inode *inode, const char *name); /* also when there is none */

/* Those that a new inode is made with: nothing is stored under its number yet. */
void xattr_put_first(struct change *change, uint64_t ino, const struct create *create);

#endif
