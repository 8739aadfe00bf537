#include "lib/kv/inside.h"

/* The sum over all families. */
static uint64_t property(struct kv *kv, const char *name)
{
	uint64_t bytes = 0;

	for (int i = 0; i < KV_FAMILY_COUNT; i++) {
		uint64_t of_family = 0;
		if (rocksdb_property_int_cf(kv->db, kv->handles[i], name, &of_family) == 0)
			bytes += of_family;
	}
	return bytes;
}

uint64_t kv_unflushed(struct kv *kv)
{
	uint64_t bytes;

	if (!kv_enter(kv))
		return 0;
	bytes = property(kv, "rocksdb.cur-size-all-mem-tables");
	kv_leave(kv);
	return bytes;
}

void kv_memory(struct kv *kv, struct kv_memory *ret_memory)
{
	*ret_memory = (struct kv_memory){0};
	if (!kv_enter(kv))
		return;
	*ret_memory = (struct kv_memory){
		.cache = rocksdb_cache_get_usage(kv->setup.cache),
		.cache_budget = rocksdb_cache_get_capacity(kv->setup.cache),
		.memtables = property(kv, "rocksdb.size-all-mem-tables"),
		.memtables_budget = kv->setup.memtable_bytes,
		.tables = property(kv, "rocksdb.estimate-table-readers-mem"),
	};
	kv_leave(kv);
}
