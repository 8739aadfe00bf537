/*
 * What a node of a tree tells of an inode, but for what is in the file (content_blobs.h). Negative errno of reading the view. Any thread.
 */
#ifndef CORPUSFS_BACKUP_BACKUP_NODE_H
#define CORPUSFS_BACKUP_BACKUP_NODE_H

#include "lib/repository/node.h"
#include "lib/tree/files/files.h"

void backup_node_fill(struct node *node, const struct attr *attr);
WARN_UNUSED int backup_node_load_xattrs(struct view *view, uint64_t ino, struct node *node);
/* Of a symbolic link. */
WARN_UNUSED int backup_node_load_target(struct view *view, uint64_t ino, struct node *node);

#endif
