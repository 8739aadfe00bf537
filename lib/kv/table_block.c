#include "lib/kv/table_block.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <lz4.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "lib/kv/manifest.h"

#define TYPE_PRIME 0x6b9083d9U
#define RESTART_INTERVAL 32U /* twice that of RocksDB, so that an index with gaps is not longer than it was */

uint32_t block_type_sum(uint8_t type)
{
	return type * TYPE_PRIME;
}

uint32_t block_checksum(const uint8_t *bytes, size_t len, uint8_t type)
{
	return (uint32_t)XXH3_64bits(bytes, len) ^ block_type_sum(type);
}

void block_trailer_add(struct buf *out, uint8_t type, uint64_t hash)
{
	buf_add_u8(out, type);
	buf_add_le32(out, (uint32_t)hash ^ block_type_sum(type));
}

bool block_is_whole(const uint8_t *bytes, size_t len)
{
	struct reader reader = reader_over(bytes + len + 1, sizeof(uint32_t));

	return read_le32(&reader) == block_checksum(bytes, len, bytes[len]);
}

int block_unpack(const uint8_t *bytes, size_t len, struct buf *plain)
{
	struct reader reader = reader_over(bytes, len);

	buf_reset(plain);
	if (bytes[len] == BLOCK_PLAIN) {
		buf_add(plain, bytes, len);
		return 0;
	}
	if (bytes[len] != BLOCK_LZ4)
		return -ENOTSUP;
	const uint64_t raw = manifest_varint(&reader);
	if (reader.bad || raw > BLOCK_RAW_MAX || reader.left > BLOCK_RAW_MAX)
		return -EBADMSG;
	buf_reserve(plain, raw);
	if (LZ4_decompress_safe((const char *)reader.at, (char *)plain->data, (int)reader.left, (int)raw) != (int)raw)
		return -EBADMSG;
	plain->len = raw;
	return 0;
}

static bool pack(const struct buf *plain, struct buf *packed)
{
	const int room = LZ4_compressBound((int)plain->len);
	int len;

	block_varint_add(packed, plain->len);
	buf_reserve(packed, (size_t)room);
	len = LZ4_compress_default((const char *)plain->data, (char *)packed->data + packed->len, (int)plain->len, room);
	packed->len += (size_t)MAX(len, 0);
	return len > 0 && packed->len < plain->len;
}

void block_append(const struct buf *plain, bool may_pack, struct buf *out, struct block_handle *ret_handle)
{
	AUTO_BUF packed = BUF_INIT;
	const bool is_packed = may_pack && plain->len > 0 && plain->len < BLOCK_RAW_MAX && pack(plain, &packed);
	const struct buf *bytes = is_packed ? &packed : plain;
	const uint8_t type = is_packed ? BLOCK_LZ4 : BLOCK_PLAIN;

	buf_add(out, bytes->data, bytes->len);
	block_trailer_add(out, type, XXH3_64bits(bytes->data, bytes->len));
	ret_handle->len = bytes->len;
}

/* --- entries --- */

int block_iter_begin(struct block_iter *iter, const struct buf *plain, bool deltas)
{
	struct reader count;

	*iter = (struct block_iter){.deltas = deltas};
	if (plain->len < sizeof(uint32_t))
		return -EBADMSG;
	count = reader_over(plain->data + plain->len - sizeof(uint32_t), sizeof(uint32_t));
	const uint64_t end = ((uint64_t)read_le32(&count) + 1) * sizeof(uint32_t);
	if (end > plain->len)
		return -EBADMSG;
	iter->reader = reader_over(plain->data, plain->len - end);
	return 0;
}

void block_iter_clear(struct block_iter *iter)
{
	buf_clear(&iter->key);
}

int block_handle_read(struct reader *reader, struct block_handle *ret_handle)
{
	ret_handle->offset = manifest_varint(reader);
	ret_handle->len = manifest_varint(reader);
	return reader->bad || ret_handle->offset > INT64_MAX || ret_handle->len > INT64_MAX / 2 ? -EBADMSG : 0;
}

static int read_delta(struct block_iter *iter, bool is_shared)
{
	uint64_t delta;

	if (!is_shared)
		return block_handle_read(&iter->reader, &iter->handle);
	delta = manifest_varint(&iter->reader);
	delta = (delta >> 1) ^ (~(delta & 1) + 1);
	iter->handle.offset += iter->handle.len + BLOCK_TRAILER;
	iter->handle.len += delta;
	return iter->reader.bad || iter->handle.offset > INT64_MAX || iter->handle.len > INT64_MAX / 2 ? -EBADMSG : 0;
}

int block_iter_next(struct block_iter *iter)
{
	struct reader *reader = &iter->reader;

	if (reader->left == 0)
		return 0;
	const uint64_t shared = manifest_varint(reader), rest = manifest_varint(reader);
	const uint64_t value_len = iter->deltas ? 0 : manifest_varint(reader);
	const uint8_t *key = read_bytes(reader, rest);
	if (!key || shared > iter->key.len)
		return -EBADMSG;
	iter->key.len = shared;
	buf_add(&iter->key, key, rest);
	if (iter->deltas)
		return read_delta(iter, shared > 0) < 0 ? -EBADMSG : 1;
	iter->value = read_bytes(reader, value_len);
	iter->value_len = value_len;
	return iter->value ? 1 : -EBADMSG;
}

/* --- making them --- */

void block_varint_add(struct buf *out, uint64_t value)
{
	for (; value >= 0x80; value >>= 7)
		buf_add_u8(out, (uint8_t)(value | 0x80));
	buf_add_u8(out, (uint8_t)value);
}

void block_handle_add(struct buf *out, const struct block_handle *handle)
{
	block_varint_add(out, handle->offset);
	block_varint_add(out, handle->len);
}

static void begin_restart(struct block_maker *maker)
{
	buf_add_le32(&maker->restarts, (uint32_t)maker->bytes.len);
	maker->restart_count++;
	maker->since_restart = 0;
}

void block_maker_add(struct block_maker *maker, const void *key, size_t key_len, const void *value, size_t value_len)
{
	begin_restart(maker);
	block_varint_add(&maker->bytes, 0);
	block_varint_add(&maker->bytes, key_len);
	block_varint_add(&maker->bytes, value_len);
	buf_add(&maker->bytes, key, key_len);
	buf_add(&maker->bytes, value, value_len);
}

static size_t shared_len(const struct block_maker *maker, const struct buf *key, const struct block_handle *handle)
{
	const struct buf *last = &maker->last_key;
	size_t shared = 0;

	if (maker->restart_count == 0 || maker->since_restart >= (maker->interval ? maker->interval : RESTART_INTERVAL) ||
	    handle->offset != maker->last.offset + maker->last.len + BLOCK_TRAILER)
		return 0;
	while (shared < key->len && shared < last->len && key->data[shared] == last->data[shared])
		shared++;
	return shared;
}

void block_maker_add_handle(struct block_maker *maker, const struct buf *key, const struct block_handle *handle)
{
	const size_t shared = shared_len(maker, key, handle);
	const int64_t delta = (int64_t)(handle->len - maker->last.len);

	if (shared == 0)
		begin_restart(maker);
	maker->since_restart++;
	block_varint_add(&maker->bytes, shared);
	block_varint_add(&maker->bytes, key->len - shared);
	buf_add(&maker->bytes, key->data + shared, key->len - shared);
	if (shared == 0)
		block_handle_add(&maker->bytes, handle);
	else
		block_varint_add(&maker->bytes, ((uint64_t)delta << 1) ^ (delta < 0 ? UINT64_MAX : 0));
	buf_reset(&maker->last_key);
	buf_add(&maker->last_key, key->data, key->len);
	maker->last = *handle;
}

void block_maker_end(struct block_maker *maker)
{
	if (maker->restart_count == 0)
		begin_restart(maker);
	buf_add(&maker->bytes, maker->restarts.data, maker->restarts.len);
	buf_add_le32(&maker->bytes, maker->restart_count);
}

void block_maker_clear(struct block_maker *maker)
{
	buf_clear(&maker->bytes);
	buf_clear(&maker->restarts);
	buf_clear(&maker->last_key);
}
