/*
 * Verified blobs on a local disk: what was fetched once is read from there, also by a later mount, and while the place is away.
 *
 *   disk_cache_new -> disk_cache_load -> disk_cache_get, disk_cache_put ... -> [disk_cache_stop] -> disk_cache_free
 *
 * Why no chunk store: a cache forgets. In a log-structured tree of 200 GB every blob that goes is a tombstone, and its room comes back only with
 * a compaction that writes what stays; here it comes back with unlink(2). A cache needs no log, no sync and no order of writes either, for it
 * promises nothing: what is damaged or missing is fetched anew.
 *
 * Blobs are appended to segments (segment_file.h), files of 32 MiB, of a small cache less, each with a table of its blobs in front. All tables are
 * in memory, too, 32 to 64 bytes for a blob (blob_table.h): 100 to 200 MB for 200 GB of blobs of 64 KiB. disk_cache_load reads them: 50 MB for 200 GB.
 *
 *   C1. A byte is given out only if its record has the SHA-256 that was asked for and its checksum fits (XXH3-64, as on every read of a store;
 *       the bytes were checked by SHA-256 when they were fetched). Any other outcome is "not here", and the blob is forgotten, so that the one
 *       that is fetched takes its place.
 *   C2. Records are never changed, so a crash leaves old ones whole, and at most one that no table names. Its room comes back with its segment.
 *   C3. The files are together never larger than the limit. Before a record is written, whole segments go: those first in which nothing was
 *       read for longest. Who reads one that goes has it open, and reads on. Its room on the disk comes back when it is closed: at most
 *       OPEN_PACKS segments are open. As much as a segment holds is left free, so that what is pinned has a new place, on the disk, before a segment
       goes that has some of it. Where three quarters of one are pinned it stays, unless what comes is pinned, too, and has no other room.
 *   C4. A disk that is full, or fails, is no error for anybody: nothing more is kept. After "no space left" the cache makes itself smaller, by a
 *       sixteenth each time, until it is opened anew.
   C5. What is pinned never goes, not even for C3 in a cache that became smaller: then nothing else is kept. It is known by a file for each pin
       (pin_file.h), which is on the disk before the pin counts. A pin brings nothing; what of it comes is kept.
 *
 * Writers wait for each other and for the disk; readers wait for neither. Threads: any, but for new and free. Lock order: `writing`, then `lock`.
 */
#ifndef CORPUSFS_BROWSE_DISK_CACHE_H
#define CORPUSFS_BROWSE_DISK_CACHE_H

#include "lib/base/buf.h"
#include "lib/browse/pin_file.h"

#define DISK_CACHE_MIN (4ULL << 20)

struct disk_cache;

struct disk_cache_options {
	int dir;        /* of the cache alone (cache_dir.h); stays the caller's, and open */
	uint64_t limit; /* bytes, DISK_CACHE_MIN at least */
	void (*problem)(void *arg, const char *text); /* told once for each kind; any thread */
	void *arg;
};

struct disk_cache *disk_cache_new(const struct disk_cache_options *options);
void disk_cache_free(struct disk_cache *cache); /* NULL is fine */
/* Another process may use its directory from then on: nothing is found, kept or removed any more. NULL is fine. */
void disk_cache_stop(struct disk_cache *cache);

/* Finds what is there. Until then nothing is found and nothing is kept. */
void disk_cache_load(struct disk_cache *cache);

/* Whether it probably is here: nothing is read. */
bool disk_cache_has(struct disk_cache *cache, const struct blob_id *id, bool is_tree);
/* -ENOENT: it is not here. ret_plain ends with a NUL that is not counted. */
WARN_UNUSED int disk_cache_get(struct disk_cache *cache, const struct blob_id *id, bool is_tree, struct buf *ret_plain);
/* Bytes that were verified. May keep them or not. */
void disk_cache_put(struct disk_cache *cache, const struct blob_id *id, bool is_tree, const void *data, size_t len);

/*
 * Pins a path (its number and `since` are set here), in place of what was pinned of the same path. -ENOBUFS: there would be more than seven eighths
 * of the limit, and nothing was pinned; -ESHUTDOWN: it was stopped; errors of the disk. Who asks about pins waits for disk_cache_load.
 */
WARN_UNUSED int disk_cache_pin(struct disk_cache *cache, const struct pin *pin, const struct pin_entries *entries);
WARN_UNUSED int disk_cache_unpin(struct disk_cache *cache, const struct pin *pin); /* of the same path; NULL: all. -ENOENT */
void disk_cache_pins(struct disk_cache *cache, struct pins *ret_pins);
/* How many bytes of what is pinned by that path are not here. -ENOENT: nothing is; -EBADMSG: what says so was damaged. */
WARN_UNUSED int disk_cache_missing(struct disk_cache *cache, const struct pin *pin, uint64_t *ret_bytes);

struct disk_cache_state {
	uint64_t limit, bytes, blobs; /* the limit may have become smaller (C4) */
	uint64_t pinned, pinned_missing; /* bytes; missing: that are not here */
	uint64_t hits, hit_bytes, damaged, evicted; /* since it was opened; evicted: segments */
	bool failed;                  /* nothing more is kept */
};
struct disk_cache_state disk_cache_state(struct disk_cache *cache);

#endif
