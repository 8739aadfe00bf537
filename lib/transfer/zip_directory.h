/*
 * The directory at the end of a zip: what belongs to it, by what names, and where. All is little-endian.
 *
 * End record (22 bytes, then a comment of up to 65535):
 *   0 "PK\5\6" | 4 this disk u16 | 6 the directory's disk u16 | 8 entries on this disk u16 | 10 entries u16 | 12 size of the directory u32
 *   | 16 where it begins u32 | 20 length of the comment u16
 * Zip64, 20 bytes before the end record:  0 "PK\6\7" | 4 disk u32 | 8 where the zip64 end record is u64 | 16 disks u32; and that record:
 *   0 "PK\6\6" | 4 its size u64 | 12 made by, needed u16 | 16 disks u32 x2 | 24 entries here u64 | 32 entries u64 | 40 size u64 | 48 begins u64
 * Entry (46 bytes, then name, extra fields, comment):
 *   0 "PK\1\2" | 4 made by u16 | 6 needed u16 | 8 flags u16 | 10 method u16 | 12 time u16 | 14 date u16 | 16 CRC-32 u32 | 20 packed size u32
 *   | 24 size u32 | 28 length of name u16 | 30 of extra u16 | 32 of comment u16 | 34 disk u16 | 36 u16 | 38 attributes u32 | 42 where u32
 * In front of a member's data (30 bytes, then name and extra fields):
 *   0 "PK\3\4" | 4 needed u16 | 6 flags u16 | 8 method u16 | 10 time, date u16 | 14 CRC-32 u32 | 18 packed u32 | 22 size u32 | 26 name u16
 *   | 28 extra u16
 *
 * Something may stand in front of a zip: a program that unpacks it. Then all places are counted from where the zip begins.
 */
#ifndef CORPUSFS_TRANSFER_ZIP_DIRECTORY_H
#define CORPUSFS_TRANSFER_ZIP_DIRECTORY_H

#include <time.h>

#include "lib/base/array.h"
#include "lib/transfer/stream_in.h"

enum zip_method { ZIP_STORED = 0, ZIP_DEFLATED = 8, ZIP_BZIP2 = 12, ZIP_ZSTD = 93, ZIP_XZ = 95 };

struct zip_entry {
	char *name; /* bytes; of older zips in their own character set */
	uint32_t name_crc; /* of the name as it stands in the zip */
	uint32_t mode, uid, gid;
	uint16_t flags, method;
	uint32_t crc;
	uint64_t packed_size, size;
	uint64_t header_at; /* in the file */
	struct timespec mtime;
};

struct zip_directory {
	ARRAY_FIELDS(struct zip_entry);
	const char *problem; /* of -EBADMSG */
};

/* -EBADMSG: it is damaged, or there is none. */
WARN_UNUSED int zip_directory_load(struct zip_directory *directory, struct stream_in *in);
void zip_directory_clear(struct zip_directory *directory);

bool zip_entry_is_encrypted(const struct zip_entry *entry);
/* Where the entry's data begins. -EBADMSG: what stands in front of it says something else than the directory. */
WARN_UNUSED int zip_entry_data(struct zip_directory *directory, const struct zip_entry *entry, struct stream_in *in, uint64_t *ret_at);

#endif
