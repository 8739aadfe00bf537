/*
 * What has no place in a restic tree stands in one file of each backup, ".corpusfs/backup.json" beside the dataset's directory:
 *
 *   {"version": 1, "type": "full" | "differential" | "incremental", "store": uuid, "dataset": name, "dataset_id": n,
 *    "snapshot": name, "view": n, "taken": "seconds.nanoseconds", "identity": hex or null, "base": id or null, "full": id or null,
 *    "full_snapshot": name or null: what the full one was made of,
 *    "packs": [names of the packs that it wrote, but for the last ones],
 *    "indexes": [first 16 digits of the index files that name what it relies on beside its own packs], "exact": [entry, ...],
 *    "lost": [first 16 digits of packs that these name and it does not rely on, for they were not there]?, "large": (large_trees.h)}
 *
 *   entry  {"path": in the dataset, "holes": [[offset, length], ...]?, "mtime", "atime", "ctime": [seconds, nanoseconds]?}
 *
 * An entry says of a file what its node cannot say. Names are text by the rule of lib/base/escape.h. What a list, a person or restic should
 * see at once stands in the tags of the snapshot file, too: "corpusfs", "type=...", "snapshot=...", "identity=...", "dataset-id=STORE/NUMBER".
 */
#ifndef CORPUSFS_BACKUP_BACKUP_INFO_H
#define CORPUSFS_BACKUP_BACKUP_INFO_H

#include <pthread.h>

#include <jansson.h>

#include "lib/backup/content_blobs.h"
#include "lib/repository/snapshot_file.h"

#define BACKUP_INFO_DIR ".corpusfs"
#define BACKUP_INFO_FILE "backup.json"

enum backup_type { BACKUP_FULL, BACKUP_DIFFERENTIAL, BACKUP_INCREMENTAL };
const char *backup_type_text(enum backup_type type);
WARN_UNUSED int backup_type_parse(const char *text, enum backup_type *ret_type); /* -EINVAL */

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
const json_t *entry_paths_find(const struct entry_paths *paths, const char *path); /* NULL: none */
/* The first entry at or below the directory, and how many there are. */
size_t entry_paths_below(const struct entry_paths *paths, const char *path, size_t *ret_first);
/* Adds those at the path, and below it if it is a directory's. */
void entry_paths_copy(const struct entry_paths *paths, const char *path, bool is_dir, struct entry_list *list);
/* Sets what the entry says: times in the node; holes are added. -EBADMSG. */
WARN_UNUSED int exact_entry_apply(const json_t *entry, struct node *node, struct holes *holes);

/* What has that name in a directory; the node is the caller's to clear. -ENOENT: nothing has; -EBADMSG: also where a blob is missing. */
WARN_UNUSED int backup_info_find(struct repository_reader *reader, const struct blob_id *tree, const char *name, struct node *ret_node);
WARN_UNUSED int backup_info_content(struct repository_reader *reader, const struct node *file, struct buf *content); /* of a file; -EFBIG */

/* Reads the file of a backup. -ENOENT: the snapshot file is not one of ours; -EBADMSG. The object is the caller's. */
WARN_UNUSED int backup_info_read(struct repository_reader *reader, const struct snapshot_file *snapshot, json_t **ret_info, struct error *err);
/* Adds the packs that the backup wrote. */
void backup_info_packs(const json_t *info, struct object_names *packs);
/*
 * Why the repository's index may not name any more all that the backup wrote and relied on, in packs that are there; NULL: it does. Where index files
 * went since, it is not known: an index that is made anew names all that backups need after a prune, and maybe not after a pack was lost. `lost`: packs,
 * sorted, that the index names and are not there.
 */
const char *backup_info_doubt(const json_t *info, const struct repository *repository, const struct object_names *lost);
/* ,"indexes":[...] of all index files that were read; `none`: it relies on none of them. */
void backup_info_add_indexes(struct buf *json, const struct repository *repository, bool none);
void backup_info_add_lost(struct buf *json, const struct object_names *lost); /* ,"lost":[...] if there are any */
/* The same of one that is to be read; one that is not ours has none. -EBADMSG and others. */
WARN_UNUSED int backup_info_own_packs(struct repository_reader *reader, const struct snapshot_file *snapshot, struct object_names *packs,
                                      struct error *err);

#endif
