/*
 * One file or subtree of a head brought back to what a snapshot holds: content shares the snapshot's chunks; types, modes, owners, times,
 * extended attributes and hard links within it are as they were. Other names of a file outside of the path are not touched: the path gets
 * an inode of its own.
 *
 * What is to be is built beside the path under a name of its own (RESTORE_PREFIX) and then put in its place in one step, so that
 * everybody sees the old or the new, and a failure in the middle changes nothing. What a killed run leaves under such a name is removed by
 * the next one in that directory. Directories above the path that are missing in the head are made as they were.
 *
 * One at a time in a store (-EBUSY). Any thread.
 */
#ifndef CORPUSFS_HISTORY_RESTORE_H
#define CORPUSFS_HISTORY_RESTORE_H

#include "lib/store/store.h"

#define RESTORE_PREFIX ".corpusfs-restore-"

struct restore_result {
	uint64_t files, directories, others; /* made */
	uint64_t bytes;                      /* of files' content, shared or not */
	bool replaced;                       /* something stood there before */
};

/* `cancelled` may be NULL. -ENOENT: no such dataset, snapshot, or path in the snapshot; -EINVAL: the root, for which there is rollback;
 * -ENOTDIR: something else is in the place of a directory above. */
WARN_UNUSED int dataset_restore(struct store *store, const char *dataset, const char *snapshot, const char *path,
				bool (*cancelled)(void *arg), void *arg, struct restore_result *ret_result, struct error *err);

#endif
