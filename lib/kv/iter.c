#include <errno.h>
#include <string.h>

#include "lib/kv/inside.h"

#define SCAN_READAHEAD (2U << 20)

struct kv_iter {
	struct kv *kv;
	rocksdb_iterator_t *native; /* NULL: the database cannot be opened any more */
	rocksdb_readoptions_t *options;
	char bounds[]; /* first, then end; RocksDB keeps pointers to them */
};

struct kv_iter *kv_iter_new(struct kv *kv, enum kv_family family, const void *first, size_t first_len, const void *end,
                            size_t end_len)
{
	return kv_iter_new_flags(kv, family, first, first_len, end, end_len, 0);
}

struct kv_iter *kv_iter_new_flags(struct kv *kv, enum kv_family family, const void *first, size_t first_len, const void *end,
                                  size_t end_len, unsigned flags)
{
	struct kv_iter *iter = xcalloc(1, sizeof(*iter) + first_len + end_len);

	iter->kv = kv;
	iter->options = rocksdb_readoptions_create();
	rocksdb_readoptions_set_background_purge_on_iterator_cleanup(iter->options, 1);
	if (first_len > 0) {
		memcpy(iter->bounds, first, first_len);
		rocksdb_readoptions_set_iterate_lower_bound(iter->options, iter->bounds, first_len);
	}
	if (end_len > 0) {
		memcpy(iter->bounds + first_len, end, end_len);
		rocksdb_readoptions_set_iterate_upper_bound(iter->options, iter->bounds + first_len, end_len);
	}
	if (flags & KV_ITER_SCAN) {
		rocksdb_readoptions_set_fill_cache(iter->options, 0);
		rocksdb_readoptions_set_readahead_size(iter->options, SCAN_READAHEAD);
	}
	if (kv_enter(kv))
		iter->native = rocksdb_create_iterator_cf(kv->db, iter->options, kv->handles[family]);
	return iter;
}

void kv_iter_free(struct kv_iter *iter)
{
	if (!iter)
		return;
	if (iter->native) {
		rocksdb_iter_destroy(iter->native);
		kv_leave(iter->kv);
	}
	rocksdb_readoptions_destroy(iter->options);
	free(iter);
}

void kv_iter_first(struct kv_iter *iter)
{
	if (iter->native)
		rocksdb_iter_seek_to_first(iter->native);
}

void kv_iter_seek(struct kv_iter *iter, const void *key, size_t key_len)
{
	if (iter->native)
		rocksdb_iter_seek(iter->native, key, key_len);
}

void kv_iter_seek_for_prev(struct kv_iter *iter, const void *key, size_t key_len)
{
	if (iter->native)
		rocksdb_iter_seek_for_prev(iter->native, key, key_len);
}

void kv_iter_next(struct kv_iter *iter)
{
	rocksdb_iter_next(iter->native);
}

void kv_iter_prev(struct kv_iter *iter)
{
	rocksdb_iter_prev(iter->native);
}

bool kv_iter_valid(const struct kv_iter *iter)
{
	return iter->native && rocksdb_iter_valid(iter->native);
}

const uint8_t *kv_iter_key(const struct kv_iter *iter, size_t *ret_len)
{
	return (const uint8_t *)rocksdb_iter_key(iter->native, ret_len);
}

const uint8_t *kv_iter_value(const struct kv_iter *iter, size_t *ret_len)
{
	return (const uint8_t *)rocksdb_iter_value(iter->native, ret_len);
}

int kv_iter_status(const struct kv_iter *iter)
{
	char *message = NULL;

	if (!iter->native)
		return -EIO;
	rocksdb_iter_get_error(iter->native, &message);
	return kv_result(iter->kv, message);
}
