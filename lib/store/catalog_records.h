/*
 * The records of the catalogue on disk (lib/format/key.h lists them). This is the only place above lib/tree that names a column family: whoever
 * needs another kind of record here adds a key to lib/format and uses the four functions at the top.
 *
 * Internal to lib/store, and to the rooms above for the kinds that they own. Any thread; a batch belongs to one.
 */
#ifndef CORPUSFS_STORE_CATALOG_RECORDS_H
#define CORPUSFS_STORE_CATALOG_RECORDS_H

#include "lib/format/key.h"
#include "lib/format/record.h"
#include "lib/kv/kv.h"

WARN_UNUSED int catalog_record_get(struct kv *kv, const struct small_key *key, struct buf *value); /* -ENOENT */
void catalog_record_put(struct kv_batch *batch, const struct small_key *key, const void *value, size_t len);
void catalog_record_delete(struct kv_batch *batch, const struct small_key *key);
/* Over the keys in [first, end). */
struct kv_iter *catalog_record_iterate(struct kv *kv, const struct small_key *first, const struct small_key *end);

/* Writes the batch; it is on disk when this returns 0. What may be lost with the last seconds is written with kv_write and no flag. */
WARN_UNUSED int catalog_write(struct kv *kv, struct kv_batch *batch);

/* Gives back the room of records that are gone; `stop` is asked now and then. -ENOSPC: there is no room to do it. */
WARN_UNUSED int catalog_compact(struct kv *kv, bool (*stop)(void *arg), void *arg);

/* What the record under a key is of; for telling what a damaged log has lost. */
struct catalog_change {
	enum { CHANGE_OF_FILES, CHANGE_OF_DATASET, CHANGE_OF_SNAPSHOT, CHANGE_OF_OTHERS } what;
	uint32_t number; /* of files: their family; of a snapshot: its dataset */
	char name[NAME_LEN_MAX + 1]; /* of a dataset or snapshot */
};
void catalog_change_of(enum kv_family family, const uint8_t *key, size_t len, struct catalog_change *ret_change);

void catalog_put_dataset(struct kv_batch *batch, const char *name, const struct dataset_record *record);
void catalog_delete_dataset(struct kv_batch *batch, const char *name);
void catalog_put_snapshot(struct kv_batch *batch, const char *name, const struct snapshot_record *record);
void catalog_delete_snapshot(struct kv_batch *batch, uint32_t dataset, const char *name);
void catalog_put_prune(struct kv_batch *batch, uint32_t view, const struct prune_record *record);
void catalog_delete_prune(struct kv_batch *batch, uint32_t view);
void catalog_delete_family(struct kv_batch *batch, uint32_t family);

/* The identity of a snapshot, once it is known. */
WARN_UNUSED int catalog_get_identity(struct kv *kv, uint32_t family, uint32_t view, uint8_t ret_identity[NODE_LEN]); /* -ENOENT */
void catalog_put_identity(struct kv_batch *batch, uint32_t family, uint32_t view, const uint8_t identity[NODE_LEN]);
void catalog_delete_identity(struct kv_batch *batch, uint32_t family, uint32_t view);

/* That a dataset is a replica, and where a snapshot comes from (replica.h). */
void catalog_put_replica(struct kv_batch *batch, uint32_t dataset);
void catalog_delete_replica(struct kv_batch *batch, uint32_t dataset);
WARN_UNUSED int catalog_get_origin(struct kv *kv, uint32_t view, uint8_t ret_id[NODE_LEN]); /* -ENOENT: it was taken here */
void catalog_put_origin(struct kv_batch *batch, uint32_t view, const uint8_t id[NODE_LEN]);
void catalog_delete_origin(struct kv_batch *batch, uint32_t view);

WARN_UNUSED int catalog_drop_labels(struct kv *kv, uint32_t dataset); /* all of a stream that was received into it */

/* Orphans of a dataset ('O') copied to a snapshot ('Q'), the way back, and removed. */
WARN_UNUSED int catalog_has_orphans(struct kv *kv, uint32_t dataset); /* 1, 0, or -errno */
WARN_UNUSED int catalog_save_orphans(struct kv *kv, uint32_t dataset, uint32_t view, struct kv_batch *batch);
WARN_UNUSED int catalog_restore_orphans(struct kv *kv, uint32_t view, uint32_t dataset, struct kv_batch *batch);
WARN_UNUSED int catalog_drop_orphans(struct kv *kv, uint32_t dataset, struct kv_batch *batch);
WARN_UNUSED int catalog_drop_snapshot_orphans(struct kv *kv, uint32_t view, struct kv_batch *batch);

#endif
