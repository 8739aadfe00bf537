/* Which backup of a repository is meant. */
#ifndef CORPUSFS_BACKUP_BACKUP_FIND_H
#define CORPUSFS_BACKUP_BACKUP_FIND_H

#include "lib/backup/backup_info.h"

/*
 * `text` is a backup's name, and then nothing else is read; or its first digits (four at least), "latest", DATASET for its newest one, DATASET@SNAPSHOT
 * for that of a snapshot, or NULL: the newest one, if all backups are of one dataset. Where no single one is named, the newest complete one is meant,
 * if there is one; ret_others (or NULL) says then which others somebody could have meant. Snapshots that restic made count by their paths.
 * -ENOENT, -EINVAL not unique. -EBADMSG: it is damaged, or no single one is named, and a damaged one could be the one that is meant.
 */
struct backup_others {
	char incomplete[BLOB_ID_TEXT]; /* a newer one that is incomplete; "": none */
	char later[BLOB_ID_TEXT]; /* a complete one of a later snapshot that has an earlier time, for a clock was wrong; "": none */
};
WARN_UNUSED int backup_find(struct repository *repository, const char *text, struct snapshot_file *ret_snapshot, struct backup_others *ret_others,
			    struct error *err);

/* Whether it is the name of a damaged one, or its first digits and those of no other one. */
bool backup_find_damaged(struct repository *repository, const char *text, char ret_name[BLOB_ID_TEXT]);

/* As backup_find, among those that were made on a host or have a tag; NULL: on any, with any. */
struct backup_filter {
	const char *host, *tag;
};
WARN_UNUSED int backup_find_among(struct repository *repository, const char *text, const struct backup_filter *filter,
				  struct snapshot_file *ret_snapshot, struct backup_others *ret_others, struct error *err);

bool backup_is_complete(const struct snapshot_file *snapshot); /* all that was in the snapshot could be read when it was made */

/* The number of the snapshot that it was made of: a store gives them out one after another, whatever the clock says. 0: none is known. */
uint32_t backup_view(const struct snapshot_file *snapshot);

/* What was backed up: the path without its leading slash if it is one name, else the path. */
const char *backup_dataset(const struct snapshot_file *snapshot);

#endif
