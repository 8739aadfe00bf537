/* Names and holds of snapshots. */
#include <errno.h>
#include <string.h>

#include "lib/store/catalog.h"

static int rename_locked(struct store *store, const struct snapshot_name *what, const char *new_name, uint32_t *ret_id, struct error *err)
{
	struct snapshot *snapshot;
	int result = snapshot_find_named(store, what, &snapshot, err);

	if (result < 0)
		return result;
	if (catalog_snapshot(snapshot->dataset, new_name))
		return error_set(err, -EEXIST, "there is a snapshot \"%s@%s\" already", snapshot->dataset->name, new_name);
	struct kv_batch *batch = kv_batch_new();
	catalog_delete_snapshot(batch, snapshot->record.dataset, what->name);
	catalog_put_snapshot(batch, new_name, &snapshot->record);
	result = catalog_write(store->kv, batch);
	kv_batch_free(batch);
	if (result < 0)
		return error_set(err, result, "cannot rename snapshot \"%s@%s\": %s", snapshot->dataset->name, what->name, error_text(result));
	*ret_id = snapshot->record.dataset;
	mutex_take(&store->catalog_lock);
	catalog_rename_snapshot(snapshot, new_name);
	mutex_give(&store->catalog_lock);
	return 0;
}

int snapshot_rename(struct store *store, const struct snapshot_name *what, const char *new_name, struct error *err)
{
	uint32_t id = 0;
	int result = dataset_name_check("snapshot", new_name, err);

	if (result == 0)
		result = store_begin_change(store, err);
	if (result < 0)
		return result;
	result = rename_locked(store, what, new_name, &id, err);
	mutex_give(&store->change_lock);
	if (result == 0)
		store_changed(store, STORE_SNAPSHOTS_CHANGED, id, new_name);
	return result;
}

/* Takes over `holds`, the snapshot's new list. */
static int put_holds(struct store *store, struct snapshot *snapshot, char **holds, uint32_t count, struct error *err)
{
	struct snapshot_record record = snapshot->record;
	struct kv_batch *batch = kv_batch_new();

	record.holds = holds;
	record.hold_count = count;
	catalog_put_snapshot(batch, snapshot->name, &record);
	int result = catalog_write(store->kv, batch);
	kv_batch_free(batch);
	if (result < 0) {
		free(holds);
		return error_set(err, result, "cannot change the holds of \"%s@%s\": %s", snapshot->dataset->name, snapshot->name,
				 error_text(result));
	}
	mutex_take(&store->catalog_lock);
	free(snapshot->record.holds);
	snapshot->record.holds = holds;
	snapshot->record.hold_count = count;
	mutex_give(&store->catalog_lock);
	return 0;
}

static int add_hold(struct store *store, struct snapshot *snapshot, const char *tag, struct error *err)
{
	const struct snapshot_record *record = &snapshot->record;
	char **holds = xcalloc(record->hold_count + 1UL, sizeof(*holds));
	for (uint32_t i = 0; i < record->hold_count; i++) {
		holds[i] = record->holds[i];
		if (strcmp(holds[i], tag) == 0) {
			free(holds);
			return error_set(err, -EEXIST, "snapshot \"%s@%s\" is held by \"%s\" already", snapshot->dataset->name,
			                 snapshot->name, tag);
		}
	}
	char *added = xstrdup(tag);
	holds[record->hold_count] = added;
	int result = put_holds(store, snapshot, holds, record->hold_count + 1, err);
	if (result < 0)
		free(added);
	return result;
}

static int remove_hold(struct store *store, struct snapshot *snapshot, const char *tag, struct error *err)
{
	const struct snapshot_record *record = &snapshot->record;
	char **holds = xcalloc(record->hold_count + 1UL, sizeof(*holds));
	char *released = NULL;
	uint32_t count = 0;
	for (uint32_t i = 0; i < record->hold_count; i++) {
		if (strcmp(record->holds[i], tag) == 0)
			released = record->holds[i];
		else
			holds[count++] = record->holds[i];
	}
	if (!released) {
		free(holds);
		return error_set(err, -ENOENT, "snapshot \"%s@%s\" is not held by \"%s\"", snapshot->dataset->name, snapshot->name, tag);
	}
	int result = put_holds(store, snapshot, holds, count, err);
	if (result == 0)
		free(released);
	return result;
}

typedef int (*change_fn)(struct store *store, struct snapshot *snapshot, const char *tag, struct error *err);

static int change_holds(struct store *store, const struct snapshot_name *name, const char *tag, change_fn change, struct error *err)
{
	struct snapshot *snapshot;
	int result = store_begin_change(store, err);

	if (result < 0)
		return result;
	result = snapshot_find_named(store, name, &snapshot, err);
	if (result == 0)
		result = change(store, snapshot, tag, err);
	mutex_give(&store->change_lock);
	return result;
}

int snapshot_hold(struct store *store, const char *dataset, const char *name, const char *tag, struct error *err)
{
	int result = dataset_name_check("hold", tag, err);

	return result < 0 ? result : change_holds(store, &(struct snapshot_name){dataset, name}, tag, add_hold, err);
}

int snapshot_release(struct store *store, const char *dataset, const char *name, const char *tag, struct error *err)
{
	return change_holds(store, &(struct snapshot_name){dataset, name}, tag, remove_hold, err);
}
