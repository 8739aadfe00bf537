#include "lib/tree/records/view.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <sys/stat.h>

#include "lib/base/clock.h"
#include "lib/tree/records/family.h"
#include "lib/tree/records/touched.h"
#include "lib/tree/records/transaction.h"
#include "lib/tree/files/names.h"

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
	mutex_init(&tree->lru_lock, LOCK_LRU);
	mutex_init(&tree->family_lock, LOCK_FAMILIES);

	int r = space_new(tree->space_path, options->reserve_bytes, &tree->space);

	if (r == 0)
		r = committer_start(tree);
	if (r < 0) {
		tree_free(tree);
		return r;
	}
	*ret_tree = tree;
	return 0;
}

void tree_free(struct tree *tree)
{
	if (!tree)
		return;
	assert(tree->open_views == 0);
	committer_stop(tree);
	families_free(tree);
	space_free(tree->space);
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

void tree_usage(struct tree *tree, struct tree_usage *ret_usage)
{
	committer_usage(tree, NULL, &ret_usage->dirty_bytes, &ret_usage->dirty_inodes);
	ret_usage->free_bytes = space_available(tree->space);
	mutex_take(&tree->lru_lock);
	ret_usage->cached_inodes = tree->lru_count;
	mutex_give(&tree->lru_lock);
}

/* --- opening and closing --- */

static void init_locks(struct view *view)
{
	const uint64_t family_and_dataset = (uint64_t)view->family_id << 32 | view->dataset;

	/* Writers come first: a snapshot must not wait for ever behind changes that follow each other closely. */
	rwlock_init_keyed(&view->epoch_lock, LOCK_EPOCH, family_and_dataset, view->number);
	mutex_init(&view->names, LOCK_NAMES);
	mutex_init(&view->cache_lock, LOCK_CACHE);
	pthread_cond_init(&view->loaded, NULL);
	hold_init(&view->hold);
}

int view_open(struct tree *tree, const struct view_options *options, struct view **ret_view)
{
	struct family *family = NULL;
	int r = options->epoch != 0 ? family_get(tree, options->family, &family) : 0;

	if (r < 0)
		return r;

	struct view *view = xcalloc(1, sizeof(*view));

	view->tree = tree;
	view->dataset = options->dataset;
	view->family_id = options->family;
	view->number = options->view;
	view->family = family;
	view->level = options->level;
	view->epoch = options->epoch;
	view->read_only = options->epoch == 0;
	view->line = line_copy(options->line);
	if (options->shared)
		view->shared = line_copy(options->shared);
	assert(view->read_only || line_has(&view->line, view->epoch));
	init_locks(view);
	atomic_fetch_add(&tree->open_views, 1);
	*ret_view = view;
	return 0;
}

void view_close(struct view *view)
{
	if (!view)
		return;

	struct tree *tree = view->tree;
	int r = committer_run(tree, view, NULL);

	for (unsigned i = 1; r < 0 && i < CLOSE_TRIES; i++)
		r = committer_run(tree, view, NULL);
	if (r < 0) {
		/* It cannot be written: tree_sync said so to whoever cared. Of a retired view it is dropped, which lets go of its inodes. */
		atomic_store(&view->retired, true);
		r = committer_run(tree, view, NULL);
	}
	inode_cache_empty(view);
	atomic_fetch_sub(&tree->open_views, 1);
	line_clear(&view->line);
	line_clear(&view->shared);
	hold_clear(&view->hold);
	pthread_cond_destroy(&view->loaded);
	mutex_clear(&view->cache_lock);
	mutex_clear(&view->names);
	rwlock_clear(&view->epoch_lock);
	free(view);
}

void view_make_root(struct kv_batch *batch, uint32_t family, uint64_t epoch, uint32_t mode, uint32_t uid, uint32_t gid)
{
	struct family_record numbers = {.next_epoch = epoch + 1, .next_ino = ROOT_INO + 1};
	struct small_key family_key = catalog_key_u32('F', family);
	struct tree_key root_key = tree_key_at(tree_stem_inode(family, ROOT_INO), epoch);
	struct timespec now = clock_now();
	struct inode_record root = {
		.mode = S_IFDIR | (mode & 07777),
		.uid = uid,
		.gid = gid,
		.nlink = 2,
		.size = DIRECTORY_SIZE,
		.parent = ROOT_INO,
		.atime = now,
		.mtime = now,
		.ctime = now,
		.btime = now,
	};
	AUTO_BUF value = BUF_INIT;

	family_record_encode(&numbers, &value);
	kv_batch_put(batch, KV_CATALOG, family_key.bytes, family_key.len, value.data, value.len);
	buf_reset(&value);
	inode_record_encode(&root, &value);
	kv_batch_put(batch, KV_TREE, root_key.bytes, root_key.len, value.data, value.len);
	touched_put(batch, family, epoch, ROOT_INO);
}

/* --- changing what is seen --- */

int view_check_change(const struct view *view)
{
	if (view->read_only)
		return -EROFS;
	return atomic_load(&view->retired) ? -ESTALE : 0;
}

void view_set_shared(struct view *view, const struct line *shared)
{
	rwlock_write(&view->epoch_lock);
	line_clear(&view->shared);
	view->shared = line_copy(shared);
	rwlock_give(&view->epoch_lock);
}

void view_set_level(struct view *view, int level)
{
	rwlock_write(&view->epoch_lock);
	view->level = level;
	rwlock_give(&view->epoch_lock);
}

/* --- asking --- */

uint32_t view_number(const struct view *view)
{
	return view->number;
}

uint32_t view_family(const struct view *view)
{
	return view->family_id;
}

uint32_t view_dataset(const struct view *view)
{
	return view->dataset;
}

bool view_read_only(const struct view *view)
{
	return view->read_only;
}

struct line view_line(struct view *view)
{
	rwlock_read(&view->epoch_lock);

	struct line line = line_copy(&view->line);

	rwlock_give(&view->epoch_lock);
	return line;
}

struct tree *view_tree(struct view *view)
{
	return view->tree;
}

int view_sync(struct view *view)
{
	int r = committer_run(view->tree, view, NULL);

	return r < 0 ? r : committer_sync(view->tree);
}

uint64_t view_dirty_bytes(struct view *view)
{
	uint64_t bytes, inodes;

	committer_usage(view->tree, view, &bytes, &inodes);
	return bytes;
}
