#include "lib/tree/records/view.h"

#include <assert.h>
#include <errno.h>
#include <sys/stat.h>

#include "lib/base/clock.h"
#include "lib/tree/records/attr.h"
#include "lib/tree/records/family.h"
#include "lib/tree/records/touched.h"
#include "lib/tree/records/view_inside.h"

/* --- opening and closing --- */

static void init_locks(struct view *view)
{
	const uint64_t family_and_dataset = (uint64_t)view->family_id << 32 | view->dataset;

	/* Writers come first: a snapshot must not wait for ever behind changes that follow each other closely. */
	rwlock_init_keyed(&view->epoch_lock, LOCK_EPOCH, family_and_dataset, view->number);
	mutex_init(&view->names, LOCK_NAMES);
	mutex_init(&view->cache_lock, LOCK_CACHE);
	pthread_cond_init(&view->loaded, NULL);
	mutex_init(&view->quota.lock, LOCK_QUOTA);
	pthread_cond_init(&view->quota.changed, NULL);
	hold_init(&view->hold);
}

int view_new(struct tree *tree, const struct view_options *options, struct view **ret_view)
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
	atomic_init(&view->quota.limit, options->quota);
	view->epoch = options->epoch;
	view->read_only = options->epoch == 0;
	atomic_init(&view->locked, options->locked);
	view->line = line_copy(options->line);
	if (options->shared)
		view->shared = line_copy(options->shared);
	assert(view->read_only || line_has(&view->line, view->epoch));
	init_locks(view);
	*ret_view = view;
	return 0;
}

void view_free(struct view *view)
{
	line_clear(&view->line);
	line_clear(&view->shared);
	hold_clear(&view->hold);
	pthread_cond_destroy(&view->quota.changed);
	mutex_clear(&view->quota.lock);
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

int view_check_accepted(const struct view *view)
{
	if (view->read_only)
		return -EROFS;
	/* first: what is buffered in a view that goes is dropped, also if it was locked */
	if (atomic_load(&view->retired))
		return -ESTALE;
	return atomic_load(&view->locked) ? -EROFS : 0;
}

static bool has_ended(const struct view *view)
{
	const uint64_t end_ms = atomic_load(&view->end_ms);

	return end_ms > 0 && clock_boot_ms() >= end_ms;
}

int view_check_change(const struct view *view)
{
	int r = view_check_accepted(view);

	return r == 0 && has_ended(view) ? -EROFS : r;
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

void view_set_locked(struct view *view, bool is_locked)
{
	atomic_store(&view->locked, is_locked);
}

void view_set_end(struct view *view, uint64_t end_ms)
{
	atomic_store(&view->end_ms, end_ms);
}

/* --- asking --- */

bool view_is_locked(const struct view *view)
{
	return atomic_load(&view->locked);
}

bool view_refuses(const struct view *view)
{
	return view_is_locked(view) || has_ended(view);
}

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

int view_first_new_ino(struct view *view, uint64_t *ret_ino)
{
	return family_next_ino(view->tree, view->family, ret_ino);
}
