/*
 * The files of a backup as members of an archive (lib/transfer/archive_in.h): a directory before what is in it, names in order, each further name
 * of a file as a hard link to its first one. What restic backed up is read the same way.
 *
 * What restic backed up stands in its snapshot with the whole path of the directory that was named. Without a path, what is wanted of a snapshot of
 * one directory is that directory. Of several, of files, or of a directory that was named by a relative path, it is the whole tree.
 *
 * One thread. Errors: -EBADMSG the repository is damaged there, with restore_source_problem; -EIO and others of the place.
 */
#ifndef CORPUSFS_BACKUP_RESTORE_SOURCE_H
#define CORPUSFS_BACKUP_RESTORE_SOURCE_H

#include <stdatomic.h>

#include "lib/backup/backup_info.h"
#include "lib/transfer/archive_in.h"

struct restore_source;

struct restore_source_options {
	struct repository *repository; /* with its index */
	struct store *store;           /* where blobs may be, or NULL */
	struct pool *pool;             /* whose threads help to read, or NULL */
	const struct snapshot_file *snapshot;
	const char *path; /* what is wanted of it, "" for all; NULL: what was backed up */
	bool keep_going;  /* what is damaged is told as a member's problem, and the rest comes, also without the description of the backup */
	bool only_walks;  /* nobody asks it for content: members are taken */
	const atomic_uint_fast64_t *total; /* bytes of content, once somebody knows; or NULL */
};

/* -ENOENT: there is no such path in the backup; -EBADMSG. */
WARN_UNUSED int restore_source_new(const struct restore_source_options *options, struct restore_source **ret_source, struct error *err);
void restore_source_free(struct restore_source *source); /* NULL is fine */

struct archive_source restore_source_members(struct restore_source *source);

const struct node *restore_source_node(const struct restore_source *source); /* of the member that was given last */
/* The node of the member that was given last, and the holes of its content, become the caller's. */
void restore_source_take(struct restore_source *source, struct node *ret_node, struct holes *ret_holes);

/* Without a path: that of the directory whose content is given, in the snapshot; "" the whole tree. */
const char *restore_source_place(const struct restore_source *source);
const struct node *restore_source_top(const struct restore_source *source); /* the directory or file that is wanted, until it is taken */
/* Of a backup of ours, without a path and complete: its identity as text. NULL: it is not known. */
const char *restore_source_identity(const struct restore_source *source);
/* Bytes that came from the store, and from the repository. */
void restore_source_bytes(const struct restore_source *source, uint64_t *ret_local, uint64_t *ret_fetched);

#endif
