/*
 * Values of the store: this header is their specification. Bodies are little-endian and start with a version byte (1) unless said
 * otherwise. Decoders check every bound, accept nothing of a newer version, and answer -EBADMSG for anything they do not understand.
 *
 * A tree value of zero bytes is a tombstone.
 *
 * inode    u8 version | u8 flags (1 = the content is inline) | u16 reserved | u32 mode | u32 uid | u32 gid | u32 nlink | u64 size |
 *          u64 allocated | u64 rdev | u64 parent | 4 x (i64 s, u32 ns): atime mtime ctime btime | u64 content | u32 length, bytes of the
 *          symlink's target. parent: of a directory, the one above it; of others a hint, the directory where they got their last name,
 *          which may be gone again. content: the epoch of the newest version of the content record, 0: there is none; without flag 1
 *          that version is a tombstone
 * content  u8 version | bytes: the inline content of a small regular file, `allocated` of them
 * xattr    u8 version | value
 * extent   u8 version | u32 length | u64 chunk (key.h: chunk ids) | u32 offset in chunk; version 1 reaches the chunk's end, version 2 does not:
 *          | u32 plain length of the chunk
 * entry    u8 version | u64 inode | u8 type (DT_*)
 * chunk    u64 checksum: XXH3-64, seeded with the chunk id, of all that follows | u8 version | u8 codec (0 plain, 1 zstd) | u8 hash |
 *          u8 cipher | u32 plain length | 32 bytes identity of the plain bytes | stored bytes
 * dedup    u8 version | u8 hash | u64 chunk | u32 plain length
 * damage   u8 version | i64 seconds: found | u64 chunk with the same plain bytes that stands for it; 0: none
 * line     u32 count | count x (u64 first, u64 last), ascending, disjoint, not adjacent
 * dataset  u8 version | u32 id | u32 family | u32 view | u64 epoch | i64 created | i32 level | line | u32 len, schedule (JSON or "");
 *          version 2: | u64 quota in bytes, not 0
 * snapshot u8 version | u32 dataset | u32 family | u32 view | u64 number | i64 s, u32 ns taken | u64 files | u64 bytes | u32 flags |
 *          line | u32 len, note | u32 count, holds (each u32 len, tag)
 * family   u8 version | u64 next epoch | u64 next inode
 * prune    u8 version | u32 family | line of the destroyed view | line to scan (empty: not begun) | u64 epoch, u64 inode: scanned below
 * replica  u8 version | u8 0
 * origin   u8 version | 32 bytes: the number that the snapshot has in all stores (lib/store/replica.h)
 * identity u8 version | u8 hash | 32 bytes: identity of the snapshot (lib/identity/identity.h)
 * digest   u8 version | u8 flags | u8 hash | u8 reserved | 32 bytes node; with flag 1: | 32 bytes identity of the content | u64 size |
 *          u64 allocated; flag 2: the content has runs of zeros, its identity is no hash of all its bytes; with flag 4: | 32 bytes of that hash
 *
 * hash: how the identities in the record were made. 0 (HASH_SHA256): SHA-256 of the plain bytes. 1 is reserved: a keyed hash, from which
 * nobody without the key can tell known content. cipher: how the stored bytes are sealed, after compression. 0 (CIPHER_NONE): not at
 * all. Others are reserved. Only a store with the incompatible feature "encryption" (superblock.h) may hold anything but 0 in either.
 */
#ifndef CORPUSFS_FORMAT_RECORD_H
#define CORPUSFS_FORMAT_RECORD_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "lib/base/array.h"
#include "lib/base/buf.h"

#define FORMAT_VERSION 1
#define INLINE_MAX 2048
#define SYMLINK_MAX 4095
#define XATTR_VALUE_MAX 65536
#define EXTENT_LEN_MAX (16U << 20) /* only extents of allocated zeros come near it; data extents are at most one chunk */
#define CHUNK_HEADER_LEN 48
#define CHUNK_CODEC_PLAIN 0
#define CHUNK_CODEC_ZSTD 1
#define CHUNK_LEN_MAX (16U << 20) /* of the plain bytes */
#define HASH_SHA256 0
#define CIPHER_NONE 0

struct inode_record {
	uint32_t mode, uid, gid, nlink;
	uint64_t size;
	uint64_t allocated; /* bytes in extents, or of inline content */
	uint64_t rdev;
	uint64_t parent;
	struct timespec atime, mtime, ctime, btime;
	bool is_inline;           /* the content of a regular file is in its content record; then there are no extents */
	uint64_t content;         /* the epoch of that record's newest version: a value if is_inline, else a tombstone; 0: none */
	const uint8_t *target;    /* of a symlink; decode: points into the value */
	uint32_t target_len;
};

struct extent_record {
	uint32_t length;
	uint64_t chunk;        /* CHUNK_NONE: allocated zeros */
	uint32_t chunk_offset;
	uint32_t chunk_len; /* plain bytes of the chunk. Decoded it is always there; encode: 0, or any that the extent reaches, is its end */
};

struct entry_record {
	uint64_t ino;
	uint8_t type; /* DT_REG, ... */
};

void inode_record_encode(const struct inode_record *record, struct buf *out);
WARN_UNUSED int inode_record_decode(const void *value, size_t len, struct inode_record *ret_record);
void content_record_encode(const void *data, size_t len, struct buf *out);
/* ret_data points into the value. */
WARN_UNUSED int content_record_decode(const void *value, size_t len, const uint8_t **ret_data, size_t *ret_len);
void extent_record_encode(const struct extent_record *record, struct buf *out);
WARN_UNUSED int extent_record_decode(const void *value, size_t len, struct extent_record *ret_record);
void entry_record_encode(const struct entry_record *record, struct buf *out);
WARN_UNUSED int entry_record_decode(const void *value, size_t len, struct entry_record *ret_record);

/* Epochs as sorted, disjoint, non-adjacent closed intervals. */
struct interval {
	uint64_t first, last;
};

struct line {
	ARRAY_FIELDS(struct interval); /* owned */
};

void line_clear(struct line *line);
struct line line_copy(const struct line *line);
bool line_has(const struct line *line, uint64_t epoch);
void line_add(struct line *line, uint64_t first, uint64_t last); /* union with one interval */
void line_encode(const struct line *line, struct buf *out);
struct line line_minus(const struct line *a, const struct line *b); /* a without b */
void line_unite(struct line *sum, const struct line *line);
struct line line_between(const struct line *line, uint64_t first, uint64_t last); /* those of its epochs that lie in [first, last] */
WARN_UNUSED int line_decode(struct reader *reader, struct line *ret_line);
bool line_equal(const struct line *a, const struct line *b);

struct dataset_record {
	uint32_t id, family, view;
	uint64_t epoch; /* the head's open epoch (I2) */
	int64_t created;
	int32_t level; /* zstd level; 0 = do not compress */
	struct line line; /* includes the open epoch */
	char *schedule;   /* owned; "" when there is none */
	uint64_t quota;   /* bytes that the head may hold; 0: no limit */
};

struct snapshot_record {
	uint32_t dataset, family, view;
	uint64_t number; /* grows with every snapshot of the store: the order in which they were taken */
	struct timespec taken;
	uint64_t files, bytes; /* reserved for accounting; 0 = not counted */
	uint32_t flags;        /* SNAPSHOT_* */
	struct line line;
	char *note;
	char **holds;
	uint32_t hold_count;
};

#define SNAPSHOT_GUARD 1U     /* taken by rollback */
#define SNAPSHOT_SCHEDULED 2U /* taken by the schedule; only these does retention destroy */
#define SNAPSHOT_CHECKPOINT 4U /* of a dataset that a stream is received into: the stream can go on from here */

struct family_record {
	uint64_t next_epoch, next_ino;
};

/* A destroyed view. `scan` is chosen when pruning begins; touched entries of it below (at_epoch, at_ino) are dealt with. */
struct prune_record {
	uint32_t family;
	struct line line, scan;
	uint64_t at_epoch, at_ino;
};

void dataset_record_encode(const struct dataset_record *record, struct buf *out);
WARN_UNUSED int dataset_record_decode(const void *value, size_t len, struct dataset_record *ret_record); /* clear it afterwards */
void dataset_record_clear(struct dataset_record *record);
void snapshot_record_encode(const struct snapshot_record *record, struct buf *out);
WARN_UNUSED int snapshot_record_decode(const void *value, size_t len, struct snapshot_record *ret_record);
void snapshot_record_clear(struct snapshot_record *record);
void family_record_encode(const struct family_record *record, struct buf *out);
WARN_UNUSED int family_record_decode(const void *value, size_t len, struct family_record *ret_record);
void prune_record_encode(const struct prune_record *record, struct buf *out);
WARN_UNUSED int prune_record_decode(const void *value, size_t len, struct prune_record *ret_record);
void prune_record_clear(struct prune_record *record);

#define NODE_LEN 32

/* What is known of an inode: its node (lib/identity/identity.h), and of a regular file its content and what that was made of. */
struct digest_record {
	uint8_t node[NODE_LEN];
	bool has_content;
	uint8_t content[NODE_LEN];
	uint64_t size, allocated; /* bytes; allocated: in extents, 0 for inline data */
	bool is_sparse;           /* with content: it has runs of zeros, so `content` is not the SHA-256 of all its bytes */
	bool has_sha256;          /* with is_sparse: somebody asked for that, too */
	uint8_t sha256[NODE_LEN];
};

void replica_record_encode(struct buf *out);
WARN_UNUSED int replica_record_decode(const void *value, size_t len);
void origin_record_encode(const uint8_t id[NODE_LEN], struct buf *out);
WARN_UNUSED int origin_record_decode(const void *value, size_t len, uint8_t ret_id[NODE_LEN]);
void identity_record_encode(const uint8_t identity[NODE_LEN], struct buf *out);
WARN_UNUSED int identity_record_decode(const void *value, size_t len, uint8_t ret_identity[NODE_LEN]);
void digest_record_encode(const struct digest_record *record, struct buf *out);
WARN_UNUSED int digest_record_decode(const void *value, size_t len, struct digest_record *ret_record);

/* The parts of a chunk record. Checking the checksum is lib/chunk's task, on every read. */
struct chunk_header {
	uint64_t checksum;
	uint8_t codec;
	uint32_t plain_len;
	uint8_t sha256[32];
	const uint8_t *stored; /* into the value */
	uint32_t stored_len;
};

/* Where the bytes with some identity are stored. */
struct dedup_record {
	uint64_t chunk;
	uint32_t length; /* of the plain bytes */
};

void dedup_record_encode(const struct dedup_record *record, struct buf *out);
WARN_UNUSED int dedup_record_decode(const void *value, size_t len, struct dedup_record *ret_record);

/* A chunk that was found missing or damaged. */
struct damage_record {
	int64_t found;        /* seconds since 1970 */
	uint64_t replacement; /* a chunk with the same plain bytes, which is read instead; CHUNK_NONE: there is none yet */
};

void damage_record_encode(const struct damage_record *record, struct buf *out);
WARN_UNUSED int damage_record_decode(const void *value, size_t len, struct damage_record *ret_record);

void chunk_header_encode(const struct chunk_header *header, uint8_t out[CHUNK_HEADER_LEN]); /* stored bytes follow it */
WARN_UNUSED int chunk_header_decode(const void *value, size_t len, struct chunk_header *ret_header);

#endif
