#include "lib/tree/inodes/inode.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <utlist.h>

#include "lib/kv/kv.h"
#include "lib/tree/inodes/allocated.h"
#include "lib/tree/inodes/extent_cache.h"
#include "lib/tree/records/inline_content.h"
#include "lib/tree/records/touched.h"

#define LOADED 1
#define ENTRY_BYTES 1024 /* of an unused inode, in the mean */

/* --- the cache --- */

static struct inode *inode_new(struct view *view, uint64_t ino)
{
	struct inode *inode = xcalloc(1, sizeof(*inode));

	inode->view = view;
	inode->ino = ino;
	inode->refs = 1;
	mutex_init_keyed(&inode->lock, LOCK_INODE, view->number, ino);
	pthread_cond_init(&inode->drained, NULL);
	return inode;
}

static void inode_free(struct inode *inode)
{
	extent_cache_drop(inode);
	dirty_clear(&inode->active);
	dirty_clear(&inode->frozen);
	buf_clear(&inode->inline_data);
	pthread_cond_destroy(&inode->drained);
	mutex_clear(&inode->lock);
	free(inode);
}

/* cache_lock is held. */
static void hash_add(struct inode *inode)
{
	HASH_ADD(by_ino, inode->view->inodes, ino, sizeof(inode->ino), inode);
	inode->is_hashed = true;
	atomic_fetch_add(&inode->view->tree->inodes, 1);
}

static void hash_remove(struct inode *inode)
{
	if (!inode->is_hashed)
		return;
	HASH_DELETE(by_ino, inode->view->inodes, inode);
	inode->is_hashed = false;
	atomic_fetch_sub(&inode->view->tree->inodes, 1);
}

/* Those of files with small content take several times as much as others. lru_lock is held. */
static bool lru_is_long(const struct tree *tree)
{
	const uint64_t most = tree->options.inode_cache_entries;

	return tree->lru_count > most || tree->lru_bytes > most * ENTRY_BYTES;
}

/* lru_lock is held. */
static void lru_take_out(struct tree *tree, struct inode *inode)
{
	DL_DELETE2(tree->lru, inode, lru_prev, lru_next);
	tree->lru_count--;
	tree->lru_bytes -= inode->lru_bytes;
}

static void lru_remove(struct inode *inode)
{
	struct tree *tree = inode->view->tree;

	mutex_take(&tree->lru_lock);
	lru_take_out(tree, inode);
	mutex_give(&tree->lru_lock);
}

/* True when the list has grown too long. */
static bool lru_add(struct inode *inode)
{
	struct tree *tree = inode->view->tree;
	bool is_long;

	inode->lru_bytes = sizeof(*inode) + inode->inline_data.cap;
	mutex_take(&tree->lru_lock);
	DL_APPEND2(tree->lru, inode, lru_prev, lru_next);
	tree->lru_count++;
	tree->lru_bytes += inode->lru_bytes;
	is_long = lru_is_long(tree);
	mutex_give(&tree->lru_lock);
	return is_long;
}

/*
 * Elsewhere a cache_lock is taken before lru_lock, so here it is only tried; when that fails, the next inode_put will trim. A view whose
 * inode is on the list is not closed meanwhile: view_close needs lru_lock.
 */
static void lru_trim(struct tree *tree)
{
	struct inode *unused = NULL, *inode, *next;

	mutex_take(&tree->lru_lock);
	while (lru_is_long(tree)) {
		inode = tree->lru;
		if (!mutex_try(&inode->view->cache_lock))
			break;
		lru_take_out(tree, inode);
		hash_remove(inode);
		atomic_fetch_add(&tree->evictions, 1);
		mutex_give(&inode->view->cache_lock);
		/* counts the extents it holds against the tree, not the view: it may be freed after the view */
		DL_APPEND2(unused, inode, lru_prev, lru_next);
		extent_cache_drop(inode);
	}
	mutex_give(&tree->lru_lock);
	DL_FOREACH_SAFE2(unused, inode, next, lru_next)
		inode_free(inode);
}

void inode_cache_empty(struct view *view)
{
	struct inode *inode, *next;

	mutex_take(&view->cache_lock);
	mutex_take(&view->tree->lru_lock);
	HASH_ITER(by_ino, view->inodes, inode, next) {
		assert(inode->refs == 0);
		lru_take_out(view->tree, inode);
		hash_remove(inode);
		inode_free(inode);
	}
	mutex_give(&view->tree->lru_lock);
	mutex_give(&view->cache_lock);
}

/* --- loading --- */

static void take_record(struct inode *inode, const struct inode_record *record)
{
	inode->record = *record;
	inode->size = record->size;
	buf_add(&inode->inline_data, record->target, record->target_len);
	inode->record.target = inode->inline_data.data;
}

static int read_record(struct inode *inode)
{
	struct tree_key stem = tree_stem_inode(inode->view->family_id, inode->ino);
	struct inode_record record;
	AUTO_BUF value = BUF_INIT;
	int r = view_version_get(inode->view, &stem, &value, &inode->record_epoch);

	if (r == -ENOENT)
		return -ESTALE;
	if (r == 0)
		r = inode_record_decode(value.data, value.len, &record);
	if (r < 0)
		return r == -EBADMSG ? -EIO : r;
	take_record(inode, &record);
	return 0;
}

bool inode_is_damaged(struct view *view, uint64_t ino)
{
	struct tree_key stem = tree_stem_inode(view->family_id, ino);
	struct inode_record record;
	AUTO_BUF value = BUF_INIT;
	uint64_t epoch;
	int r = view_version_get(view, &stem, &value, &epoch);

	if (r == 0)
		r = inode_record_decode(value.data, value.len, &record);
	/* an error of the disk is damage only where somebody has found some */
	return r == -EBADMSG || r == -ENOENT || (r == -EIO && kv_damaged(view->tree->kv) == KV_DAMAGED);
}

/* cache_lock is held, and given up while somebody else loads the inode. */
static int wait_loaded(struct inode *inode)
{
	while (inode->load == 0)
		mutex_wait(&inode->view->cache_lock, &inode->view->loaded);
	return inode->load == LOADED ? 0 : inode->load;
}

/* The inode is new in the cache: others who find it wait. cache_lock is held, and given up meanwhile. */
static int load(struct inode *inode)
{
	struct view *view = inode->view;

	hash_add(inode);
	mutex_give(&view->cache_lock);

	int r = read_record(inode);

	mutex_take(&view->cache_lock);
	if (r < 0)
		hash_remove(inode);
	inode->load = r < 0 ? r : LOADED;
	pthread_cond_broadcast(&view->loaded);
	return r;
}

/* cache_lock is held. Referenced, or NULL; perhaps still being loaded. */
static struct inode *find(struct view *view, uint64_t ino)
{
	struct inode *inode;

	HASH_FIND(by_ino, view->inodes, &ino, sizeof(ino), inode);
	if (inode && inode->refs++ == 0)
		lru_remove(inode);
	return inode;
}

static int get(struct view *view, uint64_t ino, bool load_it, struct inode **ret_inode)
{
	struct inode *inode;
	int r;

	if (ino == 0 || ino > INO_MAX)
		return -ESTALE;
	mutex_take(&view->cache_lock);
	inode = find(view, ino);
	if (inode) {
		r = wait_loaded(inode);
	} else if (load_it) {
		inode = inode_new(view, ino);
		r = load(inode);
	} else {
		r = -ENOENT;
	}
	mutex_give(&view->cache_lock);
	if (!inode)
		return r;
	if (r < 0) {
		inode_put(inode);
		return r;
	}
	*ret_inode = inode;
	return 0;
}

int inode_get(struct view *view, uint64_t ino, struct inode **ret_inode)
{
	return get(view, ino, true, ret_inode);
}

int inode_find(struct view *view, uint64_t ino, struct inode **ret_inode)
{
	return get(view, ino, false, ret_inode);
}

void inode_put(struct inode *inode)
{
	struct view *view = inode->view;
	struct tree *tree = view->tree;
	bool is_unused = false, is_long = false;

	mutex_take(&view->cache_lock);
	if (--inode->refs == 0) {
		/* whoever set gone had a reference, so it is seen here; what was removed stays for view_getattr_removed */
		if (inode->gone && inode->record_epoch == 0)
			hash_remove(inode);
		is_unused = !inode->is_hashed;
		is_long = !is_unused && lru_add(inode);
	}
	mutex_give(&view->cache_lock);
	if (is_unused)
		inode_free(inode);
	if (is_long)
		lru_trim(tree);
}

struct inode *inode_add(struct view *view, uint64_t ino, const struct inode_record *record)
{
	struct inode *inode = inode_new(view, ino);

	take_record(inode, record);
	inode->load = LOADED;
	mutex_take(&view->cache_lock);
	hash_add(inode);
	mutex_give(&view->cache_lock);
	return inode;
}

/* --- records --- */

void inode_record_put(struct inode *inode, struct kv_batch *batch)
{
	struct view *view = inode->view;
	struct tree_key stem = tree_stem_inode(view->family_id, inode->ino);
	AUTO_BUF value = BUF_INIT;

	inode_record_encode(&inode->record, &value);
	version_put(view, batch, &stem, inode->record_epoch, value.data, value.len);
	if (inode->record_epoch != view->epoch)
		touched_put(batch, view->family_id, view->epoch, inode->ino);
}

void inode_written(struct inode *inode)
{
	inode->record_epoch = inode->view->epoch;
	inode->times_dirty = false;
}

void inode_count_record(struct inode *inode, struct journal_record *record, enum journal_kind kind, uint64_t offset, uint64_t len)
{
	if (!record)
		return;
	record->kind = kind;
	record->view = inode->view->number;
	record->ino = inode->ino;
	record->offset = offset;
	record->len = len;
	record->atime = inode->record.atime;
	record->mtime = inode->record.mtime;
	record->ctime = inode->record.ctime;
	journal_count(inode->view->tree->journal, record);
	dirty_add_record(&inode->active, inode->view->tree->journal, record);
}

int inode_load_inline(struct inode *inode)
{
	AUTO_BUF content = BUF_INIT;
	int r;

	if (!inode->record.is_inline || inode->has_inline_data)
		return 0;
	r = inline_content_get(inode->view->tree, inode->view->family_id, inode->ino, &inode->record, &content);
	if (r < 0)
		return r;
	inode->inline_data = content;
	content = (struct buf)BUF_INIT;
	inode->has_inline_data = true;
	return 0;
}

/* --- waiting --- */

void inode_wait_drained(struct inode *inode)
{
	while (inode->committing)
		mutex_wait(&inode->lock, &inode->drained);
}

/* --- asking --- */

uint64_t inodes_bytes(struct tree *tree)
{
	uint64_t unused, bytes;

	mutex_take(&tree->lru_lock);
	unused = tree->lru_count;
	bytes = tree->lru_bytes;
	mutex_give(&tree->lru_lock);
	return bytes + (MAX(atomic_load(&tree->inodes), unused) - unused) * sizeof(struct inode) +
	       __atomic_load_n(&tree->cached_extents, __ATOMIC_RELAXED) * sizeof(struct extent);
}

uint64_t inodes_budget(const struct tree *tree)
{
	return tree->options.inode_cache_entries * ENTRY_BYTES + tree->options.extent_cache_entries * sizeof(struct extent);
}

uint64_t inode_ino(const struct inode *inode)
{
	return inode->ino;
}

struct view *inode_view(const struct inode *inode)
{
	return inode->view;
}

void inode_fill_attr(struct inode *inode, struct attr *ret_attr)
{
	*ret_attr = attr_of_record(inode->ino, &inode->record);
	ret_attr->size = inode->size;
	if (S_ISREG(inode->record.mode))
		ret_attr->allocated = allocated_after_commit(inode);
}

void inode_attr(struct inode *inode, struct attr *ret_attr)
{
	mutex_take(&inode->lock);
	inode_fill_attr(inode, ret_attr);
	mutex_give(&inode->lock);
}
