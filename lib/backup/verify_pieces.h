/*
 * Whether the pieces of large directories (large_trees.h) are the trees that they stand for: all of a tree's pieces, one after the other, have its SHA-256,
 * and its list says of each what it begins with and how many nodes it has. One piece is in memory at a time. One thread.
 */
#ifndef CORPUSFS_BACKUP_VERIFY_PIECES_H
#define CORPUSFS_BACKUP_VERIFY_PIECES_H

#include "lib/repository/blob_set.h"
#include "lib/repository/snapshot_file.h"

struct verify_pieces {
	struct repository_reader *reader;
	void (*problem)(void *arg, const char *path, int code, const char *text); /* path: in the backup */
	int (*tree)(void *arg); /* before each tree; not 0: it ends with it */
	void *arg;
	struct blob_set seen; /* what was looked at already */
};

/* Those of one backup. What is missing or damaged is told. Returns what `tree` says, or 0. */
WARN_UNUSED int verify_pieces_of(struct verify_pieces *verify, const struct snapshot_file *snapshot);
void verify_pieces_clear(struct verify_pieces *verify);

#endif
