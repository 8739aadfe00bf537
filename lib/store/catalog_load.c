/* Numbers that are given out, and reading the catalogue when the store is opened. */
#include <errno.h>
#include <string.h>
#include <utlist.h>

#include "lib/store/catalog.h"

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

static int load_replica(struct store *store, const uint8_t *key, size_t key_len, const uint8_t *value, size_t len)
{
	struct reader reader = reader_over(key + 1, key_len - 1);
	struct dataset *dataset = catalog_dataset_by_id(store, read_be32(&reader));
	int result = reader.bad || reader.left > 0 ? -EBADMSG : replica_record_decode(value, len);

	if (result == 0 && dataset)
		dataset->replica = true;
	return result;
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

static int by_number(const void *a, const void *b)
{
	uint64_t left = (*(struct snapshot *const *)a)->record.number, right = (*(struct snapshot *const *)b)->record.number;

	return left < right ? -1 : left > right;
}

static void sort_snapshots(struct snapshot_order *order)
{
	if (order->count > 0)
		qsort(order->items, order->count, sizeof(struct snapshot *), by_number);
}

/* All views of the family get their places. */
static void load_lineage(struct family_views *family)
{
	AUTO_ARRAY ARRAY(struct lineage_start) starts = {0};
	struct dataset *dataset;

	DL_FOREACH (family->heads, dataset) {
		array_add(&starts, (struct lineage_start){.view = &dataset->place, .line = &dataset->record.line});
		for (size_t i = 0; i < dataset->order.count; i++) {
			struct snapshot *snapshot = dataset->order.items[i];
			array_add(&starts, (struct lineage_start){.view = &snapshot->place, .line = &snapshot->record.line});
		}
	}
	lineage_load(family->lineage, starts.items, starts.count);
}

static void settle(struct store *store)
{
	sort_snapshots(&store->order);
	for (struct dataset *dataset = store->datasets; dataset; dataset = dataset->by_name.next)
		sort_snapshots(&dataset->order);
	for (struct family_views *family = store->families; family; family = family->hh.next)
		load_lineage(family);
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
		{'T', load_replica, "replicas"}, /* likewise */
		{'P', load_prune, "destroyed views"},
	};

	for (size_t i = 0; i < COUNTER_COUNT; i++)
		store->counters[i] = 1;
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		int result = load_tag(store, parts[i].tag, parts[i].load);
		if (result < 0)
			return error_set(err, result, "the store's list of %s cannot be read: %s", parts[i].what, error_text(result));
	}
	settle(store);
	return 0;
}

