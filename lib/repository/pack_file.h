/*
 * A pack: sealed blobs one after another, then a header that lists them, sealed, then the header's length (32 bits, little-endian).
 *
 * An entry of the header: type u8 | sealed length u32 le | (of compressed blobs) plain length u32 le | SHA-256 of the plain bytes
 *                         type: 0 data, 1 tree, 2 data compressed by zstd, 3 tree compressed
 */
#ifndef CORPUSFS_REPOSITORY_PACK_FILE_H
#define CORPUSFS_REPOSITORY_PACK_FILE_H

#include "lib/base/array.h"
#include "lib/base/buf.h"
#include "lib/chunk/digest.h"
#include "lib/repository/blob_id.h"
#include "lib/repository/seal.h"

struct pack_blob {
	struct blob_id id;
	uint32_t offset, length; /* of the sealed blob in the pack */
	uint32_t plain;          /* length of the plain bytes of a compressed blob; 0: it is not compressed */
	bool is_tree;
};

/* The length of its plain bytes. */
static inline uint32_t pack_blob_plain(const struct pack_blob *blob)
{
	return blob->plain ? blob->plain : blob->length - SEAL_EXTRA;
}

struct pack_blobs {
	ARRAY_FIELDS(struct pack_blob);
};

/* The bytes of a pack in the making. All zero is an empty one. */
struct pack_file {
	struct buf bytes;
	struct pack_blobs blobs;
	struct digest_begun hashed; /* of its first bytes; the caller's */
};

void pack_file_clear(struct pack_file *pack);
/* Adds what is to be stored of a blob: its plain bytes, or what zstd made of them (`plain` is their length then, else 0). */
void pack_file_add(struct pack_file *pack, struct seal *seal, const struct pack_blob *blob, const void *stored, size_t len);
/* Adds the header. The name of the pack is the SHA-256 of its bytes. */
void pack_file_end(struct pack_file *pack, struct seal *seal);

#define PACK_HEADER_MAX (16U << 20)
/* Reads the blobs of a header, sealed as it stands in a pack before the length; offsets are of the pack. -EBADMSG. */
WARN_UNUSED int pack_header_read(struct seal *seal, const uint8_t *sealed, size_t len, struct pack_blobs *ret_blobs);

#endif
