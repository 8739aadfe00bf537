#include "lib/reclaim/prune_digests.h"

#include "lib/base/array.h"
#include "lib/reclaim/visibility.h"
#include "lib/store/digests.h"

#define PRUNE_BATCH 1024
/* Records looked at between two steps. */
#define PRUNE_LOOKED_AT 65536

/* One step. The versions are those of one inode, the newest first. */
struct digest_pruning {
	struct store *store;
	uint32_t family;
	struct visibility *visibility; /* NULL: no record was looked at yet */
	struct kv_batch *batch;
	uint64_t ino;
	ARRAY(struct seen_version) versions;
	size_t looked_at;
};

static void delete_unneeded(struct digest_pruning *pruning)
{
	if (pruning->versions.count > 0)
		visibility_versions(pruning->visibility, pruning->versions.items, pruning->versions.count);
	for (size_t i = 0; i < pruning->versions.count; i++)
		if (!pruning->versions.items[i].needed)
			digests_remove(pruning->batch, pruning->family, pruning->ino, pruning->versions.items[i].epoch);
	array_reset(&pruning->versions);
}

/*
 * 1: enough for one step; `pruning->ino` is the inode to go on with. The visibility is made once the iterator stands, so it knows all views
 * whose records the iterator meets. Views that are made later find what the line that they continue finds.
 */
static int look_at_digest(void *arg, uint64_t ino, uint64_t epoch)
{
	struct digest_pruning *pruning = arg;
	bool enough = false;

	if (!pruning->visibility)
		pruning->visibility = visibility_new(pruning->store, pruning->family);
	if (pruning->versions.count > 0 && ino != pruning->ino) {
		delete_unneeded(pruning);
		enough = kv_batch_count(pruning->batch) >= PRUNE_BATCH || pruning->looked_at >= PRUNE_LOOKED_AT;
	}
	pruning->ino = ino;
	pruning->looked_at++;
	if (!enough)
		array_add(&pruning->versions, (struct seen_version){.epoch = epoch});
	return enough;
}

/* One step from inode *from on, which is moved on; 1 when there is more. */
static int prune_some(struct store *store, uint32_t family, uint64_t *from, struct kv_batch *batch)
{
	struct digest_pruning pruning = {.store = store, .family = family, .batch = batch, .ino = *from};
	int more = digests_each(store->kv, family, *from, look_at_digest, &pruning), result = more;

	delete_unneeded(&pruning);
	*from = pruning.ino;
	array_clear(&pruning.versions);
	visibility_free(pruning.visibility);
	if (result >= 0 && kv_batch_count(batch) > 0)
		result = kv_write(store->kv, batch, KV_GIVES_ROOM);
	return result < 0 ? result : more;
}

int digests_prune(struct store *store, uint32_t family, int (*step)(void *arg, uint64_t inodes, uint64_t versions), void *arg)
{
	struct kv_batch *batch = kv_batch_new();
	uint64_t from = 0;
	int result = 1;

	while (result == 1) {
		kv_batch_clear(batch);
		result = prune_some(store, family, &from, batch);
		if (result >= 0) {
			int stop = step(arg, 0, 0);
			result = stop < 0 ? stop : result;
		}
	}
	kv_batch_free(batch);
	return result;
}
