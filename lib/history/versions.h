/* The versions of one file that a dataset's snapshots and its head hold. Any thread. */
#ifndef CORPUSFS_HISTORY_VERSIONS_H
#define CORPUSFS_HISTORY_VERSIONS_H

#include "lib/store/store.h"

struct file_version {
	const char *path;         /* where it stood; NULL: the file was not there */
	struct attr attr;         /* zeros when it was not there */
	const char **snapshots;   /* that hold it, in the order in which they were taken */
	size_t snapshot_count;
	struct timespec first_taken, last_taken; /* of these; zeros without snapshots */
	bool in_head;
};

/*
 * Calls back for each distinct version of what stands at `path` in the head or in any snapshot, in the order in which they first appear. A
 * version is an inode in a state: content, attributes and path. An inode that stands elsewhere in some snapshot, since it was renamed, is
 * followed there. Snapshots that hold none of them are told together, without path. -ENOENT: nothing ever stood there. Stops when the
 * callback returns not 0, and returns that.
 */
WARN_UNUSED int versions_list(struct store *store, const char *dataset, const char *path,
			      int (*each)(void *arg, const struct file_version *version), void *arg, struct error *err);

#endif
