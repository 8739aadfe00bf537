/*
 * The backups of a repository, as directories that are made up: each by its name and by when it was taken. Two that were taken at once have the first
 * digits of their names behind the time. What is in the list stays, with its number and its names; others come behind it.
 *
 * Threads: any; one at a time adds.
 */
#ifndef CORPUSFS_BROWSE_BROWSE_LIST_H
#define CORPUSFS_BROWSE_BROWSE_LIST_H

#include "lib/repository/snapshot_file.h"

struct browse_backup {
	struct snapshot_file snapshot;
	char name[BLOB_ID_TEXT]; /* as many digits as tell it from all others, 8 at least */
	char *time;              /* "2026-11-29T10:00:00Z" */
};

struct browse_list;
struct browse_list *browse_list_new(void);
void browse_list_free(struct browse_list *list); /* NULL is fine */

/* Takes what is in `snapshots`, which is empty then. */
void browse_list_add(struct browse_list *list, struct snapshot_files *snapshots);

size_t browse_list_count(struct browse_list *list);
const struct browse_backup *browse_list_get(struct browse_list *list, size_t number); /* below the count; good as long as the list */
size_t browse_list_newest(struct browse_list *list); /* its number, if there is one */
/* -ENOENT */
WARN_UNUSED int browse_list_find(struct browse_list *list, const char *name, bool by_time, size_t *ret_number);
bool browse_list_has(struct browse_list *list, const char *snapshot); /* by its whole name */

#endif
