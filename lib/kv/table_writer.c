#include "lib/kv/table_writer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* inlined: the state of a streamed hash is no part of the shared library's interface */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "lib/base/buf.h"
#include "lib/base/direct_file.h"
#include "lib/kv/table_footer.h"

#define INNER_VALUE 1
#define INDEX_RESTART 16
#define SESSION_LEN 20 /* characters of the name by which RocksDB knows a table from all others */

struct table_writer {
	struct direct_file *file;
	uint64_t size; /* so far */
	uint64_t count, key_bytes, value_bytes;
	struct block_maker index;
	struct buf last_key;
};

static int add(struct table_writer *writer, const void *data, size_t len)
{
	writer->size += len;
	return direct_file_add(writer->file, data, len);
}

static int add_block(struct table_writer *writer, struct block_maker *maker, struct block_handle *ret_handle)
{
	AUTO_BUF block = BUF_INIT;

	block_maker_end(maker);
	ret_handle->offset = writer->size;
	block_append(&maker->bytes, false, &block, ret_handle);
	return add(writer, block.data, block.len);
}

/* --- values --- */

int table_writer_new(const char *path, struct table_writer **ret_writer)
{
	struct table_writer *writer = xcalloc(1, sizeof(*writer));
	int ret = direct_file_new(path, &writer->file);

	if (ret) {
		free(writer);
		return ret;
	}
	writer->index.interval = INDEX_RESTART;
	*ret_writer = writer;
	return 0;
}

void table_writer_free(struct table_writer *writer)
{
	if (!writer)
		return;
	direct_file_free(writer->file);
	block_maker_clear(&writer->index);
	buf_clear(&writer->last_key);
	free(writer);
}

uint64_t table_writer_count(const struct table_writer *writer)
{
	return writer->count;
}

static bool ascends(const struct table_writer *writer, const void *key, size_t len)
{
	const struct buf *last = &writer->last_key;
	return !writer->count || bytes_compare(last->data, last->len, key, len) < 0;
}

int table_writer_put(struct table_writer *writer, const void *key, size_t key_len, const void *head, size_t head_len, const void *tail,
		     size_t tail_len)
{
	struct block_handle place = {.offset = writer->size};
	AUTO_BUF begin = BUF_INIT, end = BUF_INIT;
	XXH3_state_t hash = {0}; /* reset looks at what the state held before */
	int ret;

	if (!ascends(writer, key, key_len))
		return -EINVAL;
	buf_reset(&writer->last_key);
	buf_add(&writer->last_key, key, key_len);
	block_varint_add(&begin, 0);
	block_varint_add(&begin, key_len + BLOCK_KEY_TAIL);
	block_varint_add(&begin, head_len + tail_len);
	buf_add(&begin, key, key_len);
	buf_add_le64(&begin, INNER_VALUE);
	buf_add(&begin, head, head_len);
	buf_add_le32(&end, 0);
	buf_add_le32(&end, 1);
	XXH3_64bits_reset(&hash);
	XXH3_64bits_update(&hash, begin.data, begin.len);
	XXH3_64bits_update(&hash, tail, tail_len);
	XXH3_64bits_update(&hash, end.data, end.len);
	place.len = begin.len + tail_len + end.len;
	block_trailer_add(&end, BLOCK_PLAIN, XXH3_64bits_digest(&hash));
	ret = add(writer, begin.data, begin.len);
	if (!ret)
		ret = add(writer, tail, tail_len);
	if (!ret)
		ret = add(writer, end.data, end.len);
	block_maker_add_handle(&writer->index, &writer->last_key, &place);
	writer->count++;
	writer->key_bytes += key_len + BLOCK_KEY_TAIL;
	writer->value_bytes += head_len + tail_len;
	return ret;
}

/* --- the end --- */

struct property {
	const char *name;
	const char *text; /* NULL: a number */
	size_t text_len;
	uint64_t number;
};

static int make_session(char session[SESSION_LEN])
{
	uint8_t random[SESSION_LEN];

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return -EIO;
	for (size_t i = 0; i < SESSION_LEN; i++)
		session[i] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[random[i] % 36];
	return 0;
}

#define NUMBER(of, value) {.name = "rocksdb." of, .number = (value)}
#define TEXT(of, value, len) {.name = "rocksdb." of, .text = (value), .text_len = (len)}

static int add_properties(struct table_writer *writer, uint64_t data_len, uint64_t index_len, struct block_handle *ret_handle)
{
	static const char comparator[] = "leveldb.BytewiseComparator", maker[] = "SST Writer", plain[] = "NoCompression";
	char session[SESSION_LEN];
	int ret = make_session(session);
	const struct property properties[] = {
		TEXT("block.based.table.index.type", "\0\0\0", 4),
		TEXT("block.based.table.prefix.filtering", "0", 1),
		TEXT("block.based.table.whole.key.filtering", "1", 1),
		TEXT("comparator", comparator, sizeof(comparator) - 1),
		TEXT("compression", plain, sizeof(plain) - 1),
		TEXT("creating.db.identity", maker, sizeof(maker) - 1),
		TEXT("creating.session.identity", session, sizeof(session)),
		NUMBER("data.size", data_len),
		TEXT("external_sst_file.global_seqno", "\0\0\0\0\0\0\0", 8),
		TEXT("external_sst_file.version", "\2\0\0", 4),
		NUMBER("filter.size", 0),
		NUMBER("fixed.key.length", 0),
		NUMBER("format.version", 0),
		NUMBER("index.key.is.user.key", 1),
		NUMBER("index.size", index_len),
		NUMBER("index.value.is.delta.encoded", 1),
		NUMBER("num.data.blocks", writer->count),
		NUMBER("num.entries", writer->count),
		NUMBER("original.file.number", 1),
		NUMBER("raw.key.size", writer->key_bytes),
		NUMBER("raw.value.size", writer->value_bytes),
	};
	struct block_maker block = {0};

	for (size_t i = 0; i < ARRAY_SIZE(properties); i++) {
		AUTO_BUF value = BUF_INIT;

		if (properties[i].text)
			buf_add(&value, properties[i].text, properties[i].text_len);
		else
			block_varint_add(&value, properties[i].number);
		block_maker_add(&block, properties[i].name, strlen(properties[i].name), value.data, value.len);
	}
	if (!ret)
		ret = add_block(writer, &block, ret_handle);
	block_maker_clear(&block);
	return ret;
}

static int add_metaindex(struct table_writer *writer, const struct block_handle *properties, struct block_handle *ret_handle)
{
	static const char name[] = "rocksdb.properties";
	struct block_maker maker = {0};
	AUTO_BUF place = BUF_INIT;
	int ret;

	block_handle_add(&place, properties);
	block_maker_add(&maker, name, sizeof(name) - 1, place.data, place.len);
	ret = add_block(writer, &maker, ret_handle);
	block_maker_clear(&maker);
	return ret;
}

int table_writer_finish(struct table_writer *writer)
{
	const uint64_t data_len = writer->size;
	struct block_handle properties;
	struct table_footer footer;
	AUTO_BUF end = BUF_INIT;
	int ret = add_block(writer, &writer->index, &footer.index);

	if (!ret)
		ret = add_properties(writer, data_len, footer.index.len + BLOCK_TRAILER, &properties);
	if (!ret)
		ret = add_metaindex(writer, &properties, &footer.metaindex);
	if (ret)
		return ret;
	table_footer_add(&end, &footer);
	ret = add(writer, end.data, end.len);
	return ret ? ret : direct_file_end(writer->file);
}
