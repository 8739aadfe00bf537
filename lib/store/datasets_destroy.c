/* Destroying a dataset, with its snapshots or only without, and with what a stream into it has left unfinished. */
#include <errno.h>

#include "lib/base/fault.h"
#include "lib/base/shell.h"
#include "lib/store/held.h"
#include "lib/store/receiving.h"
#include "lib/store/unknown.h"
#include "lib/tree/records/scan.h"

static int found_entry(void *arg, const char *name, const struct entry_record *entry)
{
	return 1;
}

/* Names go to the disk at once, so what is buffered does not matter. */
static int check_empty(struct store *store, struct dataset *dataset, struct error *err)
{
	struct scan scan;
	int result;

	scan_of_line(&scan, store->tree, dataset->record.family, &dataset->record.line);
	result = scan_entries(&scan, ROOT_INO, "", found_entry, NULL);
	scan_clear(&scan);
	if (result > 0)
		return error_set(err, -ENOTEMPTY, "dataset \"%s\" is not empty", dataset->name);
	return result < 0 ? error_set(err, result, "cannot read dataset \"%s\": %s", dataset->name, error_text(result)) : 0;
}

static int check_snapshots(struct store *store, struct dataset *dataset, unsigned flags, struct error *err)
{
	unsigned count = HASH_CNT(by_name, dataset->snapshots);

	if (count > 0 && !(flags & DATASET_DESTROY_SNAPSHOTS)) {
		error_set(err, -ENOTEMPTY, "dataset \"%s\" has %u snapshot%s", dataset->name, count, count == 1 ? "" : "s");
		error_hint_shell(err, "destroy them first, or together with the dataset: corpusfs dataset destroy %s --snapshots", dataset->name);
		return -ENOTEMPTY;
	}
	int result = held_check_all(dataset, err);
	for (struct snapshot *snapshot = dataset->snapshots; result == 0 && snapshot; snapshot = snapshot->by_name.next)
		if (store_busy(store, snapshot->record.view))
			result = error_set(err, -EBUSY, "snapshot \"%s@%s\" is mounted", dataset->name, snapshot->name);
	return result;
}

/* Its views that are to go. */
struct leaving {
	ARRAY_FIELDS(struct view_block);
};

static void leaving_clear(struct leaving *leaving)
{
	array_clear(leaving);
}

static void find_leaving(struct dataset *dataset, struct leaving *leaving)
{
	for (struct snapshot *snapshot = dataset->snapshots; snapshot; snapshot = snapshot->by_name.next)
		array_add(leaving, (struct view_block){.number = snapshot->record.view, .blocked = &snapshot->blocked});
	array_add(leaving, (struct view_block){.number = dataset->record.view, .blocked = &dataset->blocked});
}

static int build_destroy(struct store *store, struct dataset *dataset, struct kv_batch *batch)
{
	const struct dataset_record *record = &dataset->record;
	int result = catalog_drop_orphans(store->kv, record->id, batch);

	catalog_delete_dataset(batch, dataset->name);
	catalog_delete_replica(batch, record->id);
	if (result == 0)
		result = catalog_bury(store, batch, record->family, record->view, &record->line);
	for (struct snapshot *snapshot = dataset->snapshots; result == 0 && snapshot; snapshot = snapshot->by_name.next) {
		catalog_delete_snapshot(batch, record->id, snapshot->name);
		result = catalog_bury(store, batch, record->family, snapshot->record.view, &snapshot->record.line);
	}
	return result;
}

/* All its views are blocked. */
static int destroy_blocked(struct store *store, struct dataset *dataset, unsigned flags, struct error *err)
{
	int result = flags & DATASET_DESTROY_EMPTY_ONLY ? check_empty(store, dataset, err) : 0;

	if (result < 0)
		return result;
	struct kv_batch *batch = kv_batch_new();
	result = build_destroy(store, dataset, batch);
	if (result == 0)
		result = fault_point("destroy-before-write");
	if (result == 0)
		result = catalog_write(store->kv, batch);
	kv_batch_free(batch);
	return result < 0 ? error_set(err, result, "cannot destroy dataset \"%s\": %s", dataset->name, error_text(result)) : 0;
}

static void forget(struct store *store, struct dataset *dataset)
{
	const uint32_t family = dataset->record.family;

	/* what its closing still commits is there before anybody prunes it */
	views_close_blocked(store, dataset->record.view);
	mutex_take(&store->catalog_lock);
	catalog_note_buried(store, family, dataset->record.view, &dataset->record.line);
	for (struct snapshot *snapshot = dataset->snapshots; snapshot; snapshot = snapshot->by_name.next)
		catalog_note_buried(store, family, snapshot->record.view, &snapshot->record.line);
	catalog_remove_dataset(store, dataset);
	mutex_give(&store->catalog_lock);
	views_refresh_shared(store, family);
}

struct destruction {
	struct store *store;
	const char *name;
	unsigned flags;
	uint32_t id;
	struct error *err;
};

static int destroy_locked(void *arg, uint32_t *ret_used)
{
	struct destruction *destruction = arg;
	struct store *store = destruction->store;
	struct error *err = destruction->err;
	struct dataset *dataset = catalog_dataset(store, destruction->name);
	CLEANUP(leaving_clear) struct leaving leaving = {0};

	if (!dataset)
		return unknown_dataset(store, destruction->name, err);
	int result = receiving_check_idle(store, dataset->name, err);
	if (result == 0)
		result = check_snapshots(store, dataset, destruction->flags, err);
	/* Before anybody is kept from it; and once more when nobody can change it. */
	if (result == 0 && (destruction->flags & DATASET_DESTROY_EMPTY_ONLY))
		result = check_empty(store, dataset, err);
	if (result < 0)
		return result;
	find_leaving(dataset, &leaving);
	result = views_block(store, leaving.items, leaving.count, ret_used);
	if (result < 0) {
		error_set(err, -EBUSY, "dataset \"%s\" is being read", dataset->name);
		return result;
	}
	result = destroy_blocked(store, dataset, destruction->flags, err);
	if (result < 0) {
		views_unblock(store, leaving.items, leaving.count);
		return result;
	}
	destruction->id = dataset->record.id;
	forget(store, dataset);
	FAULT_AFTER("destroy-after-write");
	return 0;
}

typedef int destroy_how(struct store *store, const char *name, unsigned flags, struct error *err);

static int destroyed(const struct destruction *destruction, int result)
{
	if (result == 0)
		store_changed(destruction->store, STORE_DATASETS_CHANGED, destruction->id, destruction->name);
	return result;
}

static int destroy_waiting(struct store *store, const char *name, unsigned flags, struct error *err)
{
	struct destruction destruction = {.store = store, .name = name, .flags = flags, .err = err};

	return destroyed(&destruction, views_retry(store, destroy_locked, &destruction, err));
}

static int destroy_at_once(struct store *store, const char *name, unsigned flags, struct error *err)
{
	struct destruction destruction = {.store = store, .name = name, .flags = flags, .err = err};
	uint32_t used;

	return destroyed(&destruction, views_try(store, destroy_locked, &destruction, &used, err));
}

/* --- what a stream has left unfinished --- */

static int drop(struct store *store, const char *dataset, destroy_how *destroy, struct error *err)
{
	char hidden[NAME_LEN_MAX + 1];
	int result = receiving_name(dataset, hidden, err);

	if (result < 0)
		return result;
	mutex_take(&store->catalog_lock);
	const struct dataset *found = catalog_dataset(store, hidden);
	const uint32_t id = found ? found->record.id : 0;
	mutex_give(&store->catalog_lock);
	if (!found)
		return 0;
	result = destroy(store, hidden, DATASET_DESTROY_SNAPSHOTS, err);
	if (result < 0)
		return result;
	result = catalog_drop_labels(store->kv, id);
	return result < 0 ? error_set(err, result, "what was received of \"%s\" could not be removed: %s", dataset, error_text(result)) : 1;
}

int receiving_drop(struct store *store, const char *dataset, struct error *err)
{
	return drop(store, dataset, destroy_waiting, err);
}

/* What is in use now takes room and no more: no stream goes on with it, and the next one into this name drops it. */
static void forget_unfinished(struct store *store, const char *dataset, destroy_how *destroy)
{
	int ignored = receiving_claim(store, dataset, NULL);

	if (ignored < 0)
		return;
	ignored = drop(store, dataset, destroy, NULL);
	(void)ignored;
	receiving_release(store, dataset);
}

void receiving_forget(struct store *store, const char *dataset)
{
	forget_unfinished(store, dataset, destroy_waiting);
}

/* --- both --- */

static int destroy_both(struct store *store, const char *name, unsigned flags, destroy_how *destroy, struct error *err)
{
	int result = destroy(store, name, flags, err);

	if (result == 0)
		forget_unfinished(store, name, destroy);
	return result;
}

int dataset_destroy(struct store *store, const char *name, unsigned flags, struct error *err)
{
	return destroy_both(store, name, flags, destroy_waiting, err);
}

int dataset_destroy_now(struct store *store, const char *name, unsigned flags, struct error *err)
{
	return destroy_both(store, name, flags, destroy_at_once, err);
}
