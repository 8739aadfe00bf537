/*
 * The backups of a repository, as directories that are made up: each by its name and by when it was taken, oldest first. Two that were taken at once
 * have the first digits of their names behind the time. It does not change once it is made; any thread.
 */
#ifndef CORPUSFS_BROWSE_BROWSE_LIST_H
#define CORPUSFS_BROWSE_BROWSE_LIST_H

#include "lib/repository/snapshot_file.h"

struct browse_backup {
	struct snapshot_file snapshot;
	char name[BLOB_ID_TEXT]; /* as many digits as tell it from all others, 8 at least */
	char *time;              /* "2026-11-29T10:00:00Z" */
};

struct browse_list {
	ARRAY_FIELDS(struct browse_backup);
};

/* Takes what is in `snapshots`, which is empty then. */
void browse_list_make(struct browse_list *list, struct snapshot_files *snapshots);
void browse_list_clear(struct browse_list *list);

/* -ENOENT */
WARN_UNUSED int browse_list_find(const struct browse_list *list, const char *name, bool by_time, size_t *ret_number);

#endif
