/*
 * The chunk store: pieces of content in, ids out; ids in, verified bytes out. (FastCDC: Xia et al., USENIX ATC 2016.)
 *
 * Writing goes in groups, one per commit:
 *
 *   group = chunks_group_new(chunks)
 *   chunks_group_add(group, data, len, level)                for each run of bytes; many files per group
 *   chunks_group_store(group, batch)                         once: cut, hash, look up, compress on the pool; new chunks become
 *                                                            durable, or part of `batch` (I8)
 *   ... caller adds extents to the same batch and writes it ...
 *   chunks_group_free(group)                                 after the batch was written, or to give up
 *
 * The chunks of a large group go the bulk way: into a table file of their own, which is in the database when chunks_group_store() returns.
 * Those of a small group go into the batch. A piece that the store or the group has already becomes a reference to it, if what is there
 * is whole: a damaged chunk is replaced by the piece. The collector leaves the chunks of a group alone until chunks_group_free().
 *
 * Threads: a group belongs to one thread, several groups may be at work at once. Reading: any thread.
 */
#ifndef CORPUSFS_CHUNK_CHUNKS_H
#define CORPUSFS_CHUNK_CHUNKS_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/pool.h"
#include "lib/kv/kv.h"

struct chunks;
struct chunks_group;

struct chunks_options {
	uint32_t min, average, max; /* cutting parameters, bytes */
	const char *ingest_dir;     /* for table files under construction; emptied at open */
	uint64_t cache_bytes;       /* decoded-chunk cache */
};

WARN_UNUSED int chunks_open(struct kv *kv, struct pool *pool, const struct chunks_options *options, struct chunks **ret_chunks,
                            struct error *err);
void chunks_close(struct chunks *chunks);

/* A piece of content given to a group: where it came from and, after chunks_group_store, which chunk holds it. */
struct chunk_piece {
	uint64_t offset; /* within the run given to chunks_group_add */
	uint32_t length;
	uint64_t chunk;
};

struct chunks_group *chunks_group_new(struct chunks *chunks);
void chunks_group_free(struct chunks_group *group);

/*
 * Adds a run of bytes, cut by content; `data` must stay valid until chunks_group_store. Returns the run's number (0, 1, ...).
 * level: zstd level, 0 = store plain. Nothing is read until chunks_group_store, where cutting, hashing and compressing run in parallel.
 */
size_t chunks_group_add(struct chunks_group *group, const void *data, size_t len, int level);

/* The same for what is to become one chunk, of at most CHUNK_LEN_MAX bytes. */
size_t chunks_group_add_whole(struct chunks_group *group, const void *data, size_t len, int level);

/* Cuts, hashes, looks up, compresses and stores all runs; see above. -ENOSPC, -EIO. */
WARN_UNUSED int chunks_group_store(struct chunks_group *group, struct kv_batch *batch);

/* The pieces of run `number`, in order and without gaps; owned by the group. */
const struct chunk_piece *chunks_group_pieces(const struct chunks_group *group, size_t number, size_t *ret_count);

/* Copies [offset, offset+len) of the chunk's plain bytes. -EIO when it is missing, damaged or shorter (I9). */
WARN_UNUSED int chunks_read(struct chunks *chunks, uint64_t id, uint32_t offset, uint32_t len, void *out);

/* The same for several, `count` of any. Those whose ids follow one another are read together, large reads by several threads. */
struct chunk_want {
	uint64_t chunk;
	uint32_t offset, length;
	void *out;
};
WARN_UNUSED int chunks_read_many(struct chunks *chunks, const struct chunk_want *wants, size_t count);
/*
 * Whoever calls this is about to read the chunks [first, first + count) of one file, as far as there are no more of them than such a file has;
 * the disk may begin. Returns at once, and failures show when it is read.
 */
void chunks_begin_read(struct chunks *chunks, uint64_t first, size_t count);

/* SHA-256 and number of the chunk's plain bytes, as its record has them; the checksum is checked, the content is not hashed. -EIO, -ENOMEM. */
WARN_UNUSED int chunks_digest(struct chunks *chunks, uint64_t id, uint32_t *ret_len, uint8_t ret_sha256[32]);

/* Reads the chunk's record, so that it is in the page cache, and says how long it is on disk. Nothing is verified. -ENOENT, -EIO. */
WARN_UNUSED int chunks_stored(struct chunks *chunks, uint64_t id, uint64_t *ret_bytes);
uint32_t chunks_average(const struct chunks *chunks); /* plain bytes, as content is cut */
/* About how many chunks there are. */
uint64_t chunks_estimate(struct chunks *chunks);
uint64_t chunks_disk_bytes(struct chunks *chunks); /* of the files that hold them */
void chunks_memory(struct chunks *chunks, uint64_t *ret_bytes, uint64_t *ret_budget); /* of content that is decoded */

/*
 * Whether an answer means that the chunk is missing or damaged, or lies where the disk cannot be read. All others are errors of the moment: no memory,
 * no descriptor, a database that is not open. They tell nothing of the chunk, and put none into the damage list.
 */
static inline bool chunk_is_damage(int ret)
{
	return ret == -EBADMSG || ret == -ENOENT || ret == -EIO;
}

/* Checks one chunk fully, SHA-256 too. 0; negative errno, see chunk_is_damage(). */
WARN_UNUSED int chunks_verify(struct chunks *chunks, uint64_t id);
/* The same of what the disk has of this chunk itself, whatever memory has, and whatever stands for it; the list is as it was. */
WARN_UNUSED int chunks_verify_disk(struct chunks *chunks, uint64_t id);

/* --- the damage list (damaged.h) --- */

struct chunk_damage {
	uint64_t chunk;
	int64_t found;        /* seconds since 1970 */
	uint64_t replacement; /* what is read instead; CHUNK_NONE: nothing, reading it answers -EIO */
	int error;            /* negative errno: whether something stands for it cannot be read now */
};
size_t chunks_list_damage(struct chunks *chunks, struct chunk_damage **ret_list); /* a copy, in the order of ids; freed by the caller */
bool chunks_any_damage(struct chunks *chunks); /* false: the list is empty, and nobody has to be asked further */
bool chunks_known_damaged(struct chunks *chunks, uint64_t id); /* by the list, without reading: it is damaged, and nothing whole stands for it */
bool chunks_tell_damage(struct chunks *chunks, uint64_t id); /* it is damaged, and nobody was told for ten minutes; then that counts as told */
void chunks_save_damage(struct chunks *chunks); /* what could not be written when it was found; called now and then */
WARN_UNUSED int chunks_found_whole(struct chunks *chunks, uint64_t id); /* by chunks_verify_disk(): it leaves the list */

/* The ids after the last ones that were given out. */
void chunks_ends(struct chunks *chunks, uint64_t *ret_bulk_end, uint64_t *ret_small_end);

/*
 * Looks at the chunks of the set in [first, end), which are of one kind: whether they are there and have a true checksum and the right
 * SHA-256; of a damaged one, that which is read instead. `each` is told of every one: bytes on disk, 0 if not known; result 0, -ENOENT, or
 * -EBADMSG or -EIO, which were put in the list. (-ENOENT is not: the collector may have been faster.) It may take its time. Stops when it
 * returns not 0, and returns that. An error that tells nothing of the chunk (chunk_is_damage) ends it, too.
 */
struct chunk_set;
typedef int (*chunk_scrub_fn)(void *arg, uint64_t id, uint64_t bytes, int result);
WARN_UNUSED int chunks_scrub(struct chunks *chunks, const struct chunk_set *set, uint64_t first, uint64_t end, chunk_scrub_fn each, void *arg);

/* --- for the collector (lib/reclaim) --- */

/*
 * A set of chunk ids below the two ends (bulk_end carries CHUNK_BULK). Memory grows with what is added. The collector does not look at ids
 * from the ends on: they count as members, and adding them does nothing. Any thread.
 */
struct chunk_set;
struct chunk_set *chunk_set_new(uint64_t bulk_end, uint64_t small_end);
void chunk_set_free(struct chunk_set *set);
void chunk_set_add(struct chunk_set *set, uint64_t id);
bool chunk_set_has(const struct chunk_set *set, uint64_t id);

/*
 * Begins a mark. From now on every hit in the index is added to `set`, and so is every id of a group that lives; ids that are given out
 * later lie at or above the two ends that are returned. The caller owns the set, walks all extents of all versions in one iterator that is
 * made after this (sweep.c has the proof), and ends the mark with chunks_mark_end() after the sweep. One mark at a time.
 */
void chunks_mark_begin(struct chunks *chunks, struct chunk_set *(*make)(uint64_t bulk_end, uint64_t small_end),
                       struct chunk_set **ret_set, uint64_t *ret_bulk_end, uint64_t *ret_small_end);
void chunks_mark_end(struct chunks *chunks);

/*
 * Removes the chunks of [first, end) that are not in `set`, with their entries in the index, in batches, and counts them. A chunk is tested
 * and its entry removed under the lock that a hit takes: a hit either comes first and marks the chunk, or finds nothing. `stop` (or NULL) is
 * asked between batches. Both bounds are of one kind, and the call comes between chunks_mark_begin() and chunks_mark_end(), else -EINVAL.
 * What is read instead of damaged chunks of the set is added to it; where that cannot be told, nothing is removed (-EIO, -EBADMSG). Many
 * dead chunks in a row give their room back at once, single ones by chunks_compact().
 */
WARN_UNUSED int chunks_sweep(struct chunks *chunks, struct chunk_set *set, uint64_t first, uint64_t end,
                             bool (*stop)(void *arg), void *stop_arg, bool dry_run, uint64_t *ret_chunks, uint64_t *ret_bytes);

/* Gives back the room of what was swept, with the set of the same mark, in steps; `stop` is asked between them. -ENOSPC: all of it for
 * which there is room now; the rest can be given back when there is more. */
WARN_UNUSED int chunks_compact(struct chunks *chunks, const struct chunk_set *set, bool (*stop)(void *arg), void *arg);

#endif
