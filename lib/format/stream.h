/*
 * Streams between stores: this header is their specification. A stream carries one snapshot: all of it, or what differs from another snapshot,
 * its base. It needs nothing else but that base. Integers are little-endian.
 *
 *   stream   STREAM_MAGIC (16 bytes) | frames: header, ..., end
 *   frame    u32 length of the body | u8 kind | 3 x u8 0 | body | u64 checksum: XXH3-64 of all before it in the frame, seeded with the
 *            checksum of the frame before; the first frame's seed is STREAM_SEED. So the last one covers the whole stream.
 *   text     u32 length | bytes without NUL | NUL
 *   time     i64 seconds | u32 nanoseconds
 *
 * A label stands for an inode, and is STREAM_ROOT for the root; in no other way does it mean anything to the receiver. First the receiver learns
 * what labels stand for in the base (OLD). What loses a name there is taken out of its directory, so that all names that come after are free.
 * Then new inodes come, each directory before what is in it (NODE), further names of inodes (NAME), and what of old inodes has changed (META).
 *
 *   1 HEADER  u32 version (1) | u32 flags (1 there is a base) | i32 zstd level | 32 stream | 32 snapshot | 32 identity of the snapshot
 *             (lib/identity/identity.h) | 32 base | 32 identity of the base; zeros without one | time taken | u64 step, u64 offset: where it
 *             goes on, 0 at the beginning | text dataset | text snapshot | text base | text note
 *             stream, snapshot, base: numbers that are theirs alone, in all stores (lib/store/replica.h)
 *   2 OLD     u64 directory | u64 label | u8 flags (1 the name is lost) | text name.  Label 0: the inode is gone and is no directory
 *   3 NODE    u64 directory | u64 label | u8 flags (1 it has further names; 2 content comes, or for directories names, until LEAVE) | text name |
 *             attributes
 *   4 NAME    u64 directory | u64 label | text name
 *   5 META    u64 label | u8 flags (2) | attributes.  The content that is not told of stays, up to the size
 *   6 DATA    u64 offset | u32 plain length | u8 codec (record.h: 0 plain, 1 zstd) | 32 SHA-256 of the plain bytes | stored bytes
 *   7 SPACE   u64 offset | u64 length | u8 kind: 0 a hole, 1 allocated zeros
 *   8 LEAVE   u64 label | time accessed | time modified
 *   9 END     u64 frames before it, in this stream
 *
 *   attributes  u32 mode | u32 uid | u32 gid | u64 rdev | u64 size | time accessed | time modified | text target of a symlink |
 *               u32 count | count x (text name, u32 length, value): all extended attributes, ACLs as Linux has them
 *
 * DATA and SPACE belong to the inode of the last NODE or META with flag 2, in order of offsets. What a new file is not told of is a hole.
 *
 * Going on: a receiver that has applied some of a stream tells its sender where it stands. `step` counts the frames but HEADER, DATA, SPACE and
 * END. `offset`: DATA and SPACE of the inode that is open at this step are there up to it. The stream that goes on has a header of its own
 * and all frames from there.
 */
#ifndef CORPUSFS_FORMAT_STREAM_H
#define CORPUSFS_FORMAT_STREAM_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "lib/base/buf.h"

#define STREAM_MAGIC "corpusfs stream\n"
#define STREAM_MAGIC_LEN 16
#define STREAM_VERSION 1
#define STREAM_SEED 0x7363706f72757366ULL
#define STREAM_FRAME_HEADER 8
#define STREAM_FRAME_TAIL 8
#define STREAM_BODY_MAX (64U << 20) /* and DATA at most CHUNK_LEN_MAX plain */
#define STREAM_ID_LEN 32
#define STREAM_ROOT 1ULL
#define STREAM_NOTE_MAX 65536U

enum stream_kind {
	STREAM_HEADER = 1,
	STREAM_OLD,
	STREAM_NODE,
	STREAM_NAME,
	STREAM_META,
	STREAM_DATA,
	STREAM_SPACE,
	STREAM_LEAVE,
	STREAM_END,
};

#define STREAM_HAS_BASE 1U

struct stream_header {
	bool has_base;
	int32_t level;
	uint8_t stream[STREAM_ID_LEN], snapshot[STREAM_ID_LEN], identity[STREAM_ID_LEN], base[STREAM_ID_LEN], base_identity[STREAM_ID_LEN];
	struct timespec taken;
	uint64_t step, offset;
	const char *dataset_name, *snapshot_name, *base_name, *note;
};

#define STREAM_OLD_LOST 1U
#define STREAM_MORE_NAMES 1U
#define STREAM_MORE 2U

struct stream_attributes {
	uint32_t mode, uid, gid;
	uint64_t rdev, size;
	struct timespec atime, mtime;
	const char *target; /* "" if it is no symlink */
	uint32_t xattr_count;
	struct reader xattrs; /* of stream_xattr_next; encode: the bytes are taken over as they are */
};

/* OLD, NODE, NAME, META and LEAVE; what a kind does not have is zero. */
struct stream_entry {
	enum stream_kind kind;
	uint64_t directory, label;
	unsigned flags;
	const char *name;
	struct stream_attributes attributes; /* of LEAVE: the times only */
};

struct stream_data {
	uint64_t offset;
	uint32_t plain_len;
	uint8_t codec;
	const uint8_t *sha256, *stored;
	size_t stored_len;
};

struct stream_space {
	uint64_t offset, length;
	bool allocated;
};

/* Encoders add to `out` a frame's body; decoders give what points into the body. -EBADMSG; -EPROTONOSUPPORT of a newer version. */
void stream_header_encode(const struct stream_header *header, struct buf *out);
WARN_UNUSED int stream_header_decode(const void *body, size_t len, struct stream_header *ret_header);
void stream_entry_encode(const struct stream_entry *entry, struct buf *out);
WARN_UNUSED int stream_entry_decode(enum stream_kind kind, const void *body, size_t len, struct stream_entry *ret_entry);
void stream_xattr_encode(const char *name, const void *value, size_t len, struct buf *out); /* one of attributes.xattrs */
/* All were checked by stream_entry_decode: there are so many, names are 1..255 bytes, values at most 64 KiB. */
void stream_xattr_next(struct reader *xattrs, const char **ret_name, const uint8_t **ret_value, size_t *ret_len);
#define STREAM_DATA_HEADER 45
void stream_data_encode(const struct stream_data *data, struct buf *out); /* without the stored bytes, which follow */
WARN_UNUSED int stream_data_decode(const void *body, size_t len, struct stream_data *ret_data);
void stream_space_encode(const struct stream_space *space, struct buf *out);
WARN_UNUSED int stream_space_decode(const void *body, size_t len, struct stream_space *ret_space);

/* The header of a frame, STREAM_FRAME_HEADER bytes; the checksum of a frame from its pieces. */
void stream_frame_encode(enum stream_kind kind, uint32_t len, uint8_t out[STREAM_FRAME_HEADER]);
WARN_UNUSED int stream_frame_decode(const uint8_t header[STREAM_FRAME_HEADER], enum stream_kind *ret_kind, uint32_t *ret_len);
struct stream_piece {
	const void *data;
	size_t len;
};
uint64_t stream_checksum(uint64_t seed, const struct stream_piece *pieces, size_t count);

#endif
