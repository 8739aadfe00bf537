/*
 * Keys of the store: this header is their specification. All integers in keys are big-endian, so that byte order is number order.
 *
 * Column family "tree": versioned metadata, the newest version of a key first.
 *
 *   family u32 | inode u64 | kind u8 | rest | ~epoch u64
 *   kind 0  inode    rest: empty
 *   kind 1  xattr    rest: name NUL
 *   kind 2  extent   rest: file offset u64
 *   kind 3  entry    rest: name NUL
 *
 * Column family "content": the same keys of one more kind. Who reads names and inodes does not read these, too.
 *
 *   kind 4  content  rest: empty; of a small file
 *
 * Column family "touched" (I7): family u32 | epoch u64 | inode u64 -> empty. Written with the first change to an inode in an epoch.
 *
 * Column family "catalog", a tag byte first:
 *
 *   'D' | dataset name                         -> dataset record
 *   'S' | dataset id u32 | snapshot name       -> snapshot record
 *   'F' | family u32                           -> family record
 *   'N' | counter name                         -> u64 little-endian: next number to give out
 *   'O' | dataset id u32 | inode u64           -> orphan: empty value; unlinked while open, or waiting to be emptied
 *   'Q' | view u32 | inode u64                -> orphan at the time the snapshot was taken: rollback and clone make it an 'O'
 *   'P' | view u32                             -> prune record: a destroyed view whose versions wait to be pruned
 *   'I' | family u32 | view u32                -> identity record of a snapshot
 *   'H' | family u32 | inode u64 | ~epoch u64  -> digest record: of the inode as it was when that epoch was closed
 *   'C' | chunk id u64                         -> damage record: the chunk was found damaged, and which one stands for it
 *   'J' | name                                 -> state of a background job (garbage collection, schedule)
 *   'T' | dataset id u32                       -> replica record: the dataset is a replica, which only streams change. It is not in the dataset
 *                                                 record: an older program reads the dataset, and what it writes there is noticed as a fork
 *   'U' | view u32                             -> origin record of a snapshot that came in a stream
 *   'W' | dataset id u32 | label u64           -> inode u64 little-endian: what a label stands for in a stream that is being received
 *   'K', 'R'                                   reserved: keys of encrypted stores, places of remote chunks
 *
 * Column family "dedup": identity of the plain bytes (32; record.h says how it is made) -> dedup record.
 * Column families "bulk" and "small": chunk id u64 -> chunk record.
 *
 * Chunk ids: bit 63 (CHUNK_BULK) says in which of the two families the record is. Bit 62 (CHUNK_REMOTE) is reserved: the record of such a
 * chunk may not be here yet. Only a store with the incompatible feature "remote chunks" has such ids (superblock.h).
 */
#ifndef CORPUSFS_FORMAT_KEY_H
#define CORPUSFS_FORMAT_KEY_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/buf.h"

enum key_kind { KEY_INODE = 0, KEY_XATTR = 1, KEY_EXTENT = 2, KEY_ENTRY = 3, KEY_CONTENT = 4 };

#define NAME_LEN_MAX 255
/* family 4, inode 8, kind 1, rest up to 256, epoch 8 */
#define TREE_KEY_MAX 280
#define TREE_KEY_EPOCH_LEN 8
#define ROOT_INO 1ULL                  /* of every dataset */
#define INO_MAX ((1ULL << 39) - 1)     /* 40 bits in a node id, the top one marks the virtual ".snapshots" directories */
#define VIEW_MAX ((1U << 24) - 1)
#define CHUNK_BULK (1ULL << 63)
#define CHUNK_REMOTE (1ULL << 62)
#define CHUNK_NONE 0ULL                /* an extent of allocated zeros (fallocate) */

/* A key under construction, or a prefix to seek to. */
struct tree_key {
	uint8_t bytes[TREE_KEY_MAX];
	size_t len;
};

/* A key taken apart; `name` points into the key and has no NUL counted in name_len. */
struct tree_key_parts {
	uint32_t family;
	uint64_t ino;
	enum key_kind kind;
	const char *name; /* xattr, entry */
	size_t name_len;
	uint64_t offset; /* extent */
	uint64_t epoch;
};

/* Stems: everything before ~epoch. tree_key_at() completes a copy with an epoch. Names must be 1..255 bytes without NUL. */
struct tree_key tree_stem_inode(uint32_t family, uint64_t ino);
struct tree_key tree_stem_xattr(uint32_t family, uint64_t ino, const char *name);
struct tree_key tree_stem_extent(uint32_t family, uint64_t ino, uint64_t offset);
struct tree_key tree_stem_entry(uint32_t family, uint64_t ino, const char *name);
struct tree_key tree_stem_content(uint32_t family, uint64_t ino);
struct tree_key tree_key_at(struct tree_key stem, uint64_t epoch);
bool tree_key_is_content(const struct tree_key *key); /* a key, a stem, or the beginning of a range */

/* Ranges [first, end) for iterators. */
struct tree_key tree_prefix_family(uint32_t family);
struct tree_key tree_prefix_inode(uint32_t family, uint64_t ino);             /* all of an inode but its content */
struct tree_key tree_prefix_kind(uint32_t family, uint64_t ino, enum key_kind kind);
struct tree_key tree_prefix_end(struct tree_key prefix);                       /* the least key above all that start with prefix; empty: none */

WARN_UNUSED int tree_key_parse(const void *key, size_t len, struct tree_key_parts *ret_parts); /* -EBADMSG */

/* Catalog, touched and chunk keys are short; they share one type. */
struct small_key {
	uint8_t bytes[320];
	size_t len;
};

struct small_key touched_key(uint32_t family, uint64_t epoch, uint64_t ino);
WARN_UNUSED int touched_key_parse(const void *key, size_t len, uint32_t *ret_family, uint64_t *ret_epoch, uint64_t *ret_ino);
struct small_key catalog_key_name(char tag, const char *name);                  /* 'D', 'N', 'J' */
struct small_key catalog_key_snapshot(uint32_t dataset, const char *name);      /* name "" gives the prefix */
struct small_key catalog_key_u32(char tag, uint32_t number);                    /* 'F', 'P', 'T', 'U', 'W' */
struct small_key catalog_key_orphan(uint32_t dataset, uint64_t ino);
struct small_key catalog_key_label(uint32_t dataset, uint64_t label);
struct small_key catalog_key_snapshot_orphan(uint32_t view, uint64_t ino);
struct small_key catalog_key_identity(uint32_t family, uint32_t view);
struct small_key catalog_key_damage(uint64_t chunk);                            /* chunk 0 gives the first of all */
WARN_UNUSED int catalog_key_damage_parse(const void *key, size_t len, uint64_t *ret_chunk); /* -EBADMSG: it is no such key */
struct small_key catalog_key_digest(uint32_t family, uint64_t ino, uint64_t epoch);
WARN_UNUSED int catalog_key_digest_parse(const void *key, size_t len, uint32_t *ret_family, uint64_t *ret_ino, uint64_t *ret_epoch);
struct small_key chunk_key(uint64_t id);
WARN_UNUSED int chunk_key_parse(const void *key, size_t len, uint64_t *ret_id);

/* Whether a chunk can have this id: it is not CHUNK_NONE, and no bit is set that this version does not know. */
bool chunk_id_valid(uint64_t id);

/* 0, or -EINVAL (empty, ".", "..", slash, NUL) or -ENAMETOOLONG: a file name inside a dataset. */
int name_check(const char *name);

#endif
