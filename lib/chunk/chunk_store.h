/* What the files of lib/chunk share: the open store. Not for other layers. */
#ifndef CORPUSFS_CHUNK_CHUNK_STORE_H
#define CORPUSFS_CHUNK_CHUNK_STORE_H

#include <pthread.h>
#include <stdatomic.h>

#include "lib/chunk/ahead.h"
#include "lib/chunk/cache.h"
#include "lib/chunk/chunks.h"
#include "lib/chunk/cut.h"
#include "lib/chunk/ids.h"
#include "lib/chunk/scratch.h"
#include "lib/format/key.h"
#include "lib/format/record.h"

struct damaged;

/*
 * Lock order: mark lock, then groups_lock, then the locks inside ids and the set. None is held while waiting for a reader of the cache.
 */
struct chunks {
	struct kv *kv;
	struct pool *pool;
	struct cut cut;
	char *ingest_dir;
	struct cache *cache;
	struct kv_tables *bulk, *small;
	struct ahead *ahead;
	struct scratch_pool *scratch;
	struct ids *ids;

	/*
	 * The mark lock between deduplication and the collector (the rule is proved in sweep.c). Shared: groups, while they look chunks up and
	 * take ids; then the ids of a group (chunks_group.settled, .refers) may change. Exclusive: the collector. Guards mark and ends.
	 */
	pthread_rwlock_t mark_lock;
	struct chunk_set *mark; /* NULL: no mark is under way */
	uint64_t mark_small_end, mark_bulk_end;

	pthread_mutex_t groups_lock; /* guards the list of living groups */
	struct chunks_group *groups;

	pthread_mutex_t damaged_lock; /* guards the table */
	struct damaged *damaged;      /* chunks that were found damaged: no dedup hits */
	atomic_bool any_damaged;      /* the table is not empty */
};

static inline enum kv_family chunk_family(uint64_t id)
{
	return id & CHUNK_BULK ? KV_BULK : KV_SMALL;
}

/* The checksum of a record: of the header after the checksum field, and the stored bytes that follow it. */
uint64_t chunk_checksum(uint64_t id, const uint8_t header[CHUNK_HEADER_LEN], const void *stored, size_t stored_len);

/* Checks the checksum, then takes the record apart. -EBADMSG */
WARN_UNUSED int chunk_open_record(uint64_t id, const uint8_t *value, size_t len, struct chunk_header *ret_header);

/* The plain bytes of a compressed chunk. */
WARN_UNUSED int chunk_unpack(struct chunks *chunks, const struct chunk_header *header, void *out);

void chunk_note_damaged(struct chunks *chunks, uint64_t id);

/* Whether the chunk was found missing or damaged since the store was opened. */
bool chunks_is_damaged(struct chunks *chunks, uint64_t id);

/* The dedup index: its entry as it stands (-ENOENT also if it cannot be read), and the chunk that a new piece may refer to. */
WARN_UNUSED int dedup_get(struct chunks *chunks, const uint8_t sha256[DIGEST_LEN], uint64_t *ret_id, uint32_t *ret_length);
WARN_UNUSED int dedup_find(struct chunks *chunks, const uint8_t sha256[DIGEST_LEN], uint32_t length, uint64_t *ret_id);
void dedup_put(struct kv_batch *batch, const uint8_t sha256[DIGEST_LEN], uint32_t length, uint64_t id);

/* For the collector, with the mark lock exclusive: adds the ids that a group refers to, to the set. */
void chunks_group_mark(const struct chunks_group *group, struct chunk_set *set);
struct chunks_group *chunks_group_next(const struct chunks_group *group);

#endif
