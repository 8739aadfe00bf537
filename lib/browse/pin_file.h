/*
 * What a cache on disk (disk_cache.h) must keep: a file for each pin, with the names of all its blobs.
 *
 *   pin-NUMBER   "corpusP1" | since u64 | files u64 | bytes u64 | backup 32 bytes | length of path u32 | path | count u64 |
 *                count x (key u64, length u32) | checksum u64
 *
 * all little-endian; keys and lengths are those of a segment's table (segment_file.h), and the checksum is XXH3-64 over all before it. `since` is in
 * seconds, `bytes` those of the files. A file is written whole, synced, and renamed.
 *
 * Internal to lib/browse. Threads: any; one at a time changes a directory.
 */
#ifndef CORPUSFS_BROWSE_PIN_FILE_H
#define CORPUSFS_BROWSE_PIN_FILE_H

#include "lib/base/array.h"
#include "lib/browse/segment_file.h"

struct pin_entry {
	uint64_t key;
	uint32_t length; /* with SEGMENT_TREE */
};

struct pin_entries {
	ARRAY_FIELDS(struct pin_entry);
};

/* A path of a backup that stays in the cache. */
struct pin {
	uint32_t number;
	uint64_t since, files, bytes;
	struct blob_id backup; /* its name */
	char *path;            /* in the backup's tree, "/" is all of it; owned */
};

struct pins {
	ARRAY_FIELDS(struct pin);
};
void pins_clear(struct pins *pins);

/* Adds all there are to both, the oldest first; ret_damaged: how many are not what was written, and hold nothing. */
WARN_UNUSED int pin_files_read(int dir, struct pins *pins, struct pin_entries *entries, size_t *ret_damaged);
/* Adds what that one holds. -EBADMSG: it is not what was written. */
WARN_UNUSED int pin_file_read(int dir, uint32_t number, struct pin_entries *entries);
WARN_UNUSED int pin_file_write(int dir, const struct pin *pin, const struct pin_entries *entries);
WARN_UNUSED int pin_file_remove(int dir, uint32_t number); /* or it is gone already */

#endif
