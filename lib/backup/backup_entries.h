/*
 * What the description of a backup (backup_info.h) says of single files and directories, in lists of entries, each of which has a path:
 *
 *   "exact"     {"path": in the dataset, "holes": [[offset, length], ...]?,
 *                "zeros": false?: the content that its node names has none for the holes, which are more than 16 TiB: restic sees its data alone,
 *                "mtime", "atime", "ctime": [seconds, nanoseconds]?,
 *                "xattrs": [[name, value], ...]?: those whose names are not UTF-8, in base64}: what its node cannot say
 *   "left_out"  {"path"}: what could not be read, so that the next backup looks for it
 *
 * Names are text by the rule of lib/base/escape.h.
 */
#ifndef CORPUSFS_BACKUP_BACKUP_ENTRIES_H
#define CORPUSFS_BACKUP_BACKUP_ENTRIES_H

#include <pthread.h>

#include <jansson.h>

#include "lib/backup/content_blobs.h"

/* Entries of a backup in the making, each with a path. Any thread. */
struct entry_list {
	pthread_mutex_t lock;
	struct buf json; /* "[entry,entry" */
};
void entry_list_init(struct entry_list *list);
void entry_list_clear(struct entry_list *list);
void entry_list_add(struct entry_list *list, const void *json, size_t len);
/* Adds an entry of another backup as it is. */
void entry_list_copy(struct entry_list *list, const json_t *entry);
void entry_list_write(const struct entry_list *list, struct buf *json); /* when nobody adds any more */
void entry_list_add_path(struct entry_list *list, const char *path); /* of which nothing more is to be said */

/* Adds what a node cannot say of its file, if there is such a thing. */
void exact_entry_add(struct entry_list *list, const char *path, const struct node *node, const struct holes *holes);

/* The entries of a backup that is there, by their paths. */
struct entry_paths {
	ARRAY(struct entry_path {
		char *path; /* owned */
		json_t *entry; /* owned */
	}) entries; /* sorted */
};
void entry_paths_read(struct entry_paths *paths, const json_t *list);
void entry_paths_clear(struct entry_paths *paths);
/* Adds the paths of what has no zeros for its holes. */
void entry_paths_add_without_zeros(struct entry_paths *paths, const struct entry_paths *exact);
const json_t *entry_paths_find(const struct entry_paths *paths, const char *path); /* NULL: none */
/* The first entry at or below the directory, and how many there are. */
size_t entry_paths_below(const struct entry_paths *paths, const char *path, size_t *ret_first);
/* Adds those at the path, and below it if it is a directory's. */
void entry_paths_copy(const struct entry_paths *paths, const char *path, bool is_dir, struct entry_list *list);
/* Sets what the entry says: times in the node; extended attributes and holes are added. -EBADMSG. */
WARN_UNUSED int exact_entry_apply(const json_t *entry, struct node *node, struct holes *holes);

#endif
