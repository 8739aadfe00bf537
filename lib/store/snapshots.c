/*
 * Snapshots.
 *
 * What may not be removed while views come and go. A head that overwrites a version of an older epoch deletes it at once unless the
 * epoch is in the head's `shared` line (I6). For every open head H that is not frozen, with L(V) the line of a view V:
 *
 *   SH1  shared(H) contains L(V) n L(H) for every living view V != H of the family.
 *
 * Then H never deletes what another living view sees: what H overwrites is in L(H), and if V sees it, in L(V). Lines are paths from the root
 * of the family's tree of epochs, so L(V) n L(H) is the beginning of L(H), up to where V's path leaves it; and all of them together are the
 * beginning up to where the last one leaves: lineage_shared(). SH1 is kept because
 *
 *   snapshot S of H:   L(S) is H's old line. H is frozen from before the batch is written until after shared(H) was set anew, with S
 *                      counted; nothing changes in between. For another head U: L(S) is the old L(H), which shared(U) holds already.
 *   new epoch of H:    is in no other line, so it adds nothing to L(V) n L(U) for anybody.
 *   rollback of H:     the head becomes a new view, opened with shared computed from the catalog after the change; the old one is
 *                      retired while frozen and never writes again. L(new H) is L(S) and a new epoch: for U nothing is added.
 *   clone of S:        likewise a new view with L(S) and a new epoch; L(S) is in everybody's shared already, since S lives.
 *   view opened:       with shared computed under catalog_lock from the catalog as it is; while an operation holds its head frozen,
 *                      memory is changed under catalog_lock before the thaw.
 *   view destroyed:    shared(U) only shrinks: it may be set late. What U sees is never in question, and versions that were kept in
 *                      vain are found by pruning the destroyed view (prune.c).
 *
 * Views under prune are not counted: nobody can look at them, and what only they saw is to go. A head that was rolled back counts as living,
 * by its own line, until the last who has it open lets go (catalog_each_line): its guard may be destroyed before that, and there may be none.
 *
 * All or nothing: one synced batch holds all records; memory changes after it. Until then nothing but numbers was used up.
 */
#include "lib/store/snapshots.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/fault.h"
#include "lib/store/catalog.h"
#include "lib/store/replica.h"
#include "lib/store/uncommitted.h"
#include "lib/store/unknown.h"
#include "lib/tree/freeze/freeze.h"

#define NOTE_MAX 65536

/* --- what both this file and rollback.c need --- */

struct dataset *snapshot_dataset(struct store *store, const struct snapshot_name *what)
{
	return what->id ? catalog_dataset_by_id(store, what->id) : catalog_dataset(store, what->dataset);
}

int snapshot_find_dataset(struct store *store, const struct snapshot_name *what, struct dataset **ret_dataset, struct error *err)
{
	struct dataset *dataset = snapshot_dataset(store, what);

	if (!dataset)
		return what->id ? error_set(err, -ENOENT, "the dataset is gone") : unknown_dataset(store, what->dataset, err);
	*ret_dataset = dataset;
	return 0;
}

int snapshot_find_named(struct store *store, const struct snapshot_name *what, struct snapshot **ret_snapshot, struct error *err)
{
	struct dataset *dataset;
	int result = snapshot_find_dataset(store, what, &dataset, err);

	if (result < 0)
		return result;
	struct snapshot *snapshot = catalog_snapshot(dataset, what->name);
	if (!snapshot)
		return unknown_snapshot(store, dataset->name, what->name, err);
	*ret_snapshot = snapshot;
	return 0;
}

int snapshot_find(struct store *store, const char *dataset_name, const char *name, struct snapshot **ret_snapshot, struct error *err)
{
	return snapshot_find_named(store, &(struct snapshot_name){.dataset = dataset_name, .name = name}, ret_snapshot, err);
}

int snapshot_prepare(struct store *store, struct dataset *dataset, const char *name, const char *note, uint32_t flags,
		     struct timespec taken, struct kv_batch *batch, struct snapshot_record *record)
{
	uint64_t view, number;
	int result = catalog_number(store, COUNTER_VIEW, batch, &view);

	if (result == 0)
		result = catalog_number(store, COUNTER_SNAPSHOT, batch, &number);
	if (result == 0)
		result = catalog_save_orphans(store->kv, dataset->record.id, (uint32_t)view, batch);
	if (result < 0)
		return result;
	*record = (struct snapshot_record){
		.dataset = dataset->record.id,
		.family = dataset->record.family,
		.view = (uint32_t)view,
		.number = number,
		.taken = taken,
		.flags = flags,
		.line = line_copy(&dataset->record.line),
		.note = xstrdup(note ? note : ""),
	};
	catalog_put_snapshot(batch, name, record);
	return 0;
}

/* --- taking --- */

struct target {
	struct dataset *dataset;
	const char *name;
	struct view *head;
	struct snapshot_record snapshot;
	struct line line;
	uint64_t epoch;
};

static int by_dataset_id(const void *a, const void *b)
{
	uint32_t left = ((const struct target *)a)->dataset->record.id, right = ((const struct target *)b)->dataset->record.id;

	return left < right ? -1 : left > right;
}

static int find_targets(struct store *store, const struct snapshot_name *wanted, size_t count, struct target *targets,
			struct error *err)
{
	for (size_t i = 0; i < count; i++) {
		struct dataset *dataset;
		int result = snapshot_find_dataset(store, &wanted[i], &dataset, err);
		if (result < 0)
			return result;
		if (catalog_snapshot(dataset, wanted[i].name))
			return error_set(err, -EEXIST, "there is a snapshot \"%s@%s\" already", dataset->name, wanted[i].name);
		if (dataset->replica)
			return replica_refuse(dataset->name, err);
		targets[i] = (struct target){.dataset = dataset, .name = wanted[i].name};
	}
	qsort(targets, count, sizeof(*targets), by_dataset_id);
	for (size_t i = 1; i < count; i++)
		if (targets[i].dataset == targets[i - 1].dataset)
			return error_set(err, -EINVAL, "dataset \"%s\" is named twice", targets[i].dataset->name);
	return 0;
}

static int build_snapshots(struct store *store, struct target *targets, size_t count, const char *note, uint32_t flags,
			   struct kv_batch *batch)
{
	struct timespec taken = clock_now();

	for (size_t i = 0; i < count; i++) {
		struct target *target = &targets[i];
		struct dataset_record record = target->dataset->record;
		int result = snapshot_prepare(store, target->dataset, target->name, note, flags, taken, batch, &target->snapshot);
		if (result == 0)
			result = family_next_epoch(store->tree, record.family, batch, &target->epoch);
		if (result < 0)
			return result;
		target->line = line_copy(&record.line);
		line_add(&target->line, target->epoch, target->epoch);
		record.line = target->line;
		record.epoch = target->epoch;
		catalog_put_dataset(batch, target->dataset->name, &record);
	}
	return 0;
}

/* Memory follows the disk; the frozen heads learn what they may not remove any more, and which epoch they go on in. */
static void apply_snapshots(struct store *store, struct target *targets, size_t count, struct freeze *freeze)
{
	mutex_take(&store->catalog_lock);
	for (size_t i = 0; i < count; i++) {
		struct dataset *dataset = targets[i].dataset;
		struct snapshot *snapshot = catalog_add_snapshot(store, dataset, targets[i].name, &targets[i].snapshot);
		lineage_join(dataset->family->lineage, &snapshot->place, &dataset->place);
		lineage_advance(dataset->family->lineage, &dataset->place, targets[i].epoch);
		line_clear(&dataset->record.line);
		dataset->record.line = line_copy(&targets[i].line);
		dataset->record.epoch = targets[i].epoch;
		dataset->shared = lineage_shared(&dataset->place);
	}
	mutex_give(&store->catalog_lock);
	for (size_t i = 0; i < count; i++) {
		mutex_take(&store->catalog_lock);
		struct line shared = views_shared(targets[i].dataset);
		mutex_give(&store->catalog_lock);
		freeze_set_shared(freeze, targets[i].head, &shared);
		freeze_set_epoch(freeze, targets[i].head, &targets[i].line, targets[i].epoch);
		line_clear(&shared);
	}
}

static int take_frozen(struct store *store, struct target *targets, size_t count, const char *note, uint32_t flags, struct freeze *freeze)
{
	struct kv_batch *batch = kv_batch_new();
	int result = build_snapshots(store, targets, count, note, flags, batch);

	if (result == 0)
		result = fault_point("snapshot-before-write");
	if (result == 0)
		result = catalog_write(store->kv, batch);
	kv_batch_free(batch);
	if (result < 0)
		return result;
	FAULT_AFTER("snapshot-after-write");
	apply_snapshots(store, targets, count, freeze);
	return 0;
}

/* Freezes the targets' heads and takes the snapshots. */
static int take_heads(struct store *store, struct target *targets, size_t count, const char *note, uint32_t flags)
{
	struct view_set heads = {.items = xcalloc(count, sizeof(*heads.items))};
	struct freeze *freeze;
	int result = 0;

	for (; heads.count < count && result == 0; heads.count += result == 0) {
		result = views_head(store, targets[heads.count].dataset, &targets[heads.count].head);
		heads.items[heads.count] = targets[heads.count].head;
	}
	if (result == 0)
		result = freeze_begin(heads.items, heads.count, &freeze);
	if (result == 0) {
		result = take_frozen(store, targets, count, note, flags, freeze);
		freeze_end(freeze);
	}
	views_put_heads(store, &heads);
	return result;
}

static int create_locked(struct store *store, const struct snapshot_name *wanted, size_t count, const char *note, uint32_t flags,
			 struct target *targets, uint32_t *ret_ids, struct error *err)
{
	struct store_hooks hooks = store_get_hooks(store);
	AUTO_FREE uint32_t *views = xcalloc(count, sizeof(*views));
	struct error lost = {0};
	int result = find_targets(store, wanted, count, targets, err);

	if (result < 0)
		return result;
	for (size_t i = 0; i < count; i++)
		views[i] = targets[i].dataset->record.view;
	if (hooks.freeze)
		result = hooks.freeze(hooks.arg, views, count, false, &lost);
	if (result == 0) {
		result = take_heads(store, targets, count, note, flags);
		if (hooks.thaw)
			hooks.thaw(hooks.arg, views, count);
	}
	for (size_t i = 0; i < count; i++) {
		ret_ids[i] = targets[i].dataset->record.id;
		snapshot_record_clear(&targets[i].snapshot);
		line_clear(&targets[i].line);
	}
	if (result < 0) {
		error_set(err, result, "cannot take snapshot \"%s@%s\"", targets[0].dataset->name, targets[0].name);
		(void)uncommitted_explain_freeze(store, views, count, &lost, err);
	}
	return result;
}

int snapshot_create(struct store *store, const struct snapshot_name *wanted, size_t count, const char *note, uint32_t flags,
		    struct error *err)
{
	AUTO_FREE struct target *targets = xcalloc(MAX(count, 1U), sizeof(*targets));
	AUTO_FREE uint32_t *ids = xcalloc(MAX(count, 1U), sizeof(*ids));

	if (count == 0)
		return error_set(err, -EINVAL, "name at least one snapshot to take");
	if (note && strlen(note) > NOTE_MAX)
		return error_set(err, -EINVAL, "the note is longer than %d bytes", NOTE_MAX);
	for (size_t i = 0; i < count; i++) {
		int result = dataset_name_check("snapshot", wanted[i].name, err);
		if (result < 0)
			return result;
	}
	int result = store_begin_change(store, err);
	if (result < 0)
		return result;
	result = create_locked(store, wanted, count, note, flags, targets, ids, err);
	mutex_give(&store->change_lock);
	for (size_t i = 0; result == 0 && i < count; i++)
		store_changed(store, STORE_SNAPSHOTS_CHANGED, ids[i], targets[i].name);
	return result;
}
