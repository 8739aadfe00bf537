#include "lib/store/replica.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/fault.h"
#include "lib/base/shell.h"
#include "lib/chunk/digest.h"
#include "lib/store/catalog.h"
#include "lib/store/uncommitted.h"
#include "lib/store/unknown.h"
#include "lib/tree/records/scan.h"
#include "lib/tree/records/touched.h"

#define ID_TEXT "corpusfs-snapshot"

_Static_assert(SNAPSHOT_ID_LEN == DIGEST_LEN && SNAPSHOT_ID_LEN == NODE_LEN, "numbers of snapshots are digests");

int replica_refuse(const char *dataset, struct error *err)
{
	error_set(err, -EROFS, "dataset \"%s\" is a replica: only what is received changes it", dataset);
	error_hint_shell(err, "to write it from now on: corpusfs promote %s", dataset);
	return -EROFS;
}

/* --- numbers --- */

static void make_id(const struct store *store, const struct snapshot_info *info, uint8_t ret_id[SNAPSHOT_ID_LEN])
{
	struct digest *digest = digest_new();
	AUTO_BUF text = BUF_INIT;

	buf_add(&text, ID_TEXT, sizeof(ID_TEXT));
	buf_add(&text, store->superblock.uuid, sizeof(store->superblock.uuid));
	buf_add_le32(&text, info->family);
	buf_add_le32(&text, info->view);
	buf_add_le64(&text, info->number);
	buf_add_le64(&text, (uint64_t)info->taken.tv_sec);
	buf_add_le32(&text, (uint32_t)info->taken.tv_nsec);
	digest_once(digest, text.data, text.len, ret_id);
	digest_free(digest);
}

int snapshot_id(struct store *store, const struct snapshot_info *info, uint8_t ret_id[SNAPSHOT_ID_LEN])
{
	int result = catalog_get_origin(store->kv, info->view, ret_id);

	if (result != -ENOENT)
		return result;
	make_id(store, info, ret_id);
	return 0;
}

bool snapshot_was_received(struct store *store, const struct snapshot_info *info)
{
	uint8_t id[SNAPSHOT_ID_LEN];

	return catalog_get_origin(store->kv, info->view, id) == 0;
}

struct finding {
	struct store *store;
	const uint8_t *id;
	struct snapshot_info *found;
};

static int look_at(void *arg, const struct snapshot_info *info)
{
	struct finding *finding = arg;
	uint8_t id[SNAPSHOT_ID_LEN];
	int result = snapshot_id(finding->store, info, id);

	if (result < 0 || memcmp(id, finding->id, sizeof(id)) != 0)
		return result;
	result = snapshot_get(finding->store, info->dataset, info->name, finding->found);
	return result < 0 ? result : 1;
}

int snapshot_find_id(struct store *store, const char *dataset, const uint8_t id[SNAPSHOT_ID_LEN], struct snapshot_info *ret_info)
{
	struct finding finding = {.store = store, .id = id, .found = ret_info};
	int result = snapshot_list(store, dataset, look_at, &finding);

	return result == 1 ? 0 : result == 0 ? -ENOENT : result;
}

/* --- what was changed --- */

/* Where a head stands, as the catalogue had it at one moment. */
struct standing {
	uint32_t family;
	uint64_t epoch;
	struct line line; /* owned */
};

/* Caller holds catalog_lock. */
static struct standing standing_of(const struct dataset *dataset)
{
	return (struct standing){.family = dataset->record.family, .epoch = dataset->record.epoch, .line = line_copy(&dataset->record.line)};
}

/*
 * What has no name is in nobody's tree: a file that was open without one, and is closed. Whoever took a last name away touched its directory,
 * and whoever removed that the one above it, so a change of the tree is always seen by what still has a name.
 */
static int found_touched(void *arg, struct touched_place place)
{
	struct scan_inode inode = {0};
	const int result = scan_named_inode(arg, place.ino, &inode);

	scan_inode_clear(&inode);
	return result == -ENOENT ? 0 : result < 0 ? result : 1;
}

/* 1: the head changed something of its tree; 0: nothing. */
static int is_touched(struct store *store, const struct standing *head)
{
	struct scan scan;
	int result;

	scan_of_line(&scan, store->tree, head->family, &head->line);
	result = touched_each(store->tree, head->family, (struct touched_place){.epoch = head->epoch}, head->epoch, found_touched, &scan);
	scan_clear(&scan);
	return result;
}

/* What is accepted and not committed is a change, too. */
static int commit_head(struct store *store, const char *name)
{
	struct view *view;
	int result = store_head(store, name, &view);

	if (result < 0)
		return result;
	result = view_is_locked(view) ? 0 : view_sync(view);
	store_view_put(store, view);
	return result;
}

/* The head goes on from the snapshot; whether it has changed anything is another question. Caller holds catalog_lock. */
static bool goes_on_from(const struct dataset *dataset, const struct snapshot *snapshot)
{
	struct line line = line_copy(&snapshot->record.line);
	bool result;

	line_add(&line, dataset->record.epoch, dataset->record.epoch);
	result = line_equal(&dataset->record.line, &line);
	line_clear(&line);
	return result;
}

int dataset_is_at(struct store *store, const char *name, const char *snapshot_name)
{
	struct standing head = {0};
	bool goes_on = false;
	int result = commit_head(store, name);

	if (result < 0)
		return result;
	mutex_take(&store->catalog_lock);
	struct dataset *dataset = catalog_dataset(store, name);
	const struct snapshot *snapshot = dataset ? catalog_snapshot(dataset, snapshot_name) : NULL;
	if (snapshot) {
		goes_on = goes_on_from(dataset, snapshot);
		head = standing_of(dataset);
	}
	mutex_give(&store->catalog_lock);
	if (!snapshot)
		return -ENOENT;
	result = goes_on ? is_touched(store, &head) : 1;
	line_clear(&head.line);
	return result < 0 ? result : result == 0;
}

int dataset_stands_at(struct store *store, const char *name, char ret_snapshot[NAME_LEN_MAX + 1])
{
	char found[NAME_LEN_MAX + 1] = "";
	struct standing head = {0};
	int result = commit_head(store, name);

	if (result < 0)
		return result;
	mutex_take(&store->catalog_lock);
	const struct dataset *dataset = catalog_dataset(store, name);
	for (size_t i = dataset ? dataset->order.count : 0; i-- > 0 && !found[0];)
		if (goes_on_from(dataset, dataset->order.items[i]))
			snprintf(found, sizeof(found), "%s", dataset->order.items[i]->name);
	if (dataset)
		head = standing_of(dataset);
	mutex_give(&store->catalog_lock);
	if (!dataset)
		return -ENOENT;
	result = found[0] ? is_touched(store, &head) : 1;
	line_clear(&head.line);
	if (result != 0)
		return result < 0 ? result : 0;
	memcpy(ret_snapshot, found, sizeof(found));
	return 1;
}

/* --- promoted, demoted --- */

static int write_replica(struct store *store, struct dataset *dataset, bool is_replica)
{
	struct kv_batch *batch = kv_batch_new();
	int result = fault_point("replica-before-write");

	if (is_replica)
		catalog_put_replica(batch, dataset->record.id);
	else
		catalog_delete_replica(batch, dataset->record.id);
	if (result == 0)
		result = catalog_write(store->kv, batch);
	kv_batch_free(batch);
	if (result < 0)
		return result;
	mutex_take(&store->catalog_lock);
	dataset->replica = is_replica;
	mutex_give(&store->catalog_lock);
	return 0;
}

static int set_locked(struct store *store, const char *name, bool is_replica, struct error *err)
{
	struct dataset *dataset = catalog_dataset(store, name);
	const uint32_t view = dataset ? dataset->record.view : 0;
	struct error lost = {0};
	int result;

	if (!dataset)
		return unknown_dataset(store, name, err);
	if (dataset->replica == is_replica)
		return 0;
	result = head_change_lock(store, dataset, write_replica, is_replica, &lost);
	if (result < 0) {
		error_set(err, result, "cannot %s dataset \"%s\"", is_replica ? "demote" : "promote", name);
		(void)uncommitted_explain_freeze(store, &view, 1, &lost, err);
	}
	return result;
}

int dataset_set_replica(struct store *store, const char *name, bool is_replica, struct error *err)
{
	int result = store_begin_change(store, err);

	if (result < 0)
		return result;
	result = set_locked(store, name, is_replica, err);
	mutex_give(&store->change_lock);
	return result;
}
