/*
 * Import: a directory or an archive becomes a part of a dataset, past FUSE.
 *
 * Each file comes in whole or not at all, so an import that was killed is simply run again: files that are there with the same type,
 * size, mode and time of change are passed over. Others of the same name give way, in one instant; directories never do.
 * When it returns, what it counts is on disk.
 *
 * Names that would lead out of the target (.., absolute, empty, too long), and ".snapshots" at a dataset's root, are problems
 * (transfer.h), as is what cannot be read. A damaged archive is a failure; its complete members stay.
 */
#ifndef CORPUSFS_TRANSFER_IMPORT_H
#define CORPUSFS_TRANSFER_IMPORT_H

#include "lib/transfer/transfer.h"

struct import_options {
	struct transfer_options transfer;
	const char *source;  /* what messages call the source */
	int source_fd;       /* a directory or an archive, open for reading; stays the caller's */
	const char *dataset; /* made when it is not there */
	const char *path;    /* in it, "" for its root; directories on the way are made */
	int level;           /* of a dataset that is made */
};

WARN_UNUSED int import_run(struct store *store, const struct import_options *options, struct transfer_counts *ret_counts, struct error *err);

#endif
