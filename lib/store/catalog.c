#include "lib/store/catalog.h"

#include <errno.h>
#include <string.h>
#include <utlist.h>

static const char *const counter_names[COUNTER_COUNT] = {
	[COUNTER_DATASET] = "dataset",
	[COUNTER_FAMILY] = "family",
	[COUNTER_VIEW] = "view",
	[COUNTER_SNAPSHOT] = "snapshot",
};

int catalog_number(struct store *store, enum counter counter, struct kv_batch *batch, uint64_t *ret_number)
{
	uint64_t number = store->counters[counter];
	struct small_key key = catalog_key_name('N', counter_names[counter]);
	AUTO_BUF value = BUF_INIT;

	if (counter != COUNTER_SNAPSHOT && number > (counter == COUNTER_VIEW ? VIEW_MAX : UINT32_MAX))
		return -EOVERFLOW;
	/* A number whose batch fails is skipped, never given out again. */
	store->counters[counter] = number + 1;
	buf_add_le64(&value, number + 1);
	catalog_record_put(batch, &key, value.data, value.len);
	*ret_number = number;
	return 0;
}

struct dataset *catalog_dataset(struct store *store, const char *name)
{
	struct dataset *dataset;

	HASH_FIND(by_name, store->datasets, name, strlen(name), dataset);
	return dataset;
}

struct dataset *catalog_dataset_by_id(struct store *store, uint32_t id)
{
	for (struct dataset *dataset = store->datasets; dataset; dataset = dataset->by_name.next)
		if (dataset->record.id == id)
			return dataset;
	return NULL;
}

struct dataset *catalog_dataset_by_view(struct store *store, uint32_t view)
{
	for (struct dataset *dataset = store->datasets; dataset; dataset = dataset->by_name.next)
		if (dataset->record.view == view)
			return dataset;
	return NULL;
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

struct dataset *catalog_add_dataset(struct store *store, const char *name, struct dataset_record *record)
{
	struct dataset *dataset = xcalloc(1, sizeof(*dataset));

	dataset->name = xstrdup(name);
	dataset->record = *record;
	*record = (struct dataset_record){0};
	HASH_ADD_KEYPTR(by_name, store->datasets, dataset->name, strlen(dataset->name), dataset);
	return dataset;
}

struct snapshot *catalog_add_snapshot(struct store *store, struct dataset *dataset, const char *name, struct snapshot_record *record)
{
	struct snapshot *snapshot = xcalloc(1, sizeof(*snapshot));

	snapshot->name = xstrdup(name);
	snapshot->record = *record;
	snapshot->dataset = dataset;
	*record = (struct snapshot_record){0};
	HASH_ADD_KEYPTR(by_name, dataset->snapshots, snapshot->name, strlen(snapshot->name), snapshot);
	HASH_ADD(by_view, store->by_view, record.view, sizeof(uint32_t), snapshot);
	return snapshot;
}

void catalog_remove_snapshot(struct store *store, struct snapshot *snapshot)
{
	HASH_DELETE(by_name, snapshot->dataset->snapshots, snapshot);
	HASH_DELETE(by_view, store->by_view, snapshot);
	free(snapshot->name);
	snapshot_record_clear(&snapshot->record);
	free(snapshot);
}

void catalog_remove_dataset(struct store *store, struct dataset *dataset)
{
	while (dataset->snapshots)
		catalog_remove_snapshot(store, dataset->snapshots);
	HASH_DELETE(by_name, store->datasets, dataset);
	free(dataset->name);
	dataset_record_clear(&dataset->record);
	free(dataset);
}

void catalog_add_prune(struct store *store, uint32_t view, struct prune_record *record)
{
	struct prune *prune = xcalloc(1, sizeof(*prune));

	prune->view = view;
	prune->record = *record;
	*record = (struct prune_record){0};
	LL_APPEND(store->prunes, prune);
}

void catalog_remove_prune(struct store *store, uint32_t view)
{
	struct prune *prune;

	LL_SEARCH_SCALAR(store->prunes, prune, view, view);
	if (!prune)
		return;
	LL_DELETE(store->prunes, prune);
	prune_record_clear(&prune->record);
	free(prune);
}

void catalog_each_line(struct store *store, uint32_t family, uint32_t except_view, void (*each)(void *arg, const struct line *line),
		       void *arg)
{
	struct open_view *open;

	for (struct dataset *dataset = store->datasets; dataset; dataset = dataset->by_name.next) {
		if (dataset->record.family != family)
			continue;
		if (dataset->record.view != except_view)
			each(arg, &dataset->record.line);
		for (struct snapshot *snapshot = dataset->snapshots; snapshot; snapshot = snapshot->by_name.next)
			if (snapshot->record.view != except_view)
				each(arg, &snapshot->record.line);
	}
	DL_FOREACH(store->retired, open)
		if (open->family == family && open->number != except_view)
			each(arg, &open->line);
}

static void add_line(void *sum, const struct line *line)
{
	for (uint32_t i = 0; i < line->count; i++)
		line_add(sum, line->items[i].first, line->items[i].last);
}

struct line catalog_lines(struct store *store, uint32_t family, uint32_t except_view)
{
	struct line sum = {0};

	catalog_each_line(store, family, except_view, add_line, &sum);
	return sum;
}

int catalog_bury(struct store *store, struct kv_batch *batch, uint32_t family, uint32_t view, const struct line *line)
{
	struct prune_record prune = {.family = family, .line = *line};

	catalog_put_prune(batch, view, &prune);
	catalog_delete_identity(batch, family, view);
	return catalog_drop_snapshot_orphans(store->kv, view, batch);
}

void catalog_note_buried(struct store *store, uint32_t family, uint32_t view, const struct line *line)
{
	struct prune_record prune = {.family = family, .line = line_copy(line)};

	catalog_add_prune(store, view, &prune);
}

/* --- loading --- */

typedef int (*load_fn)(struct store *store, const uint8_t *key, size_t key_len, const uint8_t *value, size_t len);

static char *name_of(const uint8_t *key, size_t len, size_t skip)
{
	if (len <= skip || len - skip > NAME_LEN_MAX)
		return NULL;
	return xasprintf("%.*s", (int)(len - skip), (const char *)key + skip);
}

static int load_counter(struct store *store, const uint8_t *key, size_t key_len, const uint8_t *value, size_t len)
{
	AUTO_FREE char *name = name_of(key, key_len, 1);
	struct reader reader = reader_over(value, len);
	uint64_t number = read_le64(&reader);

	if (!name || reader.bad || number == 0)
		return -EBADMSG;
	for (size_t i = 0; i < COUNTER_COUNT; i++)
		if (strcmp(name, counter_names[i]) == 0)
			store->counters[i] = number;
	return 0;
}

static int load_dataset(struct store *store, const uint8_t *key, size_t key_len, const uint8_t *value, size_t len)
{
	AUTO_FREE char *name = name_of(key, key_len, 1);
	struct dataset_record record;
	int result = name ? dataset_record_decode(value, len, &record) : -EBADMSG;

	if (result == 0)
		catalog_add_dataset(store, name, &record);
	return result;
}

static int load_snapshot(struct store *store, const uint8_t *key, size_t key_len, const uint8_t *value, size_t len)
{
	AUTO_FREE char *name = name_of(key, key_len, 1 + sizeof(uint32_t));
	struct snapshot_record record;
	int result = name ? snapshot_record_decode(value, len, &record) : -EBADMSG;

	if (result < 0)
		return result;
	struct dataset *dataset = catalog_dataset_by_id(store, record.dataset);
	if (!dataset) {
		snapshot_record_clear(&record);
		return -EBADMSG;
	}
	catalog_add_snapshot(store, dataset, name, &record);
	return 0;
}

static int load_prune(struct store *store, const uint8_t *key, size_t key_len, const uint8_t *value, size_t len)
{
	struct reader reader = reader_over(key + 1, key_len - 1);
	uint32_t view = read_be32(&reader);
	struct prune_record record;
	int result = reader.bad ? -EBADMSG : prune_record_decode(value, len, &record);

	if (result == 0)
		catalog_add_prune(store, view, &record);
	return result;
}

static int load_tag(struct store *store, char tag, load_fn load)
{
	struct small_key first = {.bytes = {(uint8_t)tag}, .len = 1}, end = {.bytes = {(uint8_t)(tag + 1)}, .len = 1};
	struct kv_iter *iter = catalog_record_iterate(store->kv, &first, &end);
	int result = 0;

	for (kv_iter_first(iter); result == 0 && kv_iter_valid(iter); kv_iter_next(iter)) {
		size_t key_len, len;
		const uint8_t *key = kv_iter_key(iter, &key_len);
		const uint8_t *value = kv_iter_value(iter, &len);
		result = load(store, key, key_len, value, len);
	}
	if (result == 0)
		result = kv_iter_status(iter);
	kv_iter_free(iter);
	return result;
}

int catalog_load(struct store *store, struct error *err)
{
	static const struct {
		char tag;
		load_fn load;
		const char *what;
	} parts[] = {
		{'N', load_counter, "counters"},
		{'D', load_dataset, "datasets"},
		{'S', load_snapshot, "snapshots"}, /* after their datasets */
		{'P', load_prune, "destroyed views"},
	};

	for (size_t i = 0; i < COUNTER_COUNT; i++)
		store->counters[i] = 1;
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		int result = load_tag(store, parts[i].tag, parts[i].load);
		if (result < 0)
			return error_set(err, result, "the store's list of %s cannot be read: %s", parts[i].what, strerror(-result));
	}
	return 0;
}

void catalog_clear(struct store *store)
{
	while (store->datasets)
		catalog_remove_dataset(store, store->datasets);
	while (store->prunes)
		catalog_remove_prune(store, store->prunes->view);
}
