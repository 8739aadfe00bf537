#include "lib/tree/content/tree.h"

#include <assert.h>

#include "lib/tree/content/committer.h"
#include "lib/tree/content/pending.h"
#include "lib/tree/content/space.h"
#include "lib/tree/inodes/extent_cache.h"
#include "lib/tree/inodes/inode.h"
#include "lib/tree/records/family.h"

#define CLOSE_TRIES 3

/* --- the tree --- */

int tree_new(struct kv *kv, struct chunks *chunks, struct pool *pool, const struct tree_options *options, struct tree **ret_tree)
{
	struct tree *tree = xcalloc(1, sizeof(*tree));

	tree->kv = kv;
	tree->chunks = chunks;
	tree->pool = pool;
	tree->options = *options;
	tree->space_path = xstrdup(options->space_path);
	tree->options.space_path = tree->space_path;
	atomic_store(&tree->replayed, UINT64_MAX);
	if (tree->options.extent_cache_entries == 0)
		tree->options.extent_cache_entries = EXTENTS_CACHED_USUAL;
	mutex_init(&tree->lru_lock, LOCK_LRU);
	mutex_init(&tree->family_lock, LOCK_FAMILIES);
	rwlock_init(&tree->readers.moving, LOCK_MOVING);

	int r = space_new(tree->space_path, options->reserve_bytes, kv, &tree->space);

	tree->pending = pending_new(options);
	if (r == 0 && options->journal)
		r = journal_new(options->journal, options->journal_bytes, &tree->journal);
	if (r == 0)
		r = committer_start(tree);
	if (r < 0) {
		tree_free(tree);
		return r;
	}
	*ret_tree = tree;
	return 0;
}

void tree_give_back(struct tree *tree)
{
	if (tree->journal)
		journal_give_back(tree->journal);
	block_pool_give_back(pending_blocks(tree));
}

void tree_free(struct tree *tree)
{
	if (!tree)
		return;
	assert(tree->open_views == 0);
	committer_stop(tree);
	pending_free(tree->pending);
	journal_free(tree->journal);
	families_free(tree);
	space_free(tree->space);
	rwlock_clear(&tree->readers.moving);
	mutex_clear(&tree->family_lock);
	mutex_clear(&tree->lru_lock);
	free(tree->space_path);
	free(tree);
}

int tree_sync(struct tree *tree)
{
	int r = committer_run(tree, NULL, NULL);

	return r < 0 ? r : committer_sync(tree);
}

struct commit_failure tree_commit_failure(struct tree *tree, const struct view *view)
{
	return pending_failure(tree, view);
}

void tree_usage(struct tree *tree, struct tree_usage *ret_usage)
{
	pending_usage(tree, NULL, &ret_usage->dirty_bytes, &ret_usage->dirty_inodes);
	pending_failing(tree, &ret_usage->failing_inodes, &ret_usage->failing_error);

	const uint64_t available = space_promised(tree->space);

	ret_usage->free_bytes = available - MIN(available, ret_usage->dirty_bytes);
	mutex_take(&tree->lru_lock);
	ret_usage->cached_inodes = tree->lru_count;
	mutex_give(&tree->lru_lock);
	ret_usage->inode_bytes = inodes_bytes(tree);
	ret_usage->inode_budget = inodes_budget(tree);
	ret_usage->buffer_bytes = ret_usage->dirty_bytes + block_pool_idle_bytes(pending_blocks(tree));
	ret_usage->buffer_budget = pending_budget(tree);
}

/* --- its views --- */

int view_open(struct tree *tree, const struct view_options *options, struct view **ret_view)
{
	int r = view_new(tree, options, ret_view);

	if (r == 0)
		atomic_fetch_add(&tree->open_views, 1);
	return r;
}

int view_close(struct view *view)
{
	if (!view)
		return 0;

	struct tree *tree = view->tree;
	bool is_retired = atomic_load(&view->retired);
	int r = committer_run(tree, view, NULL), lost;

	for (unsigned i = 1; r < 0 && !is_retired && i < CLOSE_TRIES; i++)
		r = committer_run(tree, view, NULL);
	lost = is_retired ? 0 : r;
	if (r < 0) {
		/* Of a retired view it is dropped, which lets go of its inodes. */
		atomic_store(&view->retired, true);
		/* A group that was begun before fails like the others did, and its inodes are listed once more. */
		do
			r = committer_run(tree, view, NULL);
		while (!pending_is_clean(tree, &view, 1));
	}
	inode_cache_empty(view);
	atomic_fetch_sub(&tree->open_views, 1);
	view_free(view);
	return lost;
}

int view_sync(struct view *view)
{
	int r = committer_run(view->tree, view, NULL);

	return r < 0 ? r : committer_sync(view->tree);
}

uint64_t view_dirty_bytes(struct view *view)
{
	uint64_t bytes, inodes;

	pending_usage(view->tree, view, &bytes, &inodes);
	return bytes;
}
