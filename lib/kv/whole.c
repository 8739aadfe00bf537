/* Tables as wholes: which there are, and reading all that lies in a range of keys. */
#include <errno.h>
#include <string.h>

#include "lib/base/array.h"
#include "lib/kv/damage.h"
#include "lib/kv/inside.h"

#define READAHEAD (2U << 20)

int kv_each_table(struct kv *kv, enum kv_family family, int (*each)(void *arg, const struct kv_table *table), void *arg)
{
	if (!kv_enter(kv))
		return -EIO;
	const rocksdb_livefiles_t *live = rocksdb_livefiles(kv->db);
	kv_leave(kv);
	int count = rocksdb_livefiles_count(live), result = 0;

	for (int i = 0; i < count && result == 0; i++) {
		struct kv_table table = {.bytes = rocksdb_livefiles_size(live, i), .level = rocksdb_livefiles_level(live, i)};
		uint64_t entries = rocksdb_livefiles_entries(live, i);
		if (strcmp(rocksdb_livefiles_column_family_name(live, i), kv_family_names[family]) != 0)
			continue;
		table.removals = MIN(rocksdb_livefiles_deletions(live, i), entries);
		table.records = entries - table.removals;
		table.first = (const uint8_t *)rocksdb_livefiles_smallestkey(live, i, &table.first_len);
		table.last = (const uint8_t *)rocksdb_livefiles_largestkey(live, i, &table.last_len);
		result = each(arg, &table);
	}
	rocksdb_livefiles_destroy(live);
	return result;
}

/* Of the keys of a table, both ends included. */
struct span {
	struct buf first, last;
};

struct spans {
	ARRAY_FIELDS(struct span);
};

static int add_table(void *arg, const struct kv_table *table)
{
	struct spans *spans = arg;
	struct span *span = array_new(spans);

	*span = (struct span){0};
	buf_add(&span->first, table->first, table->first_len);
	buf_add(&span->last, table->last, table->last_len);
	return 0;
}

static void spans_clear(struct spans *spans)
{
	for (size_t i = 0; i < spans->count; i++) {
		buf_clear(&spans->items[i].first);
		buf_clear(&spans->items[i].last);
	}
	array_clear(spans);
}

static int compare(const struct buf *a, const struct buf *b)
{
	return bytes_compare(a->data, a->len, b->data, b->len);
}

static void set_to(struct buf *buf, const struct buf *value)
{
	buf_reset(buf);
	buf_add(buf, value->data, value->len);
}

/* A merge takes in every table that overlaps one which it has. An empty end: there is none. */
static bool widen(const struct spans *spans, struct buf *first, struct buf *last)
{
	bool wider = false;

	for (size_t i = 0; i < spans->count; i++) {
		const struct span *span = &spans->items[i];
		if ((last->len && compare(&span->first, last) > 0) || compare(&span->last, first) < 0)
			continue;
		if (first->len && compare(&span->first, first) < 0) {
			set_to(first, &span->first);
			wider = true;
		}
		if (last->len && compare(&span->last, last) > 0) {
			set_to(last, &span->last);
			wider = true;
		}
	}
	return wider;
}

/* Range deletions are not heeded: they would hide whole blocks, which a merge reads all the same. */
static int read_whole(struct kv *kv, enum kv_family family, const struct buf *first, struct buf *last)
{
	rocksdb_iterator_t *iter;
	char *message = NULL;

	if (!kv_enter(kv))
		return -EIO;
	rocksdb_readoptions_t *options = rocksdb_readoptions_create();
	rocksdb_readoptions_set_ignore_range_deletions(options, 1);
	rocksdb_readoptions_set_fill_cache(options, 0);
	rocksdb_readoptions_set_readahead_size(options, READAHEAD);
	if (last->len) {
		buf_add_u8(last, 0); /* the bound is excluded */
		rocksdb_readoptions_set_iterate_upper_bound(options, (const char *)last->data, last->len);
	}
	iter = rocksdb_create_iterator_cf(kv->db, options, kv->handles[family]);
	for (rocksdb_iter_seek(iter, (const char *)first->data, first->len); rocksdb_iter_valid(iter); rocksdb_iter_next(iter))
		;
	rocksdb_iter_get_error(iter, &message);
	rocksdb_iter_destroy(iter);
	rocksdb_readoptions_destroy(options);
	kv_leave(kv);
	return kv_result_of(kv, family, message);
}

int damage_verify(struct kv *kv, enum kv_family family, const void *first, size_t first_len, const void *end, size_t end_len)
{
	AUTO_BUF from = BUF_INIT;
	AUTO_BUF to = BUF_INIT;
	struct spans spans = {0};
	int result = kv_each_table(kv, family, add_table, &spans);

	buf_add(&from, first, first_len);
	buf_add(&to, end, end_len);
	while (result == 0 && widen(&spans, &from, &to))
		;
	if (result == 0)
		result = read_whole(kv, family, &from, &to);
	spans_clear(&spans);
	return result;
}
