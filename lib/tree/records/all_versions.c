#include "lib/tree/records/all_versions.h"

#include <errno.h>
#include <string.h>

#include "lib/tree/records/version.h"
#include "lib/tree/records/view_inside.h"
#include "lib/tree/records/touched.h"

struct all_versions {
	struct kv_iter *iter;
	struct tree_key stem;
	bool is_started;
};

struct all_versions *all_versions_new(struct tree *tree)
{
	struct all_versions *all = xcalloc(1, sizeof(*all));

	all->iter = kv_iter_new_flags(tree->kv, KV_TREE, NULL, 0, NULL, 0, KV_ITER_SCAN);
	return all;
}

struct all_versions *all_versions_new_contents(struct tree *tree)
{
	struct all_versions *all = xcalloc(1, sizeof(*all));

	all->iter = kv_iter_new_flags(tree->kv, KV_CONTENT, NULL, 0, NULL, 0, KV_ITER_SCAN);
	return all;
}

struct all_versions *all_versions_of_family(struct tree *tree, uint32_t family)
{
	const struct tree_key first = tree_prefix_family(family), end = tree_prefix_end(first);
	struct all_versions *all = xcalloc(1, sizeof(*all));

	all->iter = kv_iter_new_flags(tree->kv, KV_TREE, first.bytes, first.len, end.bytes, end.len, KV_ITER_SCAN);
	return all;
}

struct all_versions *all_versions_between(struct tree *tree, const struct tree_key *first, const struct tree_key *end)
{
	struct all_versions *all = xcalloc(1, sizeof(*all));

	all->iter = kv_iter_new(tree->kv, version_family(first), first->bytes, first->len, end->bytes, end->len);
	return all;
}

void all_versions_free(struct all_versions *all)
{
	if (!all)
		return;
	kv_iter_free(all->iter);
	free(all);
}

int all_versions_next(struct all_versions *all, struct stored_version *ret_version)
{
	struct stored_version version = {.stem = &all->stem};
	const uint8_t *key;
	size_t len;
	int result;

	if (all->is_started)
		kv_iter_next(all->iter);
	else
		kv_iter_first(all->iter);
	all->is_started = true;
	if (!kv_iter_valid(all->iter))
		return kv_iter_status(all->iter);
	key = kv_iter_key(all->iter, &len);
	result = tree_key_parse(key, len, &version.parts);
	if (result < 0)
		return result;
	len -= TREE_KEY_EPOCH_LEN;
	version.is_newest = len != all->stem.len || memcmp(key, all->stem.bytes, len) != 0;
	if (version.is_newest) {
		memcpy(all->stem.bytes, key, len);
		all->stem.len = len;
	}
	version.value = kv_iter_value(all->iter, &version.len);
	*ret_version = version;
	return 1;
}

void all_versions_make_way(struct all_versions *all)
{
	kv_iter_make_way(all->iter);
}

uint64_t all_versions_estimate(struct tree *tree)
{
	return kv_estimate_keys(tree->kv, KV_TREE);
}

void all_versions_remove(struct kv_batch *batch, const struct tree_key *stem, uint64_t epoch)
{
	struct tree_key key = tree_key_at(*stem, epoch);

	kv_batch_delete(batch, version_family(&key), key.bytes, key.len);
}

void all_versions_replace(struct kv_batch *batch, const struct tree_key *stem, uint64_t epoch, const void *value, size_t len)
{
	struct tree_key key = tree_key_at(*stem, epoch);

	kv_batch_put(batch, KV_TREE, key.bytes, key.len, value, len);
}

int all_versions_get(struct tree *tree, const struct tree_key *stem, uint64_t epoch, struct buf *value)
{
	struct tree_key key = tree_key_at(*stem, epoch);

	return kv_get(tree->kv, KV_TREE, key.bytes, key.len, value);
}

int all_versions_drop_family(struct tree *tree, uint32_t family)
{
	struct tree_key first = tree_prefix_family(family), end = tree_prefix_family(family + 1);
	int result = kv_drop_range(tree->kv, KV_CONTENT, first.bytes, first.len, end.bytes, end.len);

	if (result == 0)
		result = kv_drop_range(tree->kv, KV_TREE, first.bytes, first.len, end.bytes, end.len);
	return result < 0 ? result : touched_drop_family(tree, family);
}

int all_versions_compact(struct tree *tree, uint64_t count, bool (*stop)(void *arg), void *arg)
{
	int result = kv_compact_waste(tree->kv, KV_TREE, count, stop, arg), next = 0;

	/* where there is no room for one of them there may be for another */
	if (result == 0 || result == -ENOSPC)
		next = kv_compact_waste(tree->kv, KV_CONTENT, KV_LIVING_UNKNOWN, stop, arg);
	result = next < 0 ? next : result;
	if (result == 0 || result == -ENOSPC)
		next = touched_compact(tree, stop, arg);
	return next < 0 ? next : result;
}
