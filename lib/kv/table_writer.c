#include "lib/kv/table_writer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* inlined: the state of a streamed hash is no part of the shared library's interface */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "lib/base/array.h"
#include "lib/base/buf.h"
#include "lib/base/direct_file.h"

#define INNER_LEN 8 /* behind a key */
#define INNER_VALUE 1
#define TYPE_PLAIN 0
#define CHECKSUM_XXH3 4
#define FORMAT 5
#define MAGIC 0x88e241b785f4cff7ULL
#define FOOTER_HANDLES_END 41 /* of the footer: the checksum's type, and room for the two places */
#define INDEX_RESTART 16
#define TRAILER_LEN 5
#define SESSION_LEN 20 /* characters of the name by which RocksDB knows a table from all others */

/* Where a block lies; the length is without the trailer. */
struct place {
	uint64_t offset, len;
};

/* A block of many short entries. */
struct entries {
	struct buf bytes, last_key;
	ARRAY(uint32_t) restarts;
	size_t count;
};

struct table_writer {
	struct direct_file *file;
	uint64_t size; /* so far */
	uint64_t count, key_bytes, value_bytes;
	struct place last; /* data block */
	struct entries index;
	struct buf last_key;
};

static void add_varint(struct buf *buf, uint64_t value)
{
	for (; value >= 0x80; value >>= 7)
		buf_add_u8(buf, (uint8_t)(value | 0x80));
	buf_add_u8(buf, (uint8_t)value);
}

static void add_place(struct buf *buf, struct place place)
{
	add_varint(buf, place.offset);
	add_varint(buf, place.len);
}

static int add(struct table_writer *writer, const void *data, size_t len)
{
	writer->size += len;
	return direct_file_add(writer->file, data, len);
}

/* What follows a block of this hash. */
static int add_trailer(struct table_writer *writer, uint64_t hash)
{
	AUTO_BUF trailer = BUF_INIT;

	buf_add_u8(&trailer, TYPE_PLAIN);
	buf_add_le32(&trailer, (uint32_t)hash);
	return add(writer, trailer.data, trailer.len);
}

/* --- blocks of many entries --- */

static void entries_clear(struct entries *entries)
{
	buf_clear(&entries->bytes);
	buf_clear(&entries->last_key);
	array_clear(&entries->restarts);
}

static size_t shared_len(const struct buf *last, const void *key, size_t len)
{
	const uint8_t *bytes = key;
	size_t shared = 0;

	while (shared < MIN(last->len, len) && last->data[shared] == bytes[shared])
		shared++;
	return shared;
}

/* Begins an entry: how much of its key it shares with the one before, and how long the rest is. */
static size_t entries_begin(struct entries *entries, size_t restart, const void *key, size_t len)
{
	const bool is_restart = entries->count++ % restart == 0;
	const size_t shared = is_restart ? 0 : shared_len(&entries->last_key, key, len);

	if (is_restart)
		array_add(&entries->restarts, (uint32_t)entries->bytes.len);
	add_varint(&entries->bytes, shared);
	add_varint(&entries->bytes, len - shared);
	buf_reset(&entries->last_key);
	buf_add(&entries->last_key, key, len);
	return shared;
}

static int entries_end(struct entries *entries, struct table_writer *writer, struct place *ret_place)
{
	struct buf *bytes = &entries->bytes;
	int ret;

	for (size_t i = 0; i < entries->restarts.count; i++)
		buf_add_le32(bytes, entries->restarts.items[i]);
	buf_add_le32(bytes, (uint32_t)entries->restarts.count);
	*ret_place = (struct place){writer->size, bytes->len};
	ret = add(writer, bytes->data, bytes->len);
	return ret ? ret : add_trailer(writer, XXH3_64bits(bytes->data, bytes->len));
}

static void index_add(struct table_writer *writer, const void *key, size_t len, struct place place)
{
	struct entries *index = &writer->index;
	const size_t shared = entries_begin(index, INDEX_RESTART, key, len);
	const int64_t longer = (int64_t)(place.len - writer->last.len);

	buf_add(&index->bytes, (const uint8_t *)key + shared, len - shared);
	if (shared)
		add_varint(&index->bytes, (uint64_t)longer << 1 ^ (uint64_t)(longer >> 63));
	else
		add_place(&index->bytes, place);
	writer->last = place;
}

static void add_pair(struct entries *entries, const char *name, const void *value, size_t len)
{
	const size_t shared = entries_begin(entries, 1, name, strlen(name));

	add_varint(&entries->bytes, len);
	buf_add(&entries->bytes, name + shared, strlen(name) - shared);
	buf_add(&entries->bytes, value, len);
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
	*ret_writer = writer;
	return 0;
}

void table_writer_free(struct table_writer *writer)
{
	if (!writer)
		return;
	direct_file_free(writer->file);
	entries_clear(&writer->index);
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
	const uint64_t start = writer->size;
	AUTO_BUF begin = BUF_INIT, end = BUF_INIT;
	XXH3_state_t hash = {0}; /* reset looks at what the state held before */
	int ret;

	if (!ascends(writer, key, key_len))
		return -EINVAL;
	buf_reset(&writer->last_key);
	buf_add(&writer->last_key, key, key_len);
	add_varint(&begin, 0);
	add_varint(&begin, key_len + INNER_LEN);
	add_varint(&begin, head_len + tail_len);
	buf_add(&begin, key, key_len);
	buf_add_le64(&begin, INNER_VALUE);
	buf_add(&begin, head, head_len);
	buf_add_le32(&end, 0);
	buf_add_le32(&end, 1);
	XXH3_64bits_reset(&hash);
	XXH3_64bits_update(&hash, begin.data, begin.len);
	XXH3_64bits_update(&hash, tail, tail_len);
	XXH3_64bits_update(&hash, end.data, end.len);
	ret = add(writer, begin.data, begin.len);
	if (!ret)
		ret = add(writer, tail, tail_len);
	if (!ret)
		ret = add(writer, end.data, end.len);
	index_add(writer, key, key_len, (struct place){start, writer->size - start});
	writer->count++;
	writer->key_bytes += key_len + INNER_LEN;
	writer->value_bytes += head_len + tail_len;
	return ret ? ret : add_trailer(writer, XXH3_64bits_digest(&hash));
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

static int add_properties(struct table_writer *writer, uint64_t data_len, uint64_t index_len, struct place *ret_place)
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
	struct entries entries = {0};

	for (size_t i = 0; i < ARRAY_SIZE(properties); i++) {
		AUTO_BUF value = BUF_INIT;

		if (properties[i].text)
			buf_add(&value, properties[i].text, properties[i].text_len);
		else
			add_varint(&value, properties[i].number);
		add_pair(&entries, properties[i].name, value.data, value.len);
	}
	if (!ret)
		ret = entries_end(&entries, writer, ret_place);
	entries_clear(&entries);
	return ret;
}

static int add_metaindex(struct table_writer *writer, struct place properties, struct place *ret_place)
{
	struct entries entries = {0};
	AUTO_BUF place = BUF_INIT;
	int ret;

	add_place(&place, properties);
	add_pair(&entries, "rocksdb.properties", place.data, place.len);
	ret = entries_end(&entries, writer, ret_place);
	entries_clear(&entries);
	return ret;
}

static int add_footer(struct table_writer *writer, struct place metaindex, struct place index)
{
	AUTO_BUF footer = BUF_INIT;

	buf_add_u8(&footer, CHECKSUM_XXH3);
	add_place(&footer, metaindex);
	add_place(&footer, index);
	while (footer.len < FOOTER_HANDLES_END)
		buf_add_u8(&footer, 0);
	buf_add_le32(&footer, FORMAT);
	buf_add_le64(&footer, MAGIC);
	return add(writer, footer.data, footer.len);
}

int table_writer_finish(struct table_writer *writer)
{
	const uint64_t data_len = writer->size;
	struct place index, properties, metaindex;
	int ret = entries_end(&writer->index, writer, &index);

	if (!ret)
		ret = add_properties(writer, data_len, index.len + TRAILER_LEN, &properties);
	if (!ret)
		ret = add_metaindex(writer, properties, &metaindex);
	if (!ret)
		ret = add_footer(writer, metaindex, index);
	return ret ? ret : direct_file_end(writer->file);
}
