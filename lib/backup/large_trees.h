/*
 * The pieces of large directories in a backup (lib/repository/tree_pieces.h), beside its description (backup_info.h):
 *
 *   .corpusfs/trees/ID/pieces.json    the list of the pieces of tree ID
 *   .corpusfs/trees/ID/tree           the tree, whose blobs are the pieces; so the file has the SHA-256 by which its directory is named
 *
 * These are ordinary files, which restic keeps, checks and restores without knowing what they are. A backup whose directories are all small has no
 * .corpusfs/trees. A directory ID is the same in all backups that have the tree: the times of what is in there are 1970.
 *
 * In backup.json, "large" says which directories these are, so that the next backup takes over what is in directories that did not change:
 *
 *   "large": [{"path": in the dataset, "tree": ID, "pieces": id of the tree of directory ID}, ...]
 *
 * What is written here is a help only. Who finds no pieces, or damaged ones, reads the tree.
 */
#ifndef CORPUSFS_BACKUP_LARGE_TREES_H
#define CORPUSFS_BACKUP_LARGE_TREES_H

#include "lib/backup/backup_info.h"
#include "lib/repository/tree_pieces.h"

#define LARGE_TREES_DIR "trees"
#define LARGE_TREES_LIST "pieces.json"
#define LARGE_TREES_TREE "tree"

/* Adds the pieces of a tree to the repository, and an entry to the list, unless the tree is small. -errno with maker->err. Any thread. */
WARN_UNUSED int large_trees_add(struct entry_list *large, struct blob_maker *maker, const char *path, const struct blob_id *tree, const struct buf *json);
/* Writes the directory, whose node has no name yet. 0: there is none; 1: there is. -errno with maker->err. */
WARN_UNUSED int large_trees_write(const struct entry_list *large, struct blob_maker *maker, struct node *dir);

/* What a directory ID has. Both nodes are the caller's to clear, also after a failure. */
struct large_tree {
	struct node list, tree;
};
/* Of the text of its own tree. -EBADMSG. */
WARN_UNUSED int large_tree_read(const char *json, size_t len, struct large_tree *ret_large);
void large_tree_clear(struct large_tree *large);

#endif
