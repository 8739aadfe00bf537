#include "lib/kv/table_mend.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/file.h"

#define PIECE (1U << 20)
#define PAGE 4096U
#define PROPERTIES "rocksdb.properties"

/* What follows the data. */
struct tail {
	const struct table_look *look;
	int from;
	struct buf bytes;
	struct block_maker metaindex;
	struct table_footer footer;
};

static uint64_t place(const struct tail *tail)
{
	return tail->look->data_end + tail->bytes.len;
}

static void append(struct tail *tail, struct block_maker *maker, bool pack, struct block_handle *ret_handle)
{
	block_maker_end(maker);
	ret_handle->offset = place(tail);
	block_append(&maker->bytes, pack, &tail->bytes, ret_handle);
}

static void add_meta(struct tail *tail, const char *name, const struct block_handle *handle)
{
	AUTO_BUF value = BUF_INIT;

	block_handle_add(&value, handle);
	block_maker_add(&tail->metaindex, name, strlen(name), value.data, value.len);
}

/* --- the meta blocks --- */

static int copy_meta(struct tail *tail, const struct table_meta *meta)
{
	const struct block_handle handle = {place(tail), meta->handle.len};
	const size_t len = meta->handle.len + BLOCK_TRAILER;

	buf_reserve(&tail->bytes, len);
	if (lseek(tail->from, (off_t)meta->handle.offset, SEEK_SET) < 0)
		return -errno;
	int result = file_read_all(tail->from, tail->bytes.data + tail->bytes.len, len);
	if (result < 0)
		return result;
	tail->bytes.len += len;
	add_meta(tail, meta->name, &handle);
	return 0;
}

/* The least that RocksDB must know: how the index is written. */
static void make_properties(struct tail *tail)
{
	static const char *const names[] = {"rocksdb.index.key.is.user.key", "rocksdb.index.value.is.delta.encoded"};
	struct block_maker maker = {0};
	struct block_handle handle;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const uint8_t value = i > 0 || tail->look->user_keys;
		block_maker_add(&maker, names[i], strlen(names[i]), &value, 1);
	}
	append(tail, &maker, false, &handle);
	add_meta(tail, PROPERTIES, &handle);
	block_maker_clear(&maker);
}

/* In the order of their names. */
static int add_metas(struct tail *tail)
{
	const struct table_look *look = tail->look;
	bool has_properties = false;
	int result = 0;

	for (size_t i = 0; i < look->metas.count && result == 0; i++) {
		const struct table_meta *meta = &look->metas.items[i];
		const int order = strcmp(meta->name, PROPERTIES);
		if (order > 0 && !has_properties) {
			make_properties(tail);
			has_properties = true;
		}
		if (!meta->whole)
			continue;
		has_properties |= order == 0;
		result = copy_meta(tail, meta);
	}
	if (result == 0 && !has_properties)
		make_properties(tail);
	return result;
}

/* --- the index --- */

static void add_mark(struct tail *tail, struct block_maker *index, const struct buf *first)
{
	static const uint8_t oldest_removal[BLOCK_KEY_TAIL] = {0};
	struct block_maker maker = {0};
	struct block_handle handle;
	AUTO_BUF key = BUF_INIT;

	buf_add(&key, first->data, first->len);
	buf_add(&key, oldest_removal, sizeof(oldest_removal));
	block_maker_add(&maker, key.data, key.len, NULL, 0);
	append(tail, &maker, false, &handle);
	block_maker_add_handle(index, tail->look->user_keys ? first : &key, &handle);
	block_maker_clear(&maker);
}

static void add_index(struct tail *tail, const struct buf *first)
{
	const struct table_look *look = tail->look;
	struct block_maker index = {0};
	bool any = false;

	for (size_t i = 0; i < look->parts.count; i++) {
		const struct table_part *part = &look->parts.items[i];
		if (part->whole)
			block_maker_add_handle(&index, &part->key, &part->handle);
		any |= part->whole;
	}
	if (!any)
		add_mark(tail, &index, first);
	append(tail, &index, look->packed, &tail->footer.index);
	block_maker_clear(&index);
}

/* --- all of it --- */

/* What lies between the tail and the footer belongs to nobody. */
static int end_tail(struct tail *tail)
{
	const uint64_t end = tail->look->bytes - TABLE_FOOTER;

	if (place(tail) > end)
		return -EFBIG;
	buf_reserve(&tail->bytes, end - place(tail) + TABLE_FOOTER);
	memset(tail->bytes.data + tail->bytes.len, 0, end - place(tail));
	tail->bytes.len += end - place(tail);
	table_footer_add(&tail->bytes, &tail->footer);
	return 0;
}

static int make_tail(struct tail *tail, const struct buf *first, bool with_metas)
{
	int result = 0;

	buf_reset(&tail->bytes);
	block_maker_clear(&tail->metaindex);
	tail->metaindex = (struct block_maker){0};
	if (with_metas)
		result = add_metas(tail);
	else
		make_properties(tail);
	if (result < 0)
		return result;
	add_index(tail, first);
	append(tail, &tail->metaindex, false, &tail->footer.metaindex);
	return end_tail(tail);
}

/* Blocks that are not whole are copied, too, and nothing leads to them. */
static int copy_data(const struct table_look *look, int from, int to)
{
	AUTO_BUF piece = BUF_INIT;
	uint64_t at = 0;
	size_t step = PIECE;
	int result = 0;

	buf_reserve(&piece, PIECE);
	while (at < look->data_end && result == 0) {
		const size_t len = (size_t)MIN(look->data_end - at, step);
		ssize_t got = pread(from, piece.data, len, (off_t)at);
		if (got < 0 && errno == EINTR)
			continue;
		/* What the disk cannot read is part of what is not whole. */
		if (got <= 0 && step > PAGE) {
			step = PAGE;
			continue;
		}
		if (got <= 0) {
			memset(piece.data, 0, len);
			got = (ssize_t)len;
		} else if (at % PIECE == 0) {
			step = PIECE;
		}
		result = file_write_all(to, piece.data, (size_t)got);
		at += (uint64_t)got;
	}
	return result;
}

int table_mend(const struct table_look *look, int from, int to, const struct buf *first, bool *ret_named)
{
	struct tail tail = {.look = look, .from = from};
	bool named = look->named;
	int result = make_tail(&tail, first, true);

	/* Filters and figures can be done without. */
	if (result == -EFBIG) {
		named = false;
		result = make_tail(&tail, first, false);
	}
	if (result == 0)
		result = copy_data(look, from, to);
	if (result == 0)
		result = file_write_all(to, tail.bytes.data, tail.bytes.len);
	if (result == 0 && fsync(to) < 0)
		result = -errno;
	buf_clear(&tail.bytes);
	block_maker_clear(&tail.metaindex);
	if (result == 0)
		*ret_named = named;
	return result;
}
