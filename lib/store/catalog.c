#include "lib/store/catalog.h"

#include <string.h>
#include <utlist.h>

/* --- looking --- */

struct dataset *catalog_dataset(struct store *store, const char *name)
{
	struct dataset *dataset;

	HASH_FIND(by_name, store->datasets, name, strlen(name), dataset);
	return dataset;
}

struct dataset *catalog_dataset_by_id(struct store *store, uint32_t id)
{
	struct dataset *dataset;

	HASH_FIND(by_id, store->by_id, &id, sizeof(id), dataset);
	return dataset;
}

struct dataset *catalog_dataset_by_view(struct store *store, uint32_t view)
{
	struct dataset *dataset;

	HASH_FIND(by_head, store->by_head, &view, sizeof(view), dataset);
	return dataset;
}

struct snapshot *catalog_snapshot(struct dataset *dataset, const char *name)
{
	struct snapshot *snapshot;

	HASH_FIND(by_name, dataset->snapshots, name, strlen(name), snapshot);
	return snapshot;
}

struct snapshot *catalog_snapshot_by_view(struct store *store, uint32_t view)
{
	struct snapshot *snapshot;

	HASH_FIND(by_view, store->by_view, &view, sizeof(view), snapshot);
	return snapshot;
}

struct family_views *catalog_family(struct store *store, uint32_t family)
{
	struct family_views *found;

	HASH_FIND(hh, store->families, &family, sizeof(family), found);
	return found;
}

struct prune *catalog_prune(struct store *store, uint32_t view)
{
	struct prune *prune;

	HASH_FIND(hh, store->prunes, &view, sizeof(view), prune);
	return prune;
}

size_t catalog_order_from(const struct snapshot_order *order, uint64_t number)
{
	size_t low = 0, high = order->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (order->items[middle]->record.number < number)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* --- families --- */

static struct family_views *family_of(struct store *store, uint32_t number)
{
	struct family_views *family = catalog_family(store, number);

	if (family)
		return family;
	family = xcalloc(1, sizeof(*family));
	family->family = number;
	family->lineage = lineage_new();
	HASH_ADD(hh, store->families, family, sizeof(family->family), family);
	return family;
}

void catalog_leave(struct store *store, struct family_views *family, struct lineage_view *place)
{
	lineage_leave(family->lineage, place);
	if (family->heads || !lineage_is_empty(family->lineage))
		return;
	HASH_DEL(store->families, family);
	lineage_free(family->lineage);
	free(family);
}

/* --- datasets --- */

struct dataset *catalog_add_dataset(struct store *store, const char *name, struct dataset_record *record)
{
	struct dataset *dataset = xcalloc(1, sizeof(*dataset));

	dataset->name = xstrdup(name);
	dataset->record = *record;
	*record = (struct dataset_record){0};
	dataset->place.view = dataset->record.view;
	dataset->family = family_of(store, dataset->record.family);
	DL_APPEND(dataset->family->heads, dataset);
	HASH_ADD_KEYPTR(by_name, store->datasets, dataset->name, strlen(dataset->name), dataset);
	HASH_ADD(by_id, store->by_id, record.id, sizeof(uint32_t), dataset);
	HASH_ADD(by_head, store->by_head, record.view, sizeof(uint32_t), dataset);
	return dataset;
}

void catalog_remove_dataset(struct store *store, struct dataset *dataset)
{
	while (dataset->snapshots)
		catalog_remove_snapshot(store, dataset->snapshots);
	array_clear(&dataset->order);
	HASH_DELETE(by_name, store->datasets, dataset);
	HASH_DELETE(by_id, store->by_id, dataset);
	HASH_DELETE(by_head, store->by_head, dataset);
	DL_DELETE(dataset->family->heads, dataset);
	catalog_leave(store, dataset->family, &dataset->place);
	free(dataset->name);
	dataset_record_clear(&dataset->record);
	free(dataset);
}

void catalog_rename_dataset(struct store *store, struct dataset *dataset, const char *name)
{
	HASH_DELETE(by_name, store->datasets, dataset);
	free(dataset->name);
	dataset->name = xstrdup(name);
	HASH_ADD_KEYPTR(by_name, store->datasets, dataset->name, strlen(dataset->name), dataset);
}

void catalog_set_head(struct store *store, struct dataset *dataset, uint32_t view)
{
	HASH_DELETE(by_head, store->by_head, dataset);
	dataset->record.view = dataset->place.view = view;
	HASH_ADD(by_head, store->by_head, record.view, sizeof(uint32_t), dataset);
}

/* --- snapshots --- */

static void remove_in_order(struct snapshot_order *order, const struct snapshot *snapshot)
{
	size_t at = catalog_order_from(order, snapshot->record.number);

	while (order->items[at] != snapshot)
		at++;
	array_remove(order, at, 1);
}

struct snapshot *catalog_add_snapshot(struct store *store, struct dataset *dataset, const char *name, struct snapshot_record *record)
{
	struct snapshot *snapshot = xcalloc(1, sizeof(*snapshot));

	snapshot->name = xstrdup(name);
	snapshot->record = *record;
	snapshot->dataset = dataset;
	snapshot->place.view = record->view;
	*record = (struct snapshot_record){0};
	HASH_ADD_KEYPTR(by_name, dataset->snapshots, snapshot->name, strlen(snapshot->name), snapshot);
	HASH_ADD(by_view, store->by_view, record.view, sizeof(uint32_t), snapshot);
	/* Numbers grow, so a new one comes last. catalog_load() brings those that it adds in order afterwards. */
	array_add(&dataset->order, snapshot);
	array_add(&store->order, snapshot);
	return snapshot;
}

void catalog_remove_snapshot(struct store *store, struct snapshot *snapshot)
{
	struct dataset *dataset = snapshot->dataset;

	HASH_DELETE(by_name, dataset->snapshots, snapshot);
	HASH_DELETE(by_view, store->by_view, snapshot);
	remove_in_order(&dataset->order, snapshot);
	remove_in_order(&store->order, snapshot);
	catalog_leave(store, dataset->family, &snapshot->place);
	free(snapshot->name);
	snapshot_record_clear(&snapshot->record);
	free(snapshot);
}

void catalog_rename_snapshot(struct snapshot *snapshot, const char *name)
{
	struct dataset *dataset = snapshot->dataset;

	HASH_DELETE(by_name, dataset->snapshots, snapshot);
	free(snapshot->name);
	snapshot->name = xstrdup(name);
	HASH_ADD_KEYPTR(by_name, dataset->snapshots, snapshot->name, strlen(snapshot->name), snapshot);
}

/* --- destroyed views --- */

void catalog_add_prune(struct store *store, uint32_t view, struct prune_record *record)
{
	struct prune *prune = xcalloc(1, sizeof(*prune));

	prune->view = view;
	prune->record = *record;
	*record = (struct prune_record){0};
	HASH_ADD(hh, store->prunes, view, sizeof(prune->view), prune);
}

void catalog_remove_prune(struct store *store, struct prune *prune)
{
	HASH_DEL(store->prunes, prune);
	prune_record_clear(&prune->record);
	free(prune);
}

int catalog_bury(struct store *store, struct kv_batch *batch, uint32_t family, uint32_t view, const struct line *line)
{
	struct prune_record prune = {.family = family, .line = *line};

	catalog_put_prune(batch, view, &prune);
	catalog_delete_identity(batch, family, view);
	catalog_delete_origin(batch, view);
	return catalog_drop_snapshot_orphans(store->kv, view, batch);
}

void catalog_note_buried(struct store *store, uint32_t family, uint32_t view, const struct line *line)
{
	struct prune_record prune = {.family = family, .line = line_copy(line)};

	catalog_add_prune(store, view, &prune);
}

void catalog_clear(struct store *store)
{
	struct prune *prune, *next;

	while (store->datasets)
		catalog_remove_dataset(store, store->datasets);
	array_clear(&store->order);
	HASH_ITER (hh, store->prunes, prune, next)
		catalog_remove_prune(store, prune);
}
