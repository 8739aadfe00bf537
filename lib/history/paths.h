/*
 * Where inodes are in a tree: the way from numbers back to names.
 *
 * A directory's record says which directory is above it; a file's says where a name of it was made last, which is a hint. So the
 * directories above are searched for the numbers wanted, each once for all that are wanted in it; only for files with names elsewhere
 * (hard links) are all directories. Internal to lib/history; one thread.
 *
 *   paths_want ...          all directories whose paths will be asked for
 *   paths_resolve
 *   paths_of ...
 *   paths_find_names        any time
 */
#ifndef CORPUSFS_HISTORY_PATHS_H
#define CORPUSFS_HISTORY_PATHS_H

#include "lib/tree/records/scan.h"

/* The path without slashes at the ends or two in a row; freed by the caller. */
char *paths_clean(const char *path);

struct paths;

struct paths *paths_new(const struct scan *scan); /* the scan outlives it */
void paths_free(struct paths *paths);
void paths_want(struct paths *paths, uint64_t dir);
WARN_UNUSED int paths_resolve(struct paths *paths);

/* Relative to the root, "" for the root; NULL: not in the tree (any more). Valid until paths_free. */
const char *paths_of(struct paths *paths, uint64_t dir);
/* The path of a name in a directory; NULL as above; freed by the caller. */
char *paths_join(struct paths *paths, uint64_t dir, const char *name);

/* All names of files. Neither order nor grouping is promised. */
struct wanted_file {
	uint64_t ino, hint;
	uint32_t nlink;
};
WARN_UNUSED int paths_find_names(const struct scan *scan, const struct wanted_file *files, size_t count,
				 void (*each)(void *arg, uint64_t ino, uint64_t dir, const char *name), void *arg);

/* Calls back for the root and every directory below it. */
WARN_UNUSED int paths_each_dir(const struct scan *scan, int (*each)(void *arg, uint64_t dir), void *arg);

#endif
