/*
 * A segment of a cache on disk (disk_cache.h): a file of blobs that are only ever added, with a table of them in front.
 *
 *   segment   "corpusC1" | slots u32 | 0 u32 | slots x (key u64, offset u32, length u32) | records
 *   record    checksum u64 | SHA-256, 32 bytes | plain bytes
 *
 * all little-endian. A key is the first 8 bytes of the SHA-256; an offset of 0 is that of a free slot; the top bit of a length says that it is a tree.
 * The checksum is XXH3-64 over the bytes, seeded with that of the SHA-256, which is seeded with the length.
 *
 * A record is written first, then its slot: after kill -9 a slot means a record. After a power cut it may not; reading finds that, as all damage.
 *
 * Internal to lib/browse. Threads: any; one at a time writes to a file.
 */
#ifndef CORPUSFS_BROWSE_SEGMENT_FILE_H
#define CORPUSFS_BROWSE_SEGMENT_FILE_H

#include "lib/base/array.h"
#include "lib/base/buf.h"
#include "lib/repository/blob_id.h"

#define SEGMENT_TREE (1U << 31) /* of a length */
#define SEGMENT_NAME 9          /* 8 hexadecimal digits and a NUL */

/* Where a blob is. */
struct blob_spot {
	uint64_t key;
	uint32_t segment; /* its number, from 1 on */
	uint32_t offset, length;
	uint32_t pins; /* how many need it (blob_table.h); it is not in the file */
};

struct blob_spots {
	ARRAY_FIELDS(struct blob_spot);
};

uint64_t segment_key(const struct blob_id *id);
void segment_name(uint32_t number, char name[SEGMENT_NAME]);
uint32_t segment_begin(uint32_t slots); /* the offset of the first record */
uint64_t segment_record_bytes(uint32_t length);

WARN_UNUSED int segment_create(int dir, uint32_t number, uint32_t slots, int *ret_fd); /* -EEXIST; nothing is left when it fails */
WARN_UNUSED int segment_write(int fd, uint32_t slot, const struct blob_spot *spot, const struct blob_id *id, const void *data);
/* -EBADMSG: it is not that blob, or damaged. -ENOMEM. A NUL follows that is not counted. */
WARN_UNUSED int segment_read(int fd, const struct blob_spot *spot, const struct blob_id *id, struct buf *ret_plain);
/* The same of whatever blob is there. */
WARN_UNUSED int segment_read_any(int fd, const struct blob_spot *spot, struct blob_id *ret_id, struct buf *ret_plain);

struct segment_table {
	struct blob_spots spots; /* that may be there: of records that would lie in the file */
	uint32_t slots, used;    /* used: of them, the first so many */
	uint64_t bytes;          /* how large the file is; at least its table */
};
/* Of the segment of that number. -EBADMSG: it is none. What `table` held is replaced. */
WARN_UNUSED int segment_read_table(int fd, uint32_t number, struct segment_table *table);

#endif
