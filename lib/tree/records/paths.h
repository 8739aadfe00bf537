/*
 * Where an inode is in a tree: the way from its number back to a path, for the rooms above lib/tree. Any depth; any thread.
 *
 * A directory's record says which directory is above it; a file's says where a name of it was made last, which is a hint. So the
 * directories above are searched for the number, and only for a file that is not where its hint says (hard links) are all directories.
 */
#ifndef CORPUSFS_TREE_PATHS_H
#define CORPUSFS_TREE_PATHS_H

#include "lib/tree/records/scan.h"

/*
 * A path of the inode, relative to the root, freed by the caller; one of several for a file with hard links. -ENOENT: it is not in the tree
 * (any more).
 */
WARN_UNUSED int paths_find(const struct scan *scan, const struct scan_inode *inode, char **ret_path);
/* The path of a name in a directory. -ENOENT as above; whether the directory has the name is not asked. */
WARN_UNUSED int paths_join(const struct scan *scan, uint64_t dir, const char *name, char **ret_path);

#endif
