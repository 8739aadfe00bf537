#include "lib/store/catalog_records.h"

#include <errno.h>
#include <string.h>

#include "lib/base/fault.h"
#include "lib/tree/inodes/mark.h"

int catalog_record_get(struct kv *kv, const struct small_key *key, struct buf *value)
{
	return kv_get(kv, KV_CATALOG, key->bytes, key->len, value);
}

void catalog_record_put(struct kv_batch *batch, const struct small_key *key, const void *value, size_t len)
{
	kv_batch_put(batch, KV_CATALOG, key->bytes, key->len, value, len);
}

void catalog_record_delete(struct kv_batch *batch, const struct small_key *key)
{
	kv_batch_delete(batch, KV_CATALOG, key->bytes, key->len);
}

struct kv_iter *catalog_record_iterate(struct kv *kv, const struct small_key *first, const struct small_key *end)
{
	return kv_iter_new(kv, KV_CATALOG, first->bytes, first->len, end->bytes, end->len);
}

int catalog_write(struct kv *kv, struct kv_batch *batch)
{
	int result;

	mark_add(batch);
	result = kv_write(kv, batch, KV_SYNC | KV_GIVES_ROOM);
	if (result == 0)
		(void)!fault_point("catalog-after-write");
	return result;
}

int catalog_compact(struct kv *kv, bool (*stop)(void *arg), void *arg)
{
	return kv_compact_waste(kv, KV_CATALOG, KV_LIVING_UNKNOWN, stop, arg);
}

void catalog_change_of(enum kv_family family, const uint8_t *key, size_t len, struct catalog_change *ret_change)
{
	struct reader reader = reader_over(key, len);
	struct tree_key_parts parts;
	struct catalog_change change = {.what = CHANGE_OF_OTHERS};

	if ((family == KV_TREE || family == KV_CONTENT) && tree_key_parse(key, len, &parts) == 0) {
		change.what = CHANGE_OF_FILES;
		change.number = parts.family;
	}
	const uint8_t tag = family == KV_CATALOG ? read_u8(&reader) : 0;
	if (tag == 'S')
		change.number = read_be32(&reader);
	if ((tag == 'D' || tag == 'S') && !reader.bad && reader.left <= NAME_LEN_MAX) {
		change.what = tag == 'D' ? CHANGE_OF_DATASET : CHANGE_OF_SNAPSHOT;
		memcpy(change.name, reader.at, reader.left);
	}
	*ret_change = change;
}

/* --- datasets, snapshots, destroyed views --- */

void catalog_put_dataset(struct kv_batch *batch, const char *name, const struct dataset_record *record)
{
	struct small_key key = catalog_key_name('D', name);
	AUTO_BUF value = BUF_INIT;

	dataset_record_encode(record, &value);
	catalog_record_put(batch, &key, value.data, value.len);
}

void catalog_delete_dataset(struct kv_batch *batch, const char *name)
{
	struct small_key key = catalog_key_name('D', name);

	catalog_record_delete(batch, &key);
}

void catalog_put_snapshot(struct kv_batch *batch, const char *name, const struct snapshot_record *record)
{
	struct small_key key = catalog_key_snapshot(record->dataset, name);
	AUTO_BUF value = BUF_INIT;

	snapshot_record_encode(record, &value);
	catalog_record_put(batch, &key, value.data, value.len);
}

void catalog_delete_snapshot(struct kv_batch *batch, uint32_t dataset, const char *name)
{
	struct small_key key = catalog_key_snapshot(dataset, name);

	catalog_record_delete(batch, &key);
}

void catalog_put_prune(struct kv_batch *batch, uint32_t view, const struct prune_record *record)
{
	struct small_key key = catalog_key_u32('P', view);
	AUTO_BUF value = BUF_INIT;

	prune_record_encode(record, &value);
	catalog_record_put(batch, &key, value.data, value.len);
}

void catalog_delete_prune(struct kv_batch *batch, uint32_t view)
{
	struct small_key key = catalog_key_u32('P', view);

	catalog_record_delete(batch, &key);
}

void catalog_delete_family(struct kv_batch *batch, uint32_t family)
{
	struct small_key key = catalog_key_u32('F', family);

	catalog_record_delete(batch, &key);
}

/* --- identities --- */

int catalog_get_identity(struct kv *kv, uint32_t family, uint32_t view, uint8_t ret_identity[NODE_LEN])
{
	struct small_key key = catalog_key_identity(family, view);
	AUTO_BUF value = BUF_INIT;
	int result = catalog_record_get(kv, &key, &value);

	return result < 0 ? result : identity_record_decode(value.data, value.len, ret_identity);
}

void catalog_put_identity(struct kv_batch *batch, uint32_t family, uint32_t view, const uint8_t identity[NODE_LEN])
{
	struct small_key key = catalog_key_identity(family, view);
	AUTO_BUF value = BUF_INIT;

	identity_record_encode(identity, &value);
	catalog_record_put(batch, &key, value.data, value.len);
}

void catalog_delete_identity(struct kv_batch *batch, uint32_t family, uint32_t view)
{
	struct small_key key = catalog_key_identity(family, view);

	catalog_record_delete(batch, &key);
}

/* --- replicas --- */

void catalog_put_replica(struct kv_batch *batch, uint32_t dataset)
{
	struct small_key key = catalog_key_u32('T', dataset);
	AUTO_BUF value = BUF_INIT;

	replica_record_encode(&value);
	catalog_record_put(batch, &key, value.data, value.len);
}

void catalog_delete_replica(struct kv_batch *batch, uint32_t dataset)
{
	struct small_key key = catalog_key_u32('T', dataset);

	catalog_record_delete(batch, &key);
}

int catalog_get_origin(struct kv *kv, uint32_t view, uint8_t ret_id[NODE_LEN])
{
	struct small_key key = catalog_key_u32('U', view);
	AUTO_BUF value = BUF_INIT;
	int result = catalog_record_get(kv, &key, &value);

	return result < 0 ? result : origin_record_decode(value.data, value.len, ret_id);
}

void catalog_put_origin(struct kv_batch *batch, uint32_t view, const uint8_t id[NODE_LEN])
{
	struct small_key key = catalog_key_u32('U', view);
	AUTO_BUF value = BUF_INIT;

	origin_record_encode(id, &value);
	catalog_record_put(batch, &key, value.data, value.len);
}

void catalog_delete_origin(struct kv_batch *batch, uint32_t view)
{
	struct small_key key = catalog_key_u32('U', view);

	catalog_record_delete(batch, &key);
}

int catalog_drop_labels(struct kv *kv, uint32_t dataset)
{
	struct small_key first = catalog_key_label(dataset, 0), end = catalog_key_label(dataset, UINT64_MAX);

	return kv_drop_range(kv, KV_CATALOG, first.bytes, first.len, end.bytes, end.len);
}

/* --- orphans --- */

struct orphans {
	struct kv_iter *iter;
	size_t prefix_len;
};

static struct orphans orphans_of(struct kv *kv, char tag, uint32_t number)
{
	struct small_key prefix = catalog_key_u32(tag, number);
	struct small_key end = tag == 'O' ? catalog_key_orphan(number, UINT64_MAX) : catalog_key_snapshot_orphan(number, UINT64_MAX);
	struct orphans orphans = {.iter = catalog_record_iterate(kv, &prefix, &end), .prefix_len = prefix.len};

	kv_iter_first(orphans.iter);
	return orphans;
}

typedef void (*orphan_fn)(uint32_t number, const struct small_key *key, uint64_t ino, struct kv_batch *batch);

/* Calls for each key TAG | number | inode, with `to` as the number. */
static int each_orphan(struct kv *kv, char tag, uint32_t number, orphan_fn each, uint32_t to, struct kv_batch *batch)
{
	struct orphans orphans = orphans_of(kv, tag, number);
	int result = 0;

	for (; result == 0 && kv_iter_valid(orphans.iter); kv_iter_next(orphans.iter)) {
		struct small_key key = {0};
		const uint8_t *bytes = kv_iter_key(orphans.iter, &key.len);
		if (key.len != orphans.prefix_len + sizeof(uint64_t)) {
			result = -EBADMSG;
			break;
		}
		memcpy(key.bytes, bytes, key.len);
		struct reader reader = reader_over(key.bytes + orphans.prefix_len, sizeof(uint64_t));
		each(to, &key, read_be64(&reader), batch);
	}
	if (result == 0)
		result = kv_iter_status(orphans.iter);
	kv_iter_free(orphans.iter);
	return result;
}

int catalog_has_orphans(struct kv *kv, uint32_t dataset)
{
	struct orphans orphans = orphans_of(kv, 'O', dataset);
	int result = kv_iter_valid(orphans.iter) ? 1 : kv_iter_status(orphans.iter);

	kv_iter_free(orphans.iter);
	return result;
}

static void drop_orphan(uint32_t number, const struct small_key *key, uint64_t ino, struct kv_batch *batch)
{
	catalog_record_delete(batch, key);
}

static void save_orphan(uint32_t view, const struct small_key *key, uint64_t ino, struct kv_batch *batch)
{
	struct small_key copy = catalog_key_snapshot_orphan(view, ino);

	catalog_record_put(batch, &copy, "", 0);
}

static void restore_orphan(uint32_t dataset, const struct small_key *key, uint64_t ino, struct kv_batch *batch)
{
	struct small_key copy = catalog_key_orphan(dataset, ino);

	catalog_record_put(batch, &copy, "", 0);
}

int catalog_save_orphans(struct kv *kv, uint32_t dataset, uint32_t view, struct kv_batch *batch)
{
	return each_orphan(kv, 'O', dataset, save_orphan, view, batch);
}

int catalog_restore_orphans(struct kv *kv, uint32_t view, uint32_t dataset, struct kv_batch *batch)
{
	return each_orphan(kv, 'Q', view, restore_orphan, dataset, batch);
}

int catalog_drop_orphans(struct kv *kv, uint32_t dataset, struct kv_batch *batch)
{
	return each_orphan(kv, 'O', dataset, drop_orphan, 0, batch);
}

int catalog_drop_snapshot_orphans(struct kv *kv, uint32_t view, struct kv_batch *batch)
{
	return each_orphan(kv, 'Q', view, drop_orphan, 0, batch);
}
