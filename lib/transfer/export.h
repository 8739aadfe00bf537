/*
 * Export: a dataset's head, a snapshot or a part of it becomes a directory or an archive, past FUSE, with all that import takes over.
 *
 * The target is an open descriptor: a directory, which must be empty, or what an archive is written to. Each file of a directory is
 * written under another name first. An archive that is not completed is cut off a file again: it is as long as before, and so is its offset.
 * What cannot be made (owners as a user, say) is a problem of that file (transfer.h). When it returns, what it counts is on disk.
 */
#ifndef CORPUSFS_TRANSFER_EXPORT_H
#define CORPUSFS_TRANSFER_EXPORT_H

#include "lib/transfer/transfer.h"

struct export_options {
	struct transfer_options transfer;
	const char *source; /* "DATASET" or "DATASET@NAME" */
	const char *path;   /* in it, "" for all */
	const char *target; /* what messages call the target */
	int target_fd;      /* stays the caller's */
	const char *format; /* "dir", "tar", "tar.zst", "tar.gz", "zip" */
};

#define EXPORT_FORMATS "dir, tar, tar.zst, tar.gz or zip"
#define EXPORT_SUFFIXES ".tar, .tar.zst, .tar.gz or .zip"
/*
 * The format meant: the given one, or by the target's suffix if that is NULL; a stream is a tar then, and a name without such a suffix a
 * directory. NULL: the given one is none, or the suffix is one of archives that are not written. One with a slash behind is a directory.
 */
const char *export_format(const char *target, bool is_stream, const char *given);

WARN_UNUSED int export_run(struct store *store, const struct export_options *options, struct transfer_counts *ret_counts, struct error *err);

#endif
