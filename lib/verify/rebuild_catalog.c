#include "lib/verify/rebuild_catalog.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/store/catalog_records.h"
#include "lib/store/gc_hold.h"

#define LEVEL 3

/* --- what is stored --- */

struct stored_family *stored_family(struct stored_families *families, uint32_t number)
{
	for (size_t i = families->count; i-- > 0;)
		if (families->items[i].number == number)
			return &families->items[i];
	array_add(families, (struct stored_family){.number = number});
	return array_last(families);
}

void stored_chunk(struct stored_families *families, uint64_t chunk)
{
	uint64_t *end = chunk & CHUNK_BULK ? &families->bulk_end : &families->small_end;

	*end = MAX(*end, chunk + 1);
}

void stored_families_clear(struct stored_families *families)
{
	for (size_t i = 0; i < families->count; i++)
		line_clear(&families->items[i].epochs);
	array_clear(families);
}

/* --- what is left of the catalogue --- */

struct left_dataset {
	char name[NAME_LEN_MAX + 1];
	struct dataset_record record;
};

struct left_snapshot {
	uint32_t dataset, family;
	uint64_t number;
	struct line line;
};

struct left {
	struct kv *kv;
	ARRAY(struct left_dataset) datasets;
	ARRAY(struct left_snapshot) snapshots;
	uint64_t max_dataset, max_family, max_view, max_snapshot;
	struct kv_batch *batch;
};

static int take_dataset(struct left *left, const uint8_t *key, size_t key_len, const uint8_t *value, size_t len)
{
	struct left_dataset dataset;
	int result = dataset_record_decode(value, len, &dataset.record);

	if (result < 0)
		return 0;
	snprintf(dataset.name, sizeof(dataset.name), "%.*s", (int)(key_len - 1), (const char *)key + 1);
	left->max_dataset = MAX(left->max_dataset, dataset.record.id);
	left->max_family = MAX(left->max_family, dataset.record.family);
	left->max_view = MAX(left->max_view, dataset.record.view);
	array_add(&left->datasets, dataset);
	return 0;
}

static int take_snapshot(struct left *left, const uint8_t *key, size_t key_len, const uint8_t *value, size_t len)
{
	struct snapshot_record record;

	(void)key;
	(void)key_len;
	if (snapshot_record_decode(value, len, &record) < 0)
		return 0;
	left->max_dataset = MAX(left->max_dataset, record.dataset);
	left->max_family = MAX(left->max_family, record.family);
	left->max_view = MAX(left->max_view, record.view);
	left->max_snapshot = MAX(left->max_snapshot, record.number);
	array_add(&left->snapshots, (struct left_snapshot){record.dataset, record.family, record.number, line_copy(&record.line)});
	snapshot_record_clear(&record);
	return 0;
}

/* A view's number behind the tag, or behind tag and family. */
static int take_view(struct left *left, const uint8_t *key, size_t key_len, const uint8_t *value, size_t len)
{
	struct reader reader = reader_over(key + 1, key_len - 1);

	(void)value;
	(void)len;
	const uint32_t family = key[0] == 'I' ? read_be32(&reader) : 0;
	if (!reader.bad)
		left->max_family = MAX(left->max_family, family);
	const uint32_t view = read_be32(&reader);
	if (!reader.bad && view <= VIEW_MAX)
		left->max_view = MAX(left->max_view, view);
	return 0;
}

static int each_record(struct left *left, char tag, int (*take)(struct left *left, const uint8_t *key, size_t key_len, const uint8_t *value, size_t len))
{
	struct small_key first = {.bytes = {(uint8_t)tag}, .len = 1}, end = {.bytes = {(uint8_t)(tag + 1)}, .len = 1};
	struct kv_iter *iter = catalog_record_iterate(left->kv, &first, &end);
	int result = 0;

	for (kv_iter_first(iter); result == 0 && kv_iter_valid(iter); kv_iter_next(iter)) {
		size_t key_len, len;
		const uint8_t *key = kv_iter_key(iter, &key_len), *value = kv_iter_value(iter, &len);
		result = take(left, key, key_len, value, len);
	}
	if (result == 0)
		result = kv_iter_status(iter);
	kv_iter_free(iter);
	return result;
}

static int look(struct left *left)
{
	static const struct {
		char tag;
		int (*take)(struct left *left, const uint8_t *key, size_t key_len, const uint8_t *value, size_t len);
	} parts[] = {{'D', take_dataset}, {'S', take_snapshot}, {'P', take_view}, {'Q', take_view}, {'I', take_view}, {'U', take_view}};
	int result = 0;

	for (size_t i = 0; i < ARRAY_SIZE(parts) && result == 0; i++)
		result = each_record(left, parts[i].tag, parts[i].take);
	return result;
}

/* --- families --- */

/* What the family's record has, or 0; lines may reach further than versions do. */
static int next_of(struct left *left, const struct stored_family *family, struct family_record *ret_next)
{
	struct small_key key = catalog_key_u32('F', family->number);
	struct family_record next = {.next_epoch = 1, .next_ino = ROOT_INO + 1};
	AUTO_BUF value = BUF_INIT;
	int result = catalog_record_get(left->kv, &key, &value);

	if (result < 0 && result != -ENOENT)
		return result;
	if (result == 0 && family_record_decode(value.data, value.len, &next) < 0)
		next = (struct family_record){.next_epoch = 1, .next_ino = ROOT_INO + 1};
	next.next_ino = MAX(next.next_ino, family->max_ino + 1);
	if (family->epochs.count > 0)
		next.next_epoch = MAX(next.next_epoch, array_last(&family->epochs)->last + 1);
	for (size_t i = 0; i < left->datasets.count; i++)
		if (left->datasets.items[i].record.family == family->number)
			next.next_epoch = MAX(next.next_epoch, left->datasets.items[i].record.epoch + 1);
	for (size_t i = 0; i < left->snapshots.count; i++) {
		const struct left_snapshot *snapshot = &left->snapshots.items[i];
		if (snapshot->family == family->number && snapshot->line.count > 0)
			next.next_epoch = MAX(next.next_epoch, array_last(&snapshot->line)->last + 1);
	}
	*ret_next = next;
	return 0;
}

/*
 * The lines of all views of the family that are left. Those of destroyed ones, which wait to be pruned, do not count: what a lost record saw they
 * had seen, too, and nothing else would keep it from being pruned.
 */
static struct line seen_of(const struct left *left, uint32_t family)
{
	struct line seen = {0};

	for (size_t i = 0; i < left->datasets.count; i++)
		if (left->datasets.items[i].record.family == family)
			line_unite(&seen, &left->datasets.items[i].record.line);
	for (size_t i = 0; i < left->snapshots.count; i++)
		if (left->snapshots.items[i].family == family)
			line_unite(&seen, &left->snapshots.items[i].line);
	return seen;
}

/* RB2 */
static void renew_heads(struct left *left, uint32_t family, struct family_record *next)
{
	for (size_t i = 0; i < left->datasets.count; i++) {
		struct left_dataset *dataset = &left->datasets.items[i];
		if (dataset->record.family != family)
			continue;
		dataset->record.epoch = next->next_epoch++;
		line_add(&dataset->record.line, dataset->record.epoch, dataset->record.epoch);
		catalog_put_dataset(left->batch, dataset->name, &dataset->record);
	}
}

/* --- RB3 --- */

static bool is_taken(const struct left *left, const char *name)
{
	for (size_t i = 0; i < left->datasets.count; i++)
		if (strcmp(left->datasets.items[i].name, name) == 0)
			return true;
	return false;
}

/* Takes over the line. */
static void recover(struct left *left, uint32_t id, uint32_t family, struct line line, struct family_record *next, struct rebuilt *rebuilt)
{
	struct left_dataset *dataset = array_new(&left->datasets);
	char name[NAME_LEN_MAX + 1];

	for (uint32_t number = id; snprintf(name, sizeof(name), "recovered-%u", number), is_taken(left, name); number++)
		;
	memcpy(dataset->name, name, sizeof(name));
	dataset->record = (struct dataset_record){.id = id,
	                                          .family = family,
	                                          .view = (uint32_t)++left->max_view,
	                                          .epoch = next->next_epoch++,
	                                          .created = clock_now().tv_sec,
	                                          .level = LEVEL,
	                                          .line = line,
	                                          .schedule = xstrdup("")};
	line_add(&dataset->record.line, dataset->record.epoch, dataset->record.epoch);
	catalog_put_dataset(left->batch, dataset->name, &dataset->record);
	array_add(&rebuilt->datasets, xstrdup(name));
}

static bool has_dataset(const struct left *left, uint32_t id)
{
	for (size_t i = 0; i < left->datasets.count; i++)
		if (left->datasets.items[i].record.id == id)
			return true;
	return false;
}

static const struct line *newest_line(const struct left *left, uint32_t dataset)
{
	const struct left_snapshot *newest = NULL;

	for (size_t i = 0; i < left->snapshots.count; i++) {
		const struct left_snapshot *snapshot = &left->snapshots.items[i];
		if (snapshot->dataset == dataset && (!newest || snapshot->number > newest->number))
			newest = snapshot;
	}
	return &newest->line;
}

static void recover_heads(struct left *left, const struct stored_family *family, struct family_record *next, struct rebuilt *rebuilt)
{
	struct line seen = seen_of(left, family->number), unseen = line_minus(&family->epochs, &seen);
	bool any = false;

	for (size_t i = 0; i < left->snapshots.count; i++) {
		const struct left_snapshot *snapshot = &left->snapshots.items[i];
		if (snapshot->family != family->number || has_dataset(left, snapshot->dataset))
			continue;
		struct line line = line_copy(newest_line(left, snapshot->dataset));
		line_unite(&line, &unseen);
		recover(left, snapshot->dataset, family->number, line, next, rebuilt);
		any = true;
	}
	if (!any && unseen.count > 0) {
		line_unite(&seen, &unseen);
		recover(left, (uint32_t)++left->max_dataset, family->number, line_copy(&seen), next, rebuilt);
	}
	line_clear(&seen);
	line_clear(&unseen);
}

/* --- RB1 --- */

static void put_number(struct left *left, const char *name, uint64_t next)
{
	struct small_key key = catalog_key_name('N', name);
	AUTO_BUF value = BUF_INIT, before = BUF_INIT;

	if (catalog_record_get(left->kv, &key, &before) == 0) {
		struct reader reader = reader_over(before.data, before.len);
		const uint64_t known = read_le64(&reader);
		next = MAX(next, known);
	}
	buf_add_le64(&value, next);
	catalog_record_put(left->batch, &key, value.data, value.len);
}

static void put_numbers(struct left *left, const struct stored_families *families)
{
	put_number(left, "dataset", left->max_dataset + 1);
	put_number(left, "family", left->max_family + 1);
	put_number(left, "view", left->max_view + 1);
	put_number(left, "snapshot", left->max_snapshot + 1);
	if (families->small_end)
		put_number(left, "small", families->small_end);
	if (families->bulk_end)
		put_number(left, "bulk", families->bulk_end);
}

static int mend_family(struct left *left, const struct stored_family *family, struct rebuilt *rebuilt)
{
	struct small_key key = catalog_key_u32('F', family->number);
	struct family_record next;
	AUTO_BUF value = BUF_INIT;
	int result = next_of(left, family, &next);

	if (result < 0)
		return result;
	renew_heads(left, family->number, &next);
	recover_heads(left, family, &next, rebuilt);
	family_record_encode(&next, &value);
	catalog_record_put(left->batch, &key, value.data, value.len);
	left->max_family = MAX(left->max_family, family->number);
	return 0;
}

int rebuild_catalog(struct kv *kv, struct stored_families *families, struct rebuilt *rebuilt)
{
	struct left left = {.kv = kv, .batch = kv_batch_new()};
	int result = look(&left);

	/* families that have views, and maybe nothing stored */
	for (size_t i = 0; i < left.datasets.count; i++)
		(void)stored_family(families, left.datasets.items[i].record.family);
	for (size_t i = 0; i < left.snapshots.count; i++)
		(void)stored_family(families, left.snapshots.items[i].family);
	for (size_t i = 0; i < families->count && result == 0; i++)
		result = mend_family(&left, &families->items[i], rebuilt);
	if (result == 0) {
		put_numbers(&left, families);
		gc_hold_put(left.batch, GC_HELD);
		result = catalog_write(kv, left.batch);
	}
	for (size_t i = 0; i < left.datasets.count; i++)
		dataset_record_clear(&left.datasets.items[i].record);
	for (size_t i = 0; i < left.snapshots.count; i++)
		line_clear(&left.snapshots.items[i].line);
	array_clear(&left.datasets);
	array_clear(&left.snapshots);
	kv_batch_free(left.batch);
	return result;
}
