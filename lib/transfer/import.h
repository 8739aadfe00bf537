/*
 * Import: a directory or an archive becomes a part of a dataset, past FUSE.
 *
 * Each file comes in whole or not at all, and others of the same name give way in one instant. When it returns, what it counts is on disk.
 *
 * An import that was stopped is simply run again: what was there before it began, and is the same, is passed over. Of a directory, the same
 * means type, size, mode, owner and time of change, and directories never give way. Of an archive it means the content, too, but for big
 * files (big_names.h); and the archive does what tar(1) does with it, member by member (import_apply.h).
 *
 * Names that would lead out of the target, and ".snapshots" in the root of a dataset, are problems (transfer.h), as is what cannot be read and what may not
 * come in (import_attributes.c). A damaged archive is a failure: of a compressed one nothing has come in, of others what was
 * complete before the damage.
 */
#ifndef CORPUSFS_TRANSFER_IMPORT_H
#define CORPUSFS_TRANSFER_IMPORT_H

#include "lib/transfer/transfer.h"

struct import_options {
	struct transfer_options transfer;
	const char *source;  /* what messages call the source */
	int source_fd;       /* a directory or an archive, open for reading; stays the caller's */
	struct archive_in *archive; /* or members from elsewhere, which become import_run's; NULL: there is a descriptor */
	const char *dataset; /* made when it is not there */
	const char *path;    /* in it, "" for its root; directories on the way are made */
	int level;           /* of a dataset that is made */
	bool exact;          /* directories that are there lose extended attributes and ACLs that they have not in the source */
};

WARN_UNUSED int import_run(struct store *store, const struct import_options *options, struct transfer_counts *ret_counts, struct error *err);

#endif
