/* The way back (I4) and sideways (I5). Why nothing is lost meanwhile: SH1 in snapshots.c. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/base/clock.h"
#include "lib/base/fault.h"
#include "lib/base/shell.h"
#include "lib/store/catalog.h"
#include "lib/store/leaseless.h"
#include "lib/store/replica.h"
#include "lib/store/uncommitted.h"
#include "lib/tree/freeze/freeze.h"

struct rollback {
	struct dataset *dataset;
	struct snapshot *target;
	bool guard;
	bool demotes; /* the dataset is a replica from then on, and may have been one */
	char guard_name[NAME_LEN_MAX + 1];
	struct snapshot_record guard_record;
	struct line line; /* of the new head */
	uint32_t old_view, view;
	uint64_t epoch;
};

static void choose_guard_name(struct rollback *rollback)
{
	time_t seconds = clock_now().tv_sec;
	char stamp[32];
	struct tm tm;

	gmtime_r(&seconds, &tm);
	strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", &tm);
	snprintf(rollback->guard_name, sizeof(rollback->guard_name), "before-rollback-%s", stamp);
	for (unsigned i = 2; catalog_snapshot(rollback->dataset, rollback->guard_name); i++)
		snprintf(rollback->guard_name, sizeof(rollback->guard_name), "before-rollback-%s-%u", stamp, i);
}

/*
 * Files that were unlinked while open belong to the state in which they were. Those of the old head go with the guard. Those of the snapshot
 * come back as orphans of the new head, and nobody has them open.
 */
static int build_rollback(struct store *store, struct rollback *rollback, struct kv_batch *batch)
{
	struct dataset *dataset = rollback->dataset;
	struct dataset_record record = dataset->record;
	uint64_t view;
	int result = catalog_number(store, COUNTER_VIEW, batch, &view);

	if (result == 0)
		result = family_next_epoch(store->tree, record.family, batch, &rollback->epoch);
	if (result == 0 && rollback->guard)
		result = snapshot_prepare(store, dataset, rollback->guard_name, "taken before a rollback", SNAPSHOT_GUARD, clock_now(), batch,
					  &rollback->guard_record);
	else if (result == 0)
		result = catalog_bury(store, batch, record.family, record.view, &record.line);
	if (result == 0)
		result = catalog_drop_orphans(store->kv, record.id, batch);
	if (result == 0)
		result = catalog_restore_orphans(store->kv, rollback->target->record.view, record.id, batch);
	if (result < 0)
		return result;
	rollback->view = (uint32_t)view;
	rollback->line = line_copy(&rollback->target->record.line);
	line_add(&rollback->line, rollback->epoch, rollback->epoch);
	record.view = rollback->view;
	record.epoch = rollback->epoch;
	record.line = rollback->line;
	catalog_put_dataset(batch, dataset->name, &record);
	if (rollback->demotes)
		catalog_put_replica(batch, record.id);
	return 0;
}

/* Under catalog_lock. The state that is left is that of the guard, if there is one, and of the retired head while it is read. */
static void leave_state(struct store *store, struct rollback *rollback)
{
	struct dataset *dataset = rollback->dataset;
	struct dataset_record *record = &dataset->record;
	struct snapshot *guard;

	views_retire(store, dataset, rollback->guard ? rollback->guard_record.view : record->view);
	if (!rollback->guard) {
		catalog_note_buried(store, record->family, record->view, &record->line);
		return;
	}
	guard = catalog_add_snapshot(store, dataset, rollback->guard_name, &rollback->guard_record);
	lineage_join(dataset->family->lineage, &guard->place, &dataset->place);
}

static void apply_rollback(struct store *store, struct rollback *rollback, struct view *head, struct freeze *freeze)
{
	struct dataset *dataset = rollback->dataset;

	mutex_take(&store->catalog_lock);
	leave_state(store, rollback);
	lineage_leave(dataset->family->lineage, &dataset->place);
	lineage_branch(dataset->family->lineage, &dataset->place, &rollback->target->place, rollback->epoch);
	line_clear(&dataset->record.line);
	dataset->record.line = rollback->line;
	rollback->line = (struct line){0};
	dataset->record.epoch = rollback->epoch;
	dataset->replica |= rollback->demotes;
	catalog_set_head(store, dataset, rollback->view);
	mutex_give(&store->catalog_lock);
	freeze_retire(freeze, head);
}

/* The head goes on as it was after a failure; after success it is retired. */
static int rollback_frozen(struct store *store, struct rollback *rollback, struct view *head, struct freeze *freeze)
{
	struct kv_batch *batch = kv_batch_new();
	int result = build_rollback(store, rollback, batch);

	if (result == 0)
		result = fault_point("rollback-before-write");
	if (result == 0)
		result = catalog_write(store->kv, batch);
	kv_batch_free(batch);
	if (result < 0)
		return result;
	FAULT_AFTER("rollback-after-write");
	apply_rollback(store, rollback, head, freeze);
	return 0;
}

static int rollback_head(struct store *store, struct rollback *rollback)
{
	struct freeze *freeze;
	struct view *head;
	int result = views_head(store, rollback->dataset, &head);

	if (result < 0)
		return result;
	result = rollback->guard ? freeze_begin_held(&head, 1, &freeze) : freeze_begin_dropping(head, &freeze);
	if (result == 0) {
		result = rollback_frozen(store, rollback, head, freeze);
		freeze_end(freeze);
	}
	store_view_put(store, head);
	if (result == 0)
		views_refresh_shared(store, rollback->dataset->record.family);
	return result;
}

/* The guard is to have all that was written. Without one no file is to blame. */
static void tell_failure(struct store *store, const struct rollback *rollback, const char *dataset, const char *name, int result,
			 const struct error *lost, struct error *err)
{
	if (!rollback->guard) {
		error_set(err, result, "cannot roll \"%s\" back to \"%s\": %s", dataset, name, error_text(result));
		return;
	}
	error_set(err, result, "cannot roll \"%s\" back to \"%s\"", dataset, name);
	if (!uncommitted_explain_freeze(store, &rollback->old_view, 1, lost, err))
		return;
	AUTO_FREE char *target = xasprintf("%s@%s", dataset, name), *others = xstrdup(err->hint);
	AUTO_FREE char *command = shell_text("corpusfs rollback --no-guard %s", target);
	error_hint(err, "%s goes back and keeps nothing of what is left; or %s", command, others);
}

static int rollback_locked(struct store *store, const char *dataset_name, const char *name, struct rollback *rollback,
			   struct error *err)
{
	struct store_hooks hooks = store_get_hooks(store);
	struct error lost = {0};
	int result = snapshot_find(store, dataset_name, name, &rollback->target, err);

	if (result < 0)
		return result;
	rollback->dataset = rollback->target->dataset;
	if (dataset_refuses(store, rollback->dataset) && !rollback->demotes)
		return dataset_refuse_locked(store, dataset_name, err);
	rollback->old_view = rollback->dataset->record.view;
	if (rollback->guard)
		choose_guard_name(rollback);
	if (hooks.freeze)
		result = hooks.freeze(hooks.arg, &rollback->old_view, 1, true, rollback->guard ? &lost : NULL);
	if (result == 0) {
		result = rollback_head(store, rollback);
		if (hooks.thaw)
			hooks.thaw(hooks.arg, &rollback->old_view, 1);
	}
	if (result < 0)
		tell_failure(store, rollback, dataset_name, name, result, &lost, err);
	return result;
}

static int roll_back(struct store *store, const char *dataset_name, const char *name, struct rollback *rollback, char *ret_guard, struct error *err)
{
	uint32_t id = 0;

	int result = store_begin_change(store, err);
	if (result < 0)
		return result;
	result = rollback_locked(store, dataset_name, name, rollback, err);
	if (result == 0)
		id = rollback->dataset->record.id;
	mutex_give(&store->change_lock);
	snapshot_record_clear(&rollback->guard_record);
	line_clear(&rollback->line);
	if (result < 0)
		return result;
	if (ret_guard)
		snprintf(ret_guard, NAME_LEN_MAX + 1, "%s", rollback->guard_name);
	store_replaced(store, id, rollback->old_view);
	if (rollback->guard)
		store_changed(store, STORE_SNAPSHOTS_CHANGED, id, rollback->guard_name);
	return 0;
}

int dataset_rollback(struct store *store, const char *dataset_name, const char *name, bool guard, char *ret_guard, struct error *err)
{
	struct rollback rollback = {.guard = guard};

	return roll_back(store, dataset_name, name, &rollback, ret_guard, err);
}

int dataset_demote_to(struct store *store, const char *dataset_name, const char *name, char *ret_guard, struct error *err)
{
	struct rollback rollback = {.guard = true, .demotes = true};

	return roll_back(store, dataset_name, name, &rollback, ret_guard, err);
}

/* --- clone --- */

static int build_clone(struct store *store, const struct snapshot *source, const char *new_name, struct kv_batch *batch,
		       struct dataset_record *record)
{
	uint64_t id, view, epoch;
	int result = catalog_number(store, COUNTER_DATASET, batch, &id);

	if (result == 0)
		result = catalog_number(store, COUNTER_VIEW, batch, &view);
	if (result == 0)
		result = family_next_epoch(store->tree, source->record.family, batch, &epoch);
	if (result == 0)
		result = catalog_restore_orphans(store->kv, source->record.view, (uint32_t)id, batch);
	if (result < 0)
		return result;
	*record = (struct dataset_record){
		.id = (uint32_t)id,
		.family = source->record.family,
		.view = (uint32_t)view,
		.epoch = epoch,
		.created = clock_now().tv_sec,
		.level = source->dataset->record.level,
		.line = line_copy(&source->record.line),
		.schedule = xstrdup(""),
	};
	line_add(&record->line, epoch, epoch);
	catalog_put_dataset(batch, new_name, record);
	return 0;
}

int dataset_clone_locked(struct store *store, const char *dataset, const char *name, const char *new_name, uint32_t *ret_id, struct error *err)
{
	struct snapshot *source;
	struct dataset_record record = {0};
	int result = snapshot_find(store, dataset, name, &source, err);

	if (result < 0)
		return result;
	result = dataset_check_new(store, new_name, err);
	if (result < 0)
		return result;
	struct kv_batch *batch = kv_batch_new();
	result = build_clone(store, source, new_name, batch, &record);
	if (result == 0)
		result = fault_point("clone-before-write");
	if (result == 0)
		result = catalog_write(store->kv, batch);
	kv_batch_free(batch);
	if (result < 0) {
		dataset_record_clear(&record);
		return error_set(err, result, "cannot clone \"%s@%s\": %s", dataset, name, error_text(result));
	}
	FAULT_AFTER("clone-after-write");
	*ret_id = record.id;
	const uint32_t family = record.family;
	dataset_appear(store, new_name, &record, &source->place);
	views_refresh_shared(store, family);
	return 0;
}

int dataset_clone(struct store *store, const char *dataset, const char *name, const char *new_name, struct error *err)
{
	uint32_t id = 0;
	int result = dataset_name_check("dataset", new_name, err);

	if (result == 0)
		result = store_begin_change(store, err);
	if (result < 0)
		return result;
	result = dataset_clone_locked(store, dataset, name, new_name, &id, err);
	mutex_give(&store->change_lock);
	if (result == 0)
		store_changed(store, STORE_DATASETS_CHANGED, id, new_name);
	return result;
}
