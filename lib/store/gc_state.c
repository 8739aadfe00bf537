/*
 * What the collector (lib/reclaim) remembers between runs: one record of the catalogue. u8 version | u8 due | u64 chunks after the last sweep |
 * u64 bytes dropped since then, which old stores do not have
 */
#include <errno.h>

#include "lib/store/catalog.h"
#include "lib/tree/records/dropped.h"

#define STATE_NAME "gc"

int gc_state_load(struct store *store)
{
	struct small_key key = catalog_key_name('J', STATE_NAME);
	AUTO_BUF value = BUF_INIT;
	int result = catalog_record_get(store->kv, &key, &value);

	if (result < 0)
		return result == -ENOENT ? 0 : result;
	struct reader reader = reader_over(value.data, value.len);
	uint8_t version = read_u8(&reader);
	bool due = read_u8(&reader);
	uint64_t kept = read_le64(&reader);
	uint64_t dropped = reader.left > 0 ? read_le64(&reader) : 0;
	if (reader.bad || version != FORMAT_VERSION)
		return -EBADMSG;
	atomic_store(&store->sweep_due, due);
	atomic_store(&store->kept_keys, kept);
	dropped_add(store->tree, dropped);
	store->dropped_noted = dropped;
	return 0;
}

void gc_state_put(struct store *store, struct kv_batch *batch)
{
	struct small_key key = catalog_key_name('J', STATE_NAME);
	AUTO_BUF value = BUF_INIT;

	buf_add_u8(&value, FORMAT_VERSION);
	buf_add_u8(&value, atomic_load(&store->sweep_due));
	buf_add_le64(&value, atomic_load(&store->kept_keys));
	buf_add_le64(&value, dropped_bytes(store->tree));
	catalog_record_put(batch, &key, value.data, value.len);
}

void gc_state_keep(struct store *store)
{
	struct kv_batch *batch;

	if (store->read_only || dropped_bytes(store->tree) == store->dropped_noted)
		return;
	batch = kv_batch_new();
	gc_state_put(store, batch);
	int ignored = kv_write(store->kv, batch, 0);
	(void)ignored;
	kv_batch_free(batch);
}
