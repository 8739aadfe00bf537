#include "lib/reclaim/prune_digests.h"

#include <errno.h>

#include "lib/reclaim/visibility.h"

#define PRUNE_BATCH 1024
/* Records looked at between two steps. */
#define PRUNE_LOOKED_AT 65536

static struct kv_iter *iterate(struct kv *kv, uint32_t family, uint64_t first_ino)
{
	struct small_key first = catalog_key_digest(family, first_ino, UINT64_MAX);
	struct small_key end = catalog_key_digest(family, UINT64_MAX, UINT64_MAX);

	return kv_iter_new(kv, KV_CATALOG, first.bytes, first.len, end.bytes, end.len);
}

/* The records of one inode, the newest first. */
struct versions {
	uint64_t ino;
	struct seen_version *items;
	size_t count, cap;
};

static void add_version(struct versions *versions, uint64_t epoch)
{
	if (versions->count == versions->cap) {
		versions->cap = MAX(versions->cap * 2, 8U);
		versions->items = xrealloc(versions->items, versions->cap * sizeof(*versions->items));
	}
	versions->items[versions->count++] = (struct seen_version){.epoch = epoch};
}

static void delete_unneeded(const struct visibility *visibility, struct versions *versions, struct kv_batch *batch)
{
	if (versions->count > 0)
		visibility_versions(visibility, versions->items, versions->count);
	for (size_t i = 0; i < versions->count; i++) {
		struct small_key key = catalog_key_digest(visibility->family, versions->ino, versions->items[i].epoch);
		if (!versions->items[i].needed)
			kv_batch_delete(batch, KV_CATALOG, key.bytes, key.len);
	}
	versions->count = 0;
}

/*
 * One step from inode *from on, which is moved on; 1 when there is more. The visibility is made after the iterator: it knows all views whose
 * records can be met. Those made later find what the line that they continue finds.
 */
static int prune_some(struct store *store, uint32_t family, uint64_t *from, struct kv_batch *batch)
{
	struct kv_iter *iter = iterate(store->kv, family, *from);
	struct visibility *visibility = visibility_new(store, family);
	struct versions versions = {0};
	size_t looked_at = 0;
	bool more = false;
	int result = 0;

	for (kv_iter_first(iter); result == 0 && kv_iter_valid(iter); kv_iter_next(iter), looked_at++) {
		uint64_t ino, epoch;
		size_t key_len;
		uint32_t key_family;
		const uint8_t *key = kv_iter_key(iter, &key_len);
		result = catalog_key_digest_parse(key, key_len, &key_family, &ino, &epoch);
		if (result < 0)
			break;
		if (versions.count > 0 && ino != versions.ino) {
			delete_unneeded(visibility, &versions, batch);
			more = kv_batch_count(batch) >= PRUNE_BATCH || looked_at >= PRUNE_LOOKED_AT;
		}
		versions.ino = *from = ino;
		if (more)
			break;
		add_version(&versions, epoch);
	}
	if (result == 0)
		result = kv_iter_status(iter);
	kv_iter_free(iter);
	delete_unneeded(visibility, &versions, batch);
	free(versions.items);
	visibility_free(visibility);
	if (result == 0 && kv_batch_count(batch) > 0)
		result = kv_write(store->kv, batch, 0);
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
