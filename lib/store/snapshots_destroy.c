/* Destroying snapshots: as many as are named, in one batch. */
#include <errno.h>
#include <string.h>

#include "lib/base/fault.h"
#include "lib/store/held.h"

/* The snapshots that are destroyed; all of them are blocked. */
struct victims {
	ARRAY_FIELDS(struct snapshot *);
};

static int is_read(const struct snapshot *snapshot, int result, struct error *err)
{
	return error_set(err, result, "snapshot \"%s@%s\" is being read", snapshot->dataset->name, snapshot->name);
}

/* Blocks nobody: a reader who comes meanwhile finds the snapshot. */
static int check(struct store *store, const struct snapshot *snapshot, struct error *err)
{
	int result = held_check(snapshot, err);

	if (result < 0)
		return result;
	if (store_busy(store, snapshot->record.view))
		return error_set(err, -EBUSY, "snapshot \"%s@%s\" is mounted", snapshot->dataset->name, snapshot->name);
	result = views_check_unused(store, snapshot->record.view);
	return result < 0 ? is_read(snapshot, result, err) : 0;
}

static int check_all(struct store *store, const struct snapshot_name *names, size_t count, struct error *err)
{
	int result = 0;

	for (size_t i = 0; i < count && result == 0; i++) {
		struct snapshot *snapshot;
		result = snapshot_find_named(store, &names[i], &snapshot, err);
		if (result == 0)
			result = check(store, snapshot, err);
	}
	return result;
}

static void unblock_all(struct store *store, struct victims *victims)
{
	for (size_t i = 0; i < victims->count; i++)
		views_unblock(store, &victims->items[i]->blocked);
	array_clear(victims);
}

/* Each once, however often it is named. None before all could be: others go on using what is not destroyed. */
static int block_all(struct store *store, const struct snapshot_name *names, size_t count, struct victims *victims, struct error *err)
{
	int result = check_all(store, names, count, err);

	for (size_t i = 0; i < count && result == 0; i++) {
		struct snapshot *snapshot;
		result = snapshot_find_named(store, &names[i], &snapshot, err);
		if (result == 0 && snapshot->blocked)
			continue;
		if (result == 0)
			result = views_block(store, snapshot->record.view, &snapshot->blocked);
		if (result == 0)
			array_add(victims, snapshot);
		else
			is_read(snapshot, result, err);
	}
	if (result < 0)
		unblock_all(store, victims);
	return result;
}

static int write_destruction(struct store *store, const struct victims *victims)
{
	struct kv_batch *batch = kv_batch_new();
	int result = 0;

	for (size_t i = 0; i < victims->count && result == 0; i++) {
		const struct snapshot_record *record = &victims->items[i]->record;
		catalog_delete_snapshot(batch, record->dataset, victims->items[i]->name);
		result = catalog_bury(store, batch, record->family, record->view, &record->line);
	}
	if (result == 0)
		result = fault_point("destroy-before-write");
	if (result == 0)
		result = catalog_write(store->kv, batch);
	kv_batch_free(batch);
	return result;
}

static int by_family(const void *a, const void *b)
{
	uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

	return left < right ? -1 : left > right;
}

static void forget(struct store *store, const struct victims *victims)
{
	AUTO_FREE uint32_t *families = xcalloc(MAX(victims->count, 1U), sizeof(*families));

	mutex_take(&store->catalog_lock);
	for (size_t i = 0; i < victims->count; i++) {
		struct snapshot *snapshot = victims->items[i];
		families[i] = snapshot->record.family;
		catalog_note_buried(store, snapshot->record.family, snapshot->record.view, &snapshot->record.line);
		catalog_remove_snapshot(store, snapshot);
	}
	mutex_give(&store->catalog_lock);
	qsort(families, victims->count, sizeof(*families), by_family);
	for (size_t i = 0; i < victims->count; i++)
		if (i == 0 || families[i] != families[i - 1])
			views_refresh_shared(store, families[i]);
}

/* What is told afterwards, when the snapshots are gone. */
struct told {
	uint32_t dataset;
	char *name;
};

static int destroy_locked(struct store *store, const struct snapshot_name *names, size_t count, struct told *told, size_t *ret_told,
			  struct error *err)
{
	struct victims victims = {0};
	int result = block_all(store, names, count, &victims, err);

	if (result < 0)
		return result;
	result = write_destruction(store, &victims);
	if (result < 0) {
		const struct snapshot *first = victims.items[0];
		error_set(err, result, "cannot destroy snapshot \"%s@%s\": %s", first->dataset->name, first->name, error_text(result));
		unblock_all(store, &victims);
		return result;
	}
	FAULT_AFTER("destroy-after-write");
	for (size_t i = 0; i < victims.count; i++)
		told[i] = (struct told){.dataset = victims.items[i]->record.dataset, .name = xstrdup(victims.items[i]->name)};
	*ret_told = victims.count;
	forget(store, &victims);
	array_clear(&victims);
	return 0;
}

/* 0: there is none, or it could not be destroyed whoever reads it. */
static uint32_t find_view(struct store *store, const struct snapshot_name *name)
{
	uint32_t view = 0;

	mutex_take(&store->catalog_lock);
	struct dataset *dataset = snapshot_dataset(store, name);
	const struct snapshot *snapshot = dataset ? catalog_snapshot(dataset, name->name) : NULL;
	if (snapshot && snapshot->record.hold_count == 0)
		view = snapshot->record.view;
	mutex_give(&store->catalog_lock);
	return view && !store_busy(store, view) ? view : 0;
}

static void await_readers(struct store *store, const struct snapshot_name *names, size_t count)
{
	AUTO_FREE uint32_t *views = xcalloc(MAX(count, 1U), sizeof(*views));
	size_t found = 0;

	for (size_t i = 0; i < count; i++) {
		views[found] = find_view(store, &names[i]);
		found += views[found] > 0;
	}
	views_await_unused(store, views, found);
}

int snapshots_destroy(struct store *store, const struct snapshot_name *names, size_t count, struct error *err)
{
	AUTO_FREE struct told *told = xcalloc(MAX(count, 1U), sizeof(*told));
	size_t told_count = 0;

	if (count == 0)
		return error_set(err, -EINVAL, "name at least one snapshot to destroy");
	await_readers(store, names, count);
	int result = store_begin_change(store, err);
	if (result < 0)
		return result;
	result = destroy_locked(store, names, count, told, &told_count, err);
	mutex_give(&store->change_lock);
	for (size_t i = 0; i < told_count; i++) {
		store_changed(store, STORE_SNAPSHOTS_CHANGED, told[i].dataset, told[i].name);
		free(told[i].name);
	}
	return result;
}

int snapshots_check_destroy(struct store *store, const struct snapshot_name *names, size_t count, struct error *err)
{
	await_readers(store, names, count);
	int result = store_begin_change(store, err);
	if (result < 0)
		return result;
	result = check_all(store, names, count, err);
	mutex_give(&store->change_lock);
	return result;
}

int snapshot_destroy(struct store *store, const char *dataset, const char *name, struct error *err)
{
	const struct snapshot_name one = {.dataset = dataset, .name = name};

	return snapshots_destroy(store, &one, 1, err);
}
