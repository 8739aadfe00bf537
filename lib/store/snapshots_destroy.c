/* Destroying snapshots: as many as are named, in one batch. */
#include <errno.h>
#include <string.h>

#include "lib/base/fault.h"
#include "lib/store/held.h"

/* The snapshots that are destroyed. */
struct victims {
	ARRAY_FIELDS(struct snapshot *);
	struct view_block *blocks; /* one for each */
};

static void victims_clear(struct victims *victims)
{
	array_clear(victims);
	free(victims->blocks);
}

static int by_number(const void *a, const void *b)
{
	uint64_t left = (*(struct snapshot *const *)a)->record.number, right = (*(struct snapshot *const *)b)->record.number;

	return left < right ? -1 : left > right;
}

/* Each once, however often it is named. */
static void sort(struct victims *victims)
{
	size_t kept = 0;

	if (victims->count > 0)
		qsort(victims->items, victims->count, sizeof(*victims->items), by_number);
	for (size_t i = 0; i < victims->count; i++)
		if (i == 0 || victims->items[i] != victims->items[i - 1])
			victims->items[kept++] = victims->items[i];
	victims->count = kept;
	victims->blocks = xcalloc(kept, sizeof(*victims->blocks));
	for (size_t i = 0; i < kept; i++)
		victims->blocks[i] = (struct view_block){.number = victims->items[i]->record.view, .blocked = &victims->items[i]->blocked};
}

/* What is held or mounted stands in the way for long: nobody waits for it. */
static int choose(struct store *store, const struct snapshot_name *names, size_t count, struct victims *victims, struct error *err)
{
	for (size_t i = 0; i < count; i++) {
		struct snapshot *snapshot;
		int result = snapshot_find_named(store, &names[i], &snapshot, err);
		if (result == 0)
			result = held_check(snapshot, err);
		if (result < 0)
			return result;
		if (store_busy(store, snapshot->record.view))
			return error_set(err, -EBUSY, "snapshot \"%s@%s\" is mounted", snapshot->dataset->name, snapshot->name);
		array_add(victims, snapshot);
	}
	sort(victims);
	return 0;
}

static int is_read(struct store *store, uint32_t used, struct error *err)
{
	const struct snapshot *snapshot = catalog_snapshot_by_view(store, used);

	error_set(err, -EBUSY, "snapshot \"%s@%s\" is being read", snapshot->dataset->name, snapshot->name);
	return -EAGAIN;
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

static int destroy_victims(struct store *store, struct victims *victims, uint32_t *ret_used, struct error *err)
{
	int result = views_block(store, victims->blocks, victims->count, ret_used);

	if (result < 0)
		return is_read(store, *ret_used, err);
	result = write_destruction(store, victims);
	if (result < 0) {
		const struct snapshot *first = victims->items[0];
		error_set(err, result, "cannot destroy snapshot \"%s@%s\": %s", first->dataset->name, first->name, error_text(result));
		views_unblock(store, victims->blocks, victims->count);
		return result;
	}
	FAULT_AFTER("destroy-after-write");
	return 0;
}

/* What is to be destroyed, and what is told afterwards, when the snapshots are gone. */
struct destruction {
	struct store *store;
	const struct snapshot_name *names;
	size_t count;
	bool is_asked; /* whether it would be refused; nothing is destroyed */
	struct told {
		uint32_t dataset;
		char *name;
	} *told;
	size_t told_count;
	struct error *err;
};

static int destroy_locked(void *arg, uint32_t *ret_used)
{
	struct destruction *destruction = arg;
	CLEANUP(victims_clear) struct victims victims = {0};
	struct store *store = destruction->store;
	int result = choose(store, destruction->names, destruction->count, &victims, destruction->err);

	if (result < 0)
		return result;
	if (destruction->is_asked) {
		result = views_check_unused(store, victims.blocks, victims.count, ret_used);
		return result < 0 ? is_read(store, *ret_used, destruction->err) : 0;
	}
	result = destroy_victims(store, &victims, ret_used, destruction->err);
	if (result < 0)
		return result;
	destruction->told = xcalloc(victims.count, sizeof(*destruction->told));
	for (size_t i = 0; i < victims.count; i++)
		destruction->told[i] = (struct told){.dataset = victims.items[i]->record.dataset, .name = xstrdup(victims.items[i]->name)};
	destruction->told_count = victims.count;
	forget(store, &victims);
	return 0;
}

static void tell(struct destruction *destruction)
{
	for (size_t i = 0; i < destruction->told_count; i++) {
		store_changed(destruction->store, STORE_SNAPSHOTS_CHANGED, destruction->told[i].dataset, destruction->told[i].name);
		free(destruction->told[i].name);
	}
	free(destruction->told);
}

int snapshots_destroy(struct store *store, const struct snapshot_name *names, size_t count, struct error *err)
{
	struct destruction destruction = {.store = store, .names = names, .count = count, .err = err};

	if (count == 0)
		return error_set(err, -EINVAL, "name at least one snapshot to destroy");
	int result = views_retry(store, destroy_locked, &destruction, err);
	tell(&destruction);
	return result;
}

int snapshots_check_destroy(struct store *store, const struct snapshot_name *names, size_t count, struct error *err)
{
	struct destruction destruction = {.store = store, .names = names, .count = count, .is_asked = true, .err = err};

	return views_retry(store, destroy_locked, &destruction, err);
}

int snapshot_destroy(struct store *store, const char *dataset, const char *name, struct error *err)
{
	const struct snapshot_name one = {.dataset = dataset, .name = name};

	return snapshots_destroy(store, &one, 1, err);
}

int snapshot_destroy_now(struct store *store, const struct snapshot_name *what, struct error *err)
{
	struct destruction destruction = {.store = store, .names = what, .count = 1, .err = err};
	uint32_t used;
	int result = views_try(store, destroy_locked, &destruction, &used, err);

	tell(&destruction);
	return result;
}
