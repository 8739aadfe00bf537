/*
 * The changes that a daemon before this one could not leave (fs/supervise/untold.h): in each head, the inodes of which one may have been lost. They
 * are found by counting through the numbers of inodes, which reads nothing from disk, and takes a moment where there are many millions.
 *
 * The touched index (I7) would not do: it has what is committed only, has no removed file that was new, and does not say which of the epochs that
 * ended since had changes of which the kernel was not told.
 *
 *   lost_changes_new -> lost_changes_next ... -> lost_changes_free
 *
 * A head that comes later has nothing that was lost.
 *
 * Threads: one at a time; the daemon may add to `untold` meanwhile.
 */
#ifndef CORPUSFS_FUSE_NOTIFY_LOST_CHANGES_H
#define CORPUSFS_FUSE_NOTIFY_LOST_CHANGES_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/clean.h"

struct lost_changes;
struct store;
struct untold;

struct lost_inode {
	uint32_t view;
	uint64_t ino;
};

struct lost_changes *lost_changes_new(struct store *store, const struct untold *untold); /* both must outlive it */
void lost_changes_free(struct lost_changes *lost); /* NULL is fine */
/* False: that was all. */
WARN_UNUSED bool lost_changes_next(struct lost_changes *lost, struct lost_inode *ret_inode);

#endif
