#include "lib/kv/inside.h"

uint64_t kv_unflushed(struct kv *kv)
{
	uint64_t bytes = 0;

	if (!kv_enter(kv))
		return 0;
	for (int i = 0; i < KV_FAMILY_COUNT; i++) {
		uint64_t of_family = 0;
		if (rocksdb_property_int_cf(kv->db, kv->handles[i], "rocksdb.cur-size-all-mem-tables", &of_family) == 0)
			bytes += of_family;
	}
	kv_leave(kv);
	return bytes;
}
