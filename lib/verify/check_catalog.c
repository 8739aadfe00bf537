#include "lib/verify/check_catalog.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/store/catalog_records.h"

struct known_dataset {
	uint32_t id, family;
	char name[NAME_LEN_MAX + 1];
};

/* A view's number, and what has it. */
struct known_view {
	uint32_t view;
	bool is_snapshot;
	char name[2 * NAME_LEN_MAX + 2];
};

struct catalog {
	struct store *store;
	struct check_report *report;
	struct kv_iter *iter;
	const uint8_t *key, *value;
	size_t key_len, len;
	ARRAY(struct known_dataset) datasets; /* by id, once all are known */
	ARRAY(struct known_view) views;       /* by number, once all are known */
	uint64_t max_dataset, max_family, max_view, max_snapshot;
};

static int not_understood(struct catalog *catalog, const char *what)
{
	return check_found(catalog->report, &(struct check_where){.rule = 13}, "%s record cannot be understood", what);
}

/* What stands behind the tag. */
static struct reader key_of(const struct catalog *catalog)
{
	return reader_over(catalog->key + 1, catalog->key_len - 1);
}

static bool ends(const struct reader *reader)
{
	return !reader->bad && reader->left == 0;
}

/* --- datasets and views --- */

static int take_dataset(struct catalog *catalog)
{
	struct known_dataset *known;
	struct known_view *view;
	struct dataset_record record;

	if (catalog->key_len > NAME_LEN_MAX + 1 || dataset_record_decode(catalog->value, catalog->len, &record) < 0)
		return not_understood(catalog, "a dataset's");
	known = array_new(&catalog->datasets);
	known->id = record.id;
	known->family = record.family;
	memcpy(known->name, catalog->key + 1, catalog->key_len - 1);
	view = array_new(&catalog->views);
	view->view = record.view;
	snprintf(view->name, sizeof(view->name), "%s", known->name);
	catalog->max_dataset = MAX(catalog->max_dataset, record.id);
	catalog->max_family = MAX(catalog->max_family, record.family);
	catalog->max_view = MAX(catalog->max_view, record.view);
	dataset_record_clear(&record);
	return 0;
}

static int by_id(const void *a, const void *b)
{
	const struct known_dataset *left = a, *right = b;

	return left->id < right->id ? -1 : left->id > right->id;
}

static const struct known_dataset *find_dataset(const struct catalog *catalog, uint32_t id)
{
	const struct known_dataset key = {.id = id};

	return catalog->datasets.count == 0
	               ? NULL
	               : bsearch(&key, catalog->datasets.items, catalog->datasets.count, sizeof(struct known_dataset), by_id);
}

static int check_datasets(struct catalog *catalog)
{
	int result = 0;

	if (catalog->datasets.count > 1)
		qsort(catalog->datasets.items, catalog->datasets.count, sizeof(struct known_dataset), by_id);
	for (size_t i = 1; i < catalog->datasets.count && result == 0; i++) {
		const struct known_dataset *one = &catalog->datasets.items[i - 1], *other = &catalog->datasets.items[i];
		if (one->id == other->id)
			result = check_found(catalog->report, &(struct check_where){.rule = 13, .dataset = one->name},
					     "it has the number of the dataset %s, %u", other->name, one->id);
	}
	return result;
}

static int take_snapshot(struct catalog *catalog)
{
	const size_t skip = 1 + sizeof(uint32_t);
	struct snapshot_record record;
	char name[NAME_LEN_MAX + 1] = "";

	if (catalog->key_len <= skip || catalog->key_len - skip > NAME_LEN_MAX || snapshot_record_decode(catalog->value, catalog->len, &record) < 0)
		return not_understood(catalog, "a snapshot's");
	memcpy(name, catalog->key + skip, catalog->key_len - skip);
	const struct known_dataset *dataset = find_dataset(catalog, record.dataset);
	const struct check_where where = {.rule = 13, .dataset = dataset ? dataset->name : NULL, .snapshot = name};
	struct known_view *view = array_new(&catalog->views);
	struct reader key = key_of(catalog);
	int result = 0;

	view->view = record.view;
	view->is_snapshot = true;
	snprintf(view->name, sizeof(view->name), "%s@%s", dataset ? dataset->name : "?", name);
	catalog->max_family = MAX(catalog->max_family, record.family);
	catalog->max_view = MAX(catalog->max_view, record.view);
	catalog->max_snapshot = MAX(catalog->max_snapshot, record.number);
	if (!dataset || read_be32(&key) != record.dataset)
		result = check_found(catalog->report, &where, "the dataset of the snapshot, number %u, is not there", record.dataset);
	else if (dataset->family != record.family)
		result = check_found(catalog->report, &where, "the snapshot is of family %u, and its dataset of %u", record.family,
				     dataset->family);
	snapshot_record_clear(&record);
	return result;
}

static int by_view(const void *a, const void *b)
{
	const struct known_view *left = a, *right = b;

	return left->view < right->view ? -1 : left->view > right->view;
}

static bool is_snapshot(const struct catalog *catalog, uint32_t number)
{
	const struct known_view key = {.view = number};
	const struct known_view *view =
		catalog->views.count == 0 ? NULL : bsearch(&key, catalog->views.items, catalog->views.count, sizeof(struct known_view), by_view);

	return view && view->is_snapshot;
}

static int check_views(struct catalog *catalog)
{
	int result = 0;

	if (catalog->views.count > 1)
		qsort(catalog->views.items, catalog->views.count, sizeof(struct known_view), by_view);
	for (size_t i = 1; i < catalog->views.count && result == 0; i++) {
		const struct known_view *one = &catalog->views.items[i - 1], *other = &catalog->views.items[i];
		if (one->view == other->view)
			result = check_found(catalog->report, &(struct check_where){.rule = 13}, "%s and %s are both view %u", one->name,
					     other->name, one->view);
	}
	return result;
}

/* --- what belongs to them --- */

static int take_family(struct catalog *catalog)
{
	struct reader key = key_of(catalog);
	struct family_record record;
	const uint32_t number = read_be32(&key);

	if (!ends(&key) || family_record_decode(catalog->value, catalog->len, &record) < 0)
		return not_understood(catalog, "a family's");
	catalog->max_family = MAX(catalog->max_family, number);
	return 0;
}

/* All families that datasets are of have a record. */
static int check_families(struct catalog *catalog)
{
	int result = 0;

	for (size_t i = 0; i < catalog->datasets.count && result == 0; i++) {
		const struct known_dataset *dataset = &catalog->datasets.items[i];
		const struct small_key key = catalog_key_u32('F', dataset->family);
		kv_iter_seek(catalog->iter, key.bytes, key.len);
		size_t len = 0;
		const uint8_t *found = kv_iter_valid(catalog->iter) ? kv_iter_key(catalog->iter, &len) : NULL;
		if (!found || bytes_compare(found, len, key.bytes, key.len) != 0)
			result = check_found(catalog->report, &(struct check_where){.rule = 13, .dataset = dataset->name},
					     "its family, number %u, has no record", dataset->family);
	}
	return result;
}

static int take_counter(struct catalog *catalog)
{
	const struct {
		const char *name;
		uint64_t used;
	} counters[] = {{"dataset", catalog->max_dataset}, {"family", catalog->max_family}, {"view", catalog->max_view},
	                {"snapshot", catalog->max_snapshot}};
	struct reader reader = reader_over(catalog->value, catalog->len);
	const uint64_t next = read_le64(&reader);

	if (!ends(&reader) || next == 0)
		return not_understood(catalog, "a counter's");
	for (size_t i = 0; i < ARRAY_SIZE(counters); i++)
		if (catalog->key_len - 1 == strlen(counters[i].name) && memcmp(catalog->key + 1, counters[i].name, catalog->key_len - 1) == 0 &&
		    next <= counters[i].used)
			return check_found(catalog->report, &(struct check_where){.rule = 13}, "number %llu of a %s is in use, and %llu is given out next",
					   (count)counters[i].used, counters[i].name, (count)next);
	return 0;
}

static int take_orphan(struct catalog *catalog)
{
	struct reader key = key_of(catalog);
	const uint32_t number = read_be32(&key);
	const struct check_where where = {.rule = 12, .ino = read_be64(&key)};

	if (!ends(&key))
		return not_understood(catalog, "an orphan's");
	if (catalog->key[0] == 'O' ? find_dataset(catalog, number) != NULL : is_snapshot(catalog, number))
		return 0;
	return check_found(catalog->report, &where, "it is noted as an orphan of a %s, number %u, which is not there",
			   catalog->key[0] == 'O' ? "dataset" : "snapshot", number);
}

static int take_prune(struct catalog *catalog)
{
	struct reader key = key_of(catalog);
	struct prune_record record;

	(void)read_be32(&key);
	if (!ends(&key) || prune_record_decode(catalog->value, catalog->len, &record) < 0)
		return not_understood(catalog, "a destroyed view's");
	prune_record_clear(&record);
	return 0;
}

static int take_identity(struct catalog *catalog)
{
	struct reader key = key_of(catalog);
	uint8_t identity[NODE_LEN];

	(void)read_be32(&key);
	(void)read_be32(&key);
	return ends(&key) && identity_record_decode(catalog->value, catalog->len, identity) == 0 ? 0 : not_understood(catalog, "an identity's");
}

static int take_digest(struct catalog *catalog)
{
	struct digest_record record;
	uint64_t ino, epoch;
	uint32_t family;

	return catalog_key_digest_parse(catalog->key, catalog->key_len, &family, &ino, &epoch) == 0 &&
	                       digest_record_decode(catalog->value, catalog->len, &record) == 0
	               ? 0
	               : not_understood(catalog, "a digest's");
}

static int take_damage(struct catalog *catalog)
{
	struct damage_record record;
	uint64_t chunk;

	return catalog_key_damage_parse(catalog->key, catalog->key_len, &chunk) == 0 &&
	                       damage_record_decode(catalog->value, catalog->len, &record) == 0
	               ? 0
	               : not_understood(catalog, "a damaged chunk's");
}

static int take_replica(struct catalog *catalog)
{
	struct reader key = key_of(catalog);
	const uint32_t number = read_be32(&key);

	if (!ends(&key) || replica_record_decode(catalog->value, catalog->len) < 0)
		return not_understood(catalog, "a replica's");
	return find_dataset(catalog, number)
	               ? 0
	               : check_found(catalog->report, &(struct check_where){.rule = 13}, "a dataset that is not there, number %u, is a replica", number);
}

static int take_origin(struct catalog *catalog)
{
	struct reader key = key_of(catalog);
	const uint32_t number = read_be32(&key);
	uint8_t id[NODE_LEN];

	if (!ends(&key) || origin_record_decode(catalog->value, catalog->len, id) < 0)
		return not_understood(catalog, "a received snapshot's");
	return is_snapshot(catalog, number)
	               ? 0
	               : check_found(catalog->report, &(struct check_where){.rule = 13}, "a snapshot that is not there, number %u, was received", number);
}

/* Those of a dataset that is gone mean nothing. */
static int take_label(struct catalog *catalog)
{
	struct reader key = key_of(catalog), value = reader_over(catalog->value, catalog->len);

	(void)read_be32(&key);
	(void)read_be64(&key);
	(void)read_le64(&value);
	return ends(&key) && ends(&value) ? 0 : not_understood(catalog, "a label's");
}

static int take_unknown(struct catalog *catalog)
{
	return check_found(catalog->report, &(struct check_where){.rule = 13}, "a record of a kind that is not known, 0x%02x", catalog->key[0]);
}

/* --- */

static int each_record(struct catalog *catalog, uint8_t tag, int (*take)(struct catalog *catalog))
{
	int result = 0;

	for (kv_iter_seek(catalog->iter, &tag, 1); result == 0 && kv_iter_valid(catalog->iter); kv_iter_next(catalog->iter)) {
		catalog->key = kv_iter_key(catalog->iter, &catalog->key_len);
		if (catalog->key[0] != tag)
			break;
		catalog->value = kv_iter_value(catalog->iter, &catalog->len);
		result = take(catalog);
		if (result == 0)
			result = check_record(catalog->report);
	}
	return result == 0 ? kv_iter_status(catalog->iter) : result;
}

static int check_unknown(struct catalog *catalog)
{
	static const char tags[] = "DSFNOQPIHCJTUW";
	int result = 0;

	for (unsigned tag = 0; tag <= UINT8_MAX && result == 0; tag++)
		if (!memchr(tags, (int)tag, sizeof(tags) - 1))
			result = each_record(catalog, (uint8_t)tag, take_unknown);
	return result;
}

static int look(struct catalog *catalog)
{
	static const struct {
		uint8_t tag;
		int (*take)(struct catalog *catalog);
		int (*then)(struct catalog *catalog);
	} parts[] = {
		{'D', take_dataset, check_datasets}, {'S', take_snapshot, check_views}, {'F', take_family, check_families},
		{'N', take_counter, NULL},           {'O', take_orphan, NULL},          {'Q', take_orphan, NULL},
		{'P', take_prune, NULL},             {'I', take_identity, NULL},        {'H', take_digest, NULL},
		{'C', take_damage, NULL},            {'T', take_replica, NULL},         {'U', take_origin, NULL},
		{'W', take_label, check_unknown},
	};
	int result = 0;

	for (size_t i = 0; i < ARRAY_SIZE(parts) && result == 0; i++) {
		result = each_record(catalog, parts[i].tag, parts[i].take);
		if (result == 0 && parts[i].then)
			result = parts[i].then(catalog);
	}
	return result;
}

int check_catalog(struct store *store, struct check_report *report)
{
	struct catalog catalog = {.store = store, .report = report};

	catalog.iter = kv_iter_new_flags(store_kv(store), KV_CATALOG, NULL, 0, NULL, 0, KV_ITER_SCAN);
	int result = look(&catalog);
	kv_iter_free(catalog.iter);
	array_clear(&catalog.datasets);
	array_clear(&catalog.views);
	return result;
}
