/* What the files of lib/chunk share: the open store. Not for other layers. */
#ifndef CORPUSFS_CHUNK_CHUNK_STORE_H
#define CORPUSFS_CHUNK_CHUNK_STORE_H

#include <pthread.h>
#include <stdatomic.h>

#include "lib/base/locks.h"
#include "lib/chunk/ahead.h"
#include "lib/chunk/backend.h"
#include "lib/chunk/begun.h"
#include "lib/chunk/cache.h"
#include "lib/chunk/chunks.h"
#include "lib/chunk/cut.h"
#include "lib/chunk/damaged.h"
#include "lib/chunk/ids.h"
#include "lib/chunk/scratch.h"
#include "lib/format/key.h"

/*
 * Lock order: mark_lock, groups_lock (lib/base/lock_order.h), then the locks inside ids, the set and the damage list. No thread holds one of them
 * while it waits for a reader of the cache.
 */
struct chunks {
	struct kv *kv;
	struct pool *pool;
	struct cut cut;
	struct backend *backend;
	struct cache *cache;
	struct ahead *ahead;
	struct begun *begun;
	struct scratch_pool *scratch;
	struct ids *ids;
	struct damaged *damaged;

	/*
	 * Keeps deduplication and the collector apart (sweep.c has the rule and its proof). Groups hold it shared while they look chunks up
	 * and take ids; then the ids of a group (chunks_group.settled) may change. The collector holds it exclusively. Guards mark and ends.
	 */
	struct rwlock mark_lock;
	struct chunk_set *mark; /* NULL: no mark is under way */
	uint64_t mark_small_end, mark_bulk_end;

	struct mutex groups_lock; /* guards the list of living groups */
	struct chunks_group *groups;
};

#endif
