/*
 * How a received snapshot appears. The hidden dataset H has it as its own snapshot S; nothing else of H is wanted.
 *
 *   the dataset is new     H gets its name, and is a replica from then on. H's head goes on behind S, where nothing was written.
 *   it is there, D         S becomes a snapshot of D, and D's head a new view with S's line and a new epoch, as after a rollback to S. What D's
 *                          head had is the base and no more (receiving_check, once more under change_lock), so no guard is needed.
 *
 * Either is one batch. SH1 (snapshots.c) holds as for rollback and clone: S lives before and after.
 */
#include "lib/store/receiving.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/fault.h"
#include "lib/base/shell.h"
#include "lib/store/catalog.h"
#include "lib/store/unknown.h"
#include "lib/tree/freeze/freeze.h"

/* --- may it? --- */

/* The newest state is not the base. */
static int refuse_other(struct store *store, const char *name, const char *base, struct error *err)
{
	char at[NAME_LEN_MAX + 1];

	if (dataset_stands_at(store, name, at) == 1) {
		error_set(err, -EUCLEAN, "dataset \"%s\" stands at snapshot \"%s\", and the stream begins at \"%s\"", name, at, base);
		error_hint_shell(err, "send the difference from the former; or go back, if that is to be given up: corpusfs demote %s --to NAME", name);
		return -EUCLEAN;
	}
	error_set(err, -EUCLEAN, "dataset \"%s\" was written after snapshot \"%s\", and so was what the stream comes from: they are a fork", name, base);
	error_hint_shell(err, "to keep what was written here as a snapshot and go back: corpusfs demote %s --to NAME", name);
	return -EUCLEAN;
}

int receiving_check(struct store *store, const char *name, const char *base, const char *snapshot, struct error *err)
{
	struct snapshot_info other = {0};
	struct dataset_info info;
	int result = dataset_get(store, name, &info);

	if (!base && result == 0) {
		error_set(err, -EEXIST, "there is a dataset \"%s\" already, and the stream has no base", name);
		error_hint(err, "send the difference from a snapshot that both have (send --from), or receive under another name");
		return -EEXIST;
	}
	if (!base)
		return result == -ENOENT ? 0 : result;
	if (result < 0)
		return unknown_or_failed(store, name, NULL, result, err);
	if (!info.replica) {
		error_set(err, -EROFS, "dataset \"%s\" is no replica: it can be written here", name);
		error_hint_shell(err, "to let only streams change it from now on: corpusfs demote %s", name);
		return -EROFS;
	}
	if (snapshot_get(store, name, snapshot, &other) == 0) {
		snapshot_info_clear(&other);
		error_set(err, -EEXIST, "there is a snapshot \"%s@%s\" already", name, snapshot);
		error_hint_shell(err, "to have it received, give that one another name, or remove it: corpusfs snapshot destroy %s@%s", name, snapshot);
		return -EEXIST;
	}
	result = dataset_is_at(store, name, base);
	if (result < 0)
		return unknown_or_failed(store, name, base, result, err);
	return result == 0 ? refuse_other(store, name, base, err) : 0;
}

int receiving_begin(struct store *store, const char *dataset, const char *base, int level, struct error *err)
{
	const struct stat root = {.st_mode = S_IFDIR | 0700};
	char hidden[NAME_LEN_MAX + 1];
	uint32_t id;
	int result = receiving_name(dataset, hidden, err);

	if (result == 0)
		result = receiving_drop(store, dataset, err);
	if (result == 0 || result == 1)
		result = store_begin_change(store, err);
	if (result < 0)
		return result;
	result = base ? dataset_clone_locked(store, dataset, base, hidden, &id, err) : dataset_create_locked(store, hidden, &root, level, err, &id);
	mutex_give(&store->change_lock);
	return result;
}

/* --- labels --- */

int receiving_put_label(struct store *store, uint32_t hidden, uint64_t label, uint64_t ino)
{
	struct small_key key = catalog_key_label(hidden, label);
	struct kv_batch *batch = kv_batch_new();
	AUTO_BUF value = BUF_INIT;
	int result;

	buf_add_le64(&value, ino);
	catalog_record_put(batch, &key, value.data, value.len);
	result = kv_write(store->kv, batch, 0);
	kv_batch_free(batch);
	return result;
}

int receiving_get_label(struct store *store, uint32_t hidden, uint64_t label, uint64_t *ret_ino)
{
	struct small_key key = catalog_key_label(hidden, label);
	AUTO_BUF value = BUF_INIT;
	int result = catalog_record_get(store->kv, &key, &value);

	if (result < 0)
		return result;
	struct reader reader = reader_over(value.data, value.len);
	*ret_ino = read_le64(&reader);
	return reader.bad || reader.left > 0 ? -EBADMSG : 0;
}

/* --- it appears --- */

struct appearance {
	struct store *store;
	const struct received *received;
	struct error *err;
	uint32_t id; /* the dataset's */
	struct dataset *hidden, *dataset; /* dataset NULL: there is none yet */
	struct snapshot *built;
	struct snapshot_record snapshot; /* as it will be */
	struct line line; /* of the dataset's new head */
	uint64_t epoch;
	uint32_t view, old_view;
};

/* The snapshot's record, but for whose it is. */
static int build_snapshot(struct store *store, struct appearance *now, struct kv_batch *batch)
{
	const struct snapshot_record *built = &now->built->record;
	uint64_t number;
	int result = catalog_number(store, COUNTER_SNAPSHOT, batch, &number);

	if (result < 0)
		return result;
	now->snapshot = (struct snapshot_record){
		.dataset = now->dataset ? now->dataset->record.id : now->hidden->record.id,
		.family = built->family,
		.view = built->view,
		.number = number,
		.taken = now->received->taken,
		.line = line_copy(&built->line),
		.note = xstrdup(now->received->note),
	};
	catalog_delete_snapshot(batch, now->hidden->record.id, now->built->name);
	catalog_put_snapshot(batch, now->received->snapshot, &now->snapshot);
	catalog_put_origin(batch, built->view, now->received->id);
	return 0;
}

static void build_new(struct appearance *now, struct kv_batch *batch)
{
	catalog_delete_dataset(batch, now->hidden->name);
	catalog_put_dataset(batch, now->received->dataset, &now->hidden->record);
	catalog_put_replica(batch, now->hidden->record.id);
}

static int build_head(struct store *store, struct appearance *now, struct kv_batch *batch)
{
	struct dataset_record record = now->dataset->record;
	uint64_t view;
	int result = catalog_number(store, COUNTER_VIEW, batch, &view);

	if (result == 0)
		result = family_next_epoch(store->tree, record.family, batch, &now->epoch);
	if (result == 0)
		result = catalog_bury(store, batch, record.family, record.view, &record.line);
	if (result == 0)
		result = catalog_drop_orphans(store->kv, record.id, batch);
	/* what had no name any more in the base has none in what came behind it */
	if (result == 0)
		result = catalog_restore_orphans(store->kv, now->snapshot.view, record.id, batch);
	if (result < 0)
		return result;
	now->view = record.view = (uint32_t)view;
	now->line = line_copy(&now->snapshot.line);
	line_add(&now->line, now->epoch, now->epoch);
	record.line = now->line;
	record.epoch = now->epoch;
	catalog_put_dataset(batch, now->dataset->name, &record);
	return 0;
}

/* Memory follows the disk; under catalog_lock. */
static void move_snapshot(struct store *store, struct appearance *now)
{
	struct dataset *owner = now->dataset ? now->dataset : now->hidden;
	struct lineage *lineage = now->hidden->family->lineage;
	struct lineage_view place = {.view = now->built->record.view};
	struct snapshot *snapshot;

	lineage_join(lineage, &place, &now->built->place);
	catalog_remove_snapshot(store, now->built);
	snapshot = catalog_add_snapshot(store, owner, now->received->snapshot, &now->snapshot);
	lineage_join(lineage, &snapshot->place, &place);
	if (now->dataset) {
		views_retire(store, now->dataset, now->dataset->record.view);
		catalog_note_buried(store, now->dataset->record.family, now->dataset->record.view, &now->dataset->record.line);
		lineage_leave(lineage, &now->dataset->place);
		lineage_branch(lineage, &now->dataset->place, &place, now->epoch);
		line_clear(&now->dataset->record.line);
		now->dataset->record.line = now->line;
		now->line = (struct line){0};
		now->dataset->record.epoch = now->epoch;
		catalog_set_head(store, now->dataset, now->view);
	} else {
		catalog_rename_dataset(store, now->hidden, now->received->dataset);
		now->hidden->replica = true;
	}
	lineage_leave(lineage, &place);
}

/* `head`: of the dataset that is there, or of the hidden one; frozen. */
static int appear_frozen(struct store *store, struct appearance *now, struct view *head, struct freeze *freeze)
{
	struct kv_batch *batch = kv_batch_new();
	int result = build_snapshot(store, now, batch);

	if (result == 0 && now->dataset)
		result = build_head(store, now, batch);
	else if (result == 0)
		build_new(now, batch);
	if (result == 0)
		result = fault_point("receive-before-write");
	if (result == 0)
		result = catalog_write(store->kv, batch);
	kv_batch_free(batch);
	if (result < 0)
		return result;
	FAULT_AFTER("receive-after-write");
	mutex_take(&store->catalog_lock);
	move_snapshot(store, now);
	mutex_give(&store->catalog_lock);
	if (now->dataset)
		freeze_retire(freeze, head);
	else
		view_set_locked(head, true);
	return 0;
}

static int appear_head(struct store *store, struct appearance *now)
{
	struct freeze *freeze;
	struct view *head;
	int result = views_head(store, now->dataset ? now->dataset : now->hidden, &head);

	if (result < 0)
		return result;
	result = freeze_begin_held(&head, 1, &freeze);
	if (result == 0) {
		result = appear_frozen(store, now, head, freeze);
		freeze_end(freeze);
	}
	store_view_put(store, head);
	if (result == 0)
		views_refresh_shared(store, now->hidden->record.family);
	return result;
}

/* The built snapshot's view knows whose it is: it is closed, and opened anew by who comes. */
static int appear_locked(struct store *store, struct appearance *now, uint32_t *ret_used)
{
	const struct view_block block = {.number = now->built->record.view, .blocked = &now->built->blocked};
	struct store_hooks hooks = store_get_hooks(store);
	int result = views_block(store, &block, 1, ret_used);

	if (result < 0)
		return result;
	if (now->dataset && hooks.freeze)
		result = hooks.freeze(hooks.arg, &now->old_view, 1, true, NULL);
	if (result == 0) {
		result = appear_head(store, now);
		if (now->dataset && hooks.thaw)
			hooks.thaw(hooks.arg, &now->old_view, 1);
	}
	if (result < 0)
		views_unblock(store, &block, 1);
	return result;
}

static int find_parts(struct store *store, struct appearance *now, struct error *err)
{
	const struct received *received = now->received;
	char hidden[NAME_LEN_MAX + 1];
	int result = receiving_name(received->dataset, hidden, err);

	if (result == 0)
		result = receiving_check(store, received->dataset, received->base, received->snapshot, err);
	if (result == 0)
		result = snapshot_find(store, hidden, RECEIVED_SNAPSHOT, &now->built, err);
	if (result < 0)
		return result;
	now->hidden = now->built->dataset;
	now->dataset = catalog_dataset(store, received->dataset);
	/* Its line means nothing there. */
	if (now->dataset && now->dataset->record.family != now->built->record.family)
		return error_set(err, -ESTALE, "what was received belongs to another dataset, which was called \"%s\" before", received->dataset);
	now->old_view = now->dataset ? now->dataset->record.view : 0;
	return 0;
}

/* -EAGAIN: somebody reads what was received. */
static int appear(void *arg, uint32_t *ret_used)
{
	struct appearance *now = arg;
	int result = find_parts(now->store, now, now->err);

	if (result < 0)
		return result;
	now->id = now->dataset ? now->dataset->record.id : now->hidden->record.id;
	result = appear_locked(now->store, now, ret_used);
	if (result < 0)
		error_set(now->err, result == -EAGAIN ? -EBUSY : result, "what was received of \"%s\" could not appear: %s", now->received->dataset,
		          error_text(result == -EAGAIN ? -EBUSY : result));
	return result;
}

int receiving_finish(struct store *store, const struct received *received, struct error *err)
{
	struct appearance now = {.store = store, .received = received, .err = err};
	int result = views_retry(store, appear, &now, err);

	snapshot_record_clear(&now.snapshot);
	line_clear(&now.line);
	if (result < 0)
		return result;
	if (now.old_view)
		store_replaced(store, now.id, now.old_view);
	else
		store_changed(store, STORE_DATASETS_CHANGED, now.id, received->dataset);
	store_changed(store, STORE_SNAPSHOTS_CHANGED, now.id, received->snapshot);
	return 0;
}
