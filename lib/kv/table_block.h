/*
 * One block of a table file, as RocksDB's block-based tables have them (block_based_table_builder.cc, block_builder.cc, format.cc):
 *
 *   block    = bytes | type u8 (0 plain, 4 LZ4) | checksum u32 LE: XXH3-64 of the bytes, the low half, xor type * 0x6b9083d9
 *   LZ4      = plain length varint | LZ4 block
 *   plain    = entry+ | restart u32 LE * n | n u32 LE
 *   entry    = shared varint | rest varint | value length varint | rest of the key | value
 *   of an index whose handles are deltas, an entry has no value length, and the value is a handle if nothing of the key is shared, else
 *   the difference, zigzag, of its size to that of the block before it, behind which it lies
 *   handle   = offset varint | length varint, without type and checksum
 *
 * Other checksums and other compressions are not of our tables: -ENOTSUP. Internal to lib/kv; any thread.
 */
#ifndef CORPUSFS_KV_TABLE_BLOCK_H
#define CORPUSFS_KV_TABLE_BLOCK_H

#include "lib/base/buf.h"

#define BLOCK_TRAILER 5U
#define BLOCK_KEY_TAIL 8U /* that a key has in a block, behind what it is outside: sequence number and type */
#define BLOCK_PLAIN 0
#define BLOCK_LZ4 4
#define BLOCK_RAW_MAX (64U << 20) /* of a block that is unpacked */

struct block_handle {
	uint64_t offset, len;
};

uint32_t block_type_sum(uint8_t type); /* what the type adds to the checksum */
uint32_t block_checksum(const uint8_t *bytes, size_t len, uint8_t type);

/* Whether what lies at the handle, `bytes` of len + BLOCK_TRAILER, is what was written. */
bool block_is_whole(const uint8_t *bytes, size_t len);

/* Unpacks a whole block into `plain`, which it replaces. -EBADMSG, -ENOTSUP. */
WARN_UNUSED int block_unpack(const uint8_t *bytes, size_t len, struct buf *plain);

/* The trailer of a block whose bytes have this XXH3-64. */
void block_trailer_add(struct buf *out, uint8_t type, uint64_t hash);
/* Appends the block with its trailer, packed if that makes it smaller. *ret_handle: its offset is left alone. */
void block_append(const struct buf *plain, bool pack, struct buf *out, struct block_handle *ret_handle);

/* The entries of an unpacked block, one after the other. */
struct block_iter {
	struct reader reader;
	bool deltas;   /* it is an index of deltas */
	struct buf key; /* owned */
	const uint8_t *value;
	size_t value_len;
	struct block_handle handle; /* with deltas */
};
WARN_UNUSED int block_iter_begin(struct block_iter *iter, const struct buf *plain, bool deltas); /* -EBADMSG */
WARN_UNUSED int block_iter_next(struct block_iter *iter); /* 1: there is one; 0: the end; -EBADMSG */
void block_iter_clear(struct block_iter *iter);

WARN_UNUSED int block_handle_read(struct reader *reader, struct block_handle *ret_handle); /* -EBADMSG */
void block_handle_add(struct buf *out, const struct block_handle *handle);
void block_varint_add(struct buf *out, uint64_t value);

/* A block in the making; keys in order. */
struct block_maker {
	struct buf bytes;
	struct buf restarts; /* u32 each */
	uint32_t restart_count, since_restart;
	uint32_t interval; /* of an index: a restart at each so many entries; 0: at few */
	struct buf last_key;
	struct block_handle last;
};
void block_maker_add(struct block_maker *maker, const void *key, size_t key_len, const void *value, size_t value_len);
/* Of an index of deltas. Keys share what they can, as far as the blocks lie side by side. */
void block_maker_add_handle(struct block_maker *maker, const struct buf *key, const struct block_handle *handle);
void block_maker_end(struct block_maker *maker); /* `bytes` is the plain block */
void block_maker_clear(struct block_maker *maker);

#endif
