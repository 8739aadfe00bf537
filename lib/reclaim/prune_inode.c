#include "lib/reclaim/prune_inode.h"

#include <errno.h>
#include <string.h>

#include "lib/base/array.h"
#include "lib/base/fault.h"
#include "lib/tree/freeze/freeze.h"
#include "lib/tree/records/all_versions.h"

#define STEP_KEYS 256
#define STEP_VERSIONS 65536
#define LOOKED_AT 65536

/* The versions of the record at hand, the newest first. */
struct versions {
	ARRAY_FIELDS(struct seen_version);
	struct tree_key stem;
};

void pruning_clear(struct pruning *pruning)
{
	prune_record_clear(&pruning->record);
	visibility_free(pruning->visibility);
	free(pruning->looked_at);
}

static void add_version(struct versions *versions, const struct stored_version *version)
{
	array_add(versions, (struct seen_version){.epoch = version->parts.epoch, .tombstone = version->len == 0});
}

static bool has_garbage(struct visibility *visibility, struct versions *versions)
{
	if (versions->count == 0)
		return false;
	visibility_versions(visibility, versions->items, versions->count);
	for (size_t i = 0; i < versions->count; i++)
		if (!versions->items[i].needed)
			return true;
	return false;
}

/* Finds the next records with garbage in [*from, end), at most STEP_KEYS, among the next STEP_VERSIONS; moves *from on. */
static int look(const struct pruning *pruning, struct tree_key *from, const struct tree_key *end, struct tree_key *stems, size_t *ret_count)
{
	struct all_versions *all = all_versions_between(pruning->store->tree, from, end);
	struct stored_version version;
	struct versions versions = {0};
	size_t count = 0, looked_at = 0;
	int result;

	*from = *end;
	while ((result = all_versions_next(all, &version)) > 0) {
		if (version.is_newest) {
			if (has_garbage(pruning->visibility, &versions))
				stems[count++] = versions.stem;
			array_reset(&versions);
			versions.stem = *version.stem;
		}
		if (count == STEP_KEYS || (version.is_newest && looked_at >= STEP_VERSIONS)) {
			*from = tree_key_at(versions.stem, UINT64_MAX);
			break;
		}
		add_version(&versions, &version);
		looked_at++;
	}
	if (result == 0 && has_garbage(pruning->visibility, &versions))
		stems[count++] = versions.stem;
	all_versions_free(all);
	array_clear(&versions);
	*ret_count = count;
	return MIN(result, 0);
}

static int remove_record(struct pruning *pruning, const struct tree_key *stem, struct versions *versions, struct kv_batch *batch)
{
	struct tree_key first = tree_key_at(*stem, UINT64_MAX), end = tree_prefix_end(*stem);
	struct all_versions *all = all_versions_between(pruning->store->tree, &first, &end);
	struct stored_version version;
	int result;

	array_reset(versions);
	while ((result = all_versions_next(all, &version)) > 0)
		add_version(versions, &version);
	all_versions_free(all);
	if (result < 0)
		return result;
	(void)has_garbage(pruning->visibility, versions);
	for (size_t i = 0; i < versions->count; i++)
		if (!versions->items[i].needed)
			all_versions_remove(batch, stem, versions->items[i].epoch);
	return 0;
}

/* Caller holds change_lock and has frozen the family's heads. */
static int remove_frozen(struct pruning *pruning, const struct tree_key *stems, size_t count, uint64_t *ret_removed)
{
	struct kv_batch *batch = kv_batch_new();
	struct versions versions = {0};
	int result = 0;

	visibility_refresh(pruning->visibility);
	for (size_t i = 0; i < count && result == 0; i++)
		result = remove_record(pruning, &stems[i], &versions, batch);
	if (result == 0)
		result = kv_write(pruning->store->kv, batch, KV_GIVES_ROOM);
	if (result == 0)
		*ret_removed = kv_batch_count(batch);
	array_clear(&versions);
	kv_batch_free(batch);
	return result;
}

static int remove_garbage(struct pruning *pruning, const struct tree_key *stems, size_t count)
{
	struct store *store = pruning->store;
	struct view_set heads;
	struct freeze *freeze;
	uint64_t removed = 0;

	mutex_take(&store->change_lock);
	int result = views_get_heads(store, pruning->record.family, &heads);
	if (result == 0) {
		result = freeze_begin_uncommitted(heads.items, heads.count, &freeze);
		if (result == 0) {
			result = remove_frozen(pruning, stems, count, &removed);
			freeze_end(freeze);
		}
		views_put_heads(store, &heads);
	}
	mutex_give(&store->change_lock);
	if (result == 0)
		result = fault_point("prune-batch");
	return result < 0 ? result : pruning->step(pruning->arg, 0, removed);
}

/* Inodes that change all the time are touched in each epoch. Two may have one place: then they are looked at again. */
static bool was_looked_at(struct pruning *pruning, uint64_t ino)
{
	uint64_t *place;

	if (!pruning->looked_at)
		pruning->looked_at = xcalloc(LOOKED_AT, sizeof(*pruning->looked_at));
	place = &pruning->looked_at[ino * 0x9e3779b97f4a7c15ULL % LOOKED_AT];
	if (*place == ino)
		return true;
	*place = ino;
	return false;
}

static int prune_range(struct pruning *pruning, struct tree_key from, struct tree_key *stems)
{
	const struct tree_key end = tree_prefix_end(from);
	bool more = true;
	int result = 0;

	while (result == 0 && more) {
		size_t count;
		result = look(pruning, &from, &end, stems, &count);
		more = from.len != end.len || memcmp(from.bytes, end.bytes, end.len) != 0;
		if (result == 0 && count > 0)
			result = remove_garbage(pruning, stems, count);
		else if (result == 0 && more)
			result = pruning->step(pruning->arg, 0, 0);
	}
	return result;
}

int prune_inode(struct pruning *pruning, uint64_t ino)
{
	AUTO_FREE struct tree_key *stems = NULL;
	int result;

	if (was_looked_at(pruning, ino))
		return 0;
	stems = xcalloc(STEP_KEYS, sizeof(*stems));
	result = prune_range(pruning, tree_prefix_inode(pruning->record.family, ino), stems);
	if (result < 0)
		return result;
	/* Inline content that nobody sees stays where a table of it is damaged: it is small, and pruning goes on. */
	result = prune_range(pruning, tree_stem_content(pruning->record.family, ino), stems);
	return result == -EBADMSG ? 0 : result;
}
