/* One commit of what is buffered in some inodes. Internal to lib/tree. */
#ifndef CORPUSFS_TREE_CONTENT_COMMIT_H
#define CORPUSFS_TREE_CONTENT_COMMIT_H

#include "lib/tree/inodes/inode.h"

/*
 * Commits claimed inodes of one view, whole or, on failure, in part: what was not committed is buffered and noted again. Caller holds no lock
 * but the claims.
 */
WARN_UNUSED int commit_group(struct view *view, struct inode **inodes, size_t count);

#endif
