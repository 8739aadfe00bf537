/*
 * The directory of a cache on disk: made with mode 0700, the caller's own, for one process at a time. What is in it is content that lies sealed in the
 * repository and plain here, so nobody else may look.
 *
 *   corpusfs-cache    says that the directory is one, and is locked (flock) by the process that uses it
 *   00000001 ...      segments (disk_cache.h)
 *   pin-00000001 ...  what must stay (pin_file.h)
 *   place-DIGITS/     copies of a repository's small objects (lib/repository/objects_kept.h); of one that is mounted no more, they stay until somebody
 *                     removes the directory
 */
#ifndef CORPUSFS_BROWSE_CACHE_DIR_H
#define CORPUSFS_BROWSE_CACHE_DIR_H

#include "lib/base/error.h"

struct cache_dir {
	int dir, lock;
};

/*
 * Opens it, and makes it, but nothing above it. -EBUSY: another process uses it; -ENOTEMPTY: it is something else; -EPERM: it is another user's, or,
 * for root, could be replaced by one (lib/base/trusted.h).
 */
WARN_UNUSED int cache_dir_open(const char *path, struct cache_dir *ret_dir, struct error *err);
void cache_dir_unlock(struct cache_dir *dir); /* another process may use it; its descriptor stays open */
void cache_dir_close(struct cache_dir *dir);

/* The folder for what is called so, with the kinds' folders in it. */
WARN_UNUSED int cache_dir_place(const struct cache_dir *dir, const char *place, int *ret_fd);

#endif
