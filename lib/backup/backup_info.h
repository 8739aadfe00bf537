/*
 * What has no place in a restic tree stands in one file of each backup, ".corpusfs/backup.json" beside the dataset's directory:
 *
 *   {"version": 1, "type": "full" | "differential" | "incremental", "store": uuid, "dataset": name, "dataset_id": n,
 *    "snapshot": name, "view": n, "taken": "seconds.nanoseconds", "identity": hex or null, "base": id or null, "full": id or null,
 *    "full_snapshot": name or null: what the full one was made of,
 *    "counts": {"files", "directories": that were looked at, "unchanged": taken over from the base without a look, "bytes": of content, "left_out"},
 *    "packs": [names of the packs that it wrote, but for the last ones],
 *    "indexes": [first 16 digits of the index files that name what it relies on beside its own packs],
 *    "lost": [first 16 digits of packs that these name and it does not rely on, for they were not there]?,
 *    "exact", "left_out": of single files (backup_entries.h), "large": (large_trees.h)}
 *
 * Names are text by the rule of lib/base/escape.h. What a list, a person or restic should see at once stands in
 * the tags of the snapshot file, too: "corpusfs", "type=...", "snapshot=...", "identity=...", "dataset-id=STORE/NUMBER".
 */
#ifndef CORPUSFS_BACKUP_BACKUP_INFO_H
#define CORPUSFS_BACKUP_BACKUP_INFO_H

#include <jansson.h>

#include "lib/backup/backup_entries.h"
#include "lib/repository/snapshot_file.h"

#define BACKUP_INFO_DIR ".corpusfs"
#define BACKUP_INFO_FILE "backup.json"
#define BACKUP_INFO_MAX (1ULL << 30) /* bytes */

enum backup_type { BACKUP_FULL, BACKUP_DIFFERENTIAL, BACKUP_INCREMENTAL };
const char *backup_type_text(enum backup_type type);
WARN_UNUSED int backup_type_parse(const char *text, enum backup_type *ret_type); /* -EINVAL */

/* What has that name in a directory; the node is the caller's to clear. -ENOENT: nothing has; -EBADMSG: also where a blob is missing. */
WARN_UNUSED int backup_info_find(struct repository_reader *reader, const struct blob_id *tree, const char *name, struct node *ret_node);
WARN_UNUSED int backup_info_content(struct repository_reader *reader, const struct node *file, struct buf *content); /* of a file; -EFBIG */

/* Reads the file of a backup. -ENOENT: the snapshot file is not one of ours; -EBADMSG. The object is the caller's. */
WARN_UNUSED int backup_info_read(struct repository_reader *reader, const struct snapshot_file *snapshot, json_t **ret_info, struct error *err);
/* What is counted in it, as it stands there; NULL: an earlier version made it. The caller's. */
json_t *backup_info_counts(const json_t *info);
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
