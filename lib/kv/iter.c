#include <errno.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/kv/inside.h"

#define SCAN_READAHEAD (2U << 20)

struct kv_iter {
	struct kv *kv;
	enum kv_family family;
	bool is_ahead; /* it stands on the key that kv_iter_next() is to give */
	rocksdb_iterator_t *native; /* NULL: the database cannot be opened any more */
	rocksdb_readoptions_t *options;
	char bounds[]; /* first, then end; RocksDB keeps pointers to them */
};

static void go_in(struct kv_iter *iter)
{
	if (kv_enter(iter->kv))
		iter->native = rocksdb_create_iterator_cf(iter->kv->db, iter->options, iter->kv->handles[iter->family]);
}

static void go_out(struct kv_iter *iter)
{
	if (!iter->native)
		return;
	rocksdb_iter_destroy(iter->native);
	iter->native = NULL;
	kv_leave(iter->kv);
}

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
	iter->family = family;
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
	go_in(iter);
	return iter;
}

void kv_iter_make_way(struct kv_iter *iter)
{
	AUTO_BUF at = BUF_INIT;
	size_t len;

	if (!kv_iter_valid(iter) || !atomic_load_explicit(&iter->kv->wanted, memory_order_relaxed))
		return;
	const uint8_t *key = kv_iter_key(iter, &len);
	buf_add(&at, key, len);
	go_out(iter);
	go_in(iter);
	kv_iter_seek(iter, at.data, at.len);
	if (!kv_iter_valid(iter))
		return;
	key = kv_iter_key(iter, &len);
	iter->is_ahead = bytes_compare(key, len, at.data, at.len) != 0;
}

void kv_iter_free(struct kv_iter *iter)
{
	if (!iter)
		return;
	go_out(iter);
	rocksdb_readoptions_destroy(iter->options);
	free(iter);
}

void kv_iter_first(struct kv_iter *iter)
{
	iter->is_ahead = false;
	if (iter->native)
		rocksdb_iter_seek_to_first(iter->native);
}

void kv_iter_seek(struct kv_iter *iter, const void *key, size_t key_len)
{
	iter->is_ahead = false;
	if (iter->native)
		rocksdb_iter_seek(iter->native, key, key_len);
}

void kv_iter_seek_for_prev(struct kv_iter *iter, const void *key, size_t key_len)
{
	iter->is_ahead = false;
	if (iter->native)
		rocksdb_iter_seek_for_prev(iter->native, key, key_len);
}

void kv_iter_next(struct kv_iter *iter)
{
	/* What came after it may have gone while it made way. */
	if (kv_iter_valid(iter) && !iter->is_ahead)
		rocksdb_iter_next(iter->native);
	iter->is_ahead = false;
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
	return kv_result_of(iter->kv, iter->family, message);
}
