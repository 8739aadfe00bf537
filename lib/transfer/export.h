/*
 * Export: a dataset's head, a snapshot or a part of it becomes a directory or an archive, past FUSE, with all that import takes over.
 *
 * A directory must be empty or not there yet; each file is written under another name first, and an archive is called NAME.part until it
 * is complete. What cannot be made (owners as a user, say) is a problem of that file (transfer.h). When it returns, what it counts is
 * on disk.
 */
#ifndef CORPUSFS_TRANSFER_EXPORT_H
#define CORPUSFS_TRANSFER_EXPORT_H

#include "lib/transfer/transfer.h"

struct export_options {
	struct transfer_options transfer;
	const char *source; /* "DATASET" or "DATASET@NAME" */
	const char *path;   /* in it, "" for all */
	const char *target; /* a path; of messages only when target_fd is given */
	int target_fd;      /* an archive as a stream, or -1; stays the caller's */
	const char *format; /* "dir", "tar", "tar.zst", "tar.gz", "zip"; NULL: by the target's suffix, a stream is a tar */
};

WARN_UNUSED int export_run(struct store *store, const struct export_options *options, struct transfer_counts *ret_counts, struct error *err);

#endif
