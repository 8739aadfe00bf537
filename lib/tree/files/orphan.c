/*
 * The end of an inode.
 *
 *   named --last name goes, not open, little content--> removed in the same batch
 *     |     \--last name goes, not open, much content--> orphan, gone --bury--> removed
 *     \--last name goes, open--> orphan --last inode_close--> orphan, gone --bury--> removed
 *
 * An orphan has a record with nlink 0 and an 'O' entry in the catalog. The batch that took its last name wrote both; the batch that removes
 * its last record removes the entry. So view_reap_orphans finds all that a crash leaves behind.
 * Nobody opens an inode that is `gone`. The thread that set `gone` buries it.
 *
 * Damage keeps no file alive. Records that cannot be read cannot be looked through: then the inode stays an orphan until somebody has mended the
 * database.
 */
#include "lib/tree/files/orphan.h"

#include <errno.h>
#include <sys/stat.h>

#include "lib/base/fault.h"
#include "lib/tree/records/inline_content.h"
#include "lib/tree/records/quota.h"
#include "lib/tree/records/touched.h"
#include "lib/tree/content/content.h"
#include "lib/tree/content/pending.h"
#include "lib/tree/files/files.h"
#include "lib/tree/inodes/extent_cache.h"

/* Versions that one batch looks at. */
#define STEP_VERSIONS 4096
/* With more the removal does not go into the batch that took the last name. */
#define SMALL_VERSIONS 256

struct removal {
	struct tree_key next;
	struct tree_key end;
	size_t tombstones;
	uint64_t epoch; /* in which it began */
	uint64_t allocated; /* of the inode */
};

/* Attributes and extents; entries, which only directories have, are gone already. */
static struct removal removal_begin(const struct view *view, uint64_t ino)
{
	return (struct removal){
		.next = tree_prefix_kind(view->family_id, ino, KEY_XATTR),
		.end = tree_prefix_kind(view->family_id, ino, KEY_ENTRY),
		.epoch = view->epoch,
	};
}

/* All records are dealt with. If the inode has nothing left in this epoch, its entry in the touched index goes, too (I7). */
static void note_removed(struct view *view, struct kv_batch *batch, uint64_t ino, const struct removal *removal)
{
	struct small_key orphan = catalog_key_orphan(view->dataset, ino);

	if (removal->tombstones == 0 && removal->epoch == view->epoch)
		touched_remove(batch, view->family_id, view->epoch, ino);
	else
		touched_put(batch, view->family_id, view->epoch, ino);
	kv_batch_delete(batch, KV_CATALOG, orphan.bytes, orphan.len);
}

static int remove_whole(struct view *view, struct kv_batch *batch, struct tree_key first, struct removal *removal)
{
	struct tree_key end = tree_prefix_end(first);

	return version_delete_range(view, batch, SIZE_MAX, &first, &end, &removal->tombstones);
}

/* After everything else: the record, and inline content, which it names. */
static int removal_end(struct view *view, struct kv_batch *batch, uint64_t ino, struct removal *removal)
{
	int r = inline_content_remove(view, batch, ino, &removal->tombstones);

	if (r == 0)
		r = remove_whole(view, batch, tree_stem_inode(view->family_id, ino), removal);
	if (r == 0)
		note_removed(view, batch, ino, removal);
	return r;
}

static bool is_damage(int result)
{
	return result == -EBADMSG || result == -EIO;
}

int orphan_add(struct transaction *transaction, struct inode *inode)
{
	struct view *view = transaction->view;
	struct small_key orphan = catalog_key_orphan(view->dataset, inode->ino);

	if (inode->opens == 0)
		transaction->dying = inode;
	if (inode->opens == 0 && !inode->committing) {
		struct removal removal = removal_begin(view, inode->ino);
		/* This removes the record, too, which lies before the rest. If it must stay, it is put again below. */
		removal.next = tree_prefix_kind(view->family_id, inode->ino, KEY_INODE);
		int r = version_delete_range(view, transaction->batch, SMALL_VERSIONS, &removal.next, &removal.end, &removal.tombstones);
		if (r == 0 && inode->record.is_inline)
			r = inline_content_remove(view, transaction->batch, inode->ino, &removal.tombstones);
		if (r < 0 && !is_damage(r))
			return r;
		transaction->is_dying_removed = r == 0;
		if (r == 0) {
			note_removed(view, transaction->batch, inode->ino, &removal);
			return 0;
		}
	}
	kv_batch_put(transaction->batch, KV_CATALOG, orphan.bytes, orphan.len, "", 0);
	transaction_put(transaction, inode);
	return 0;
}

/* Of an inode that is `gone` and drained. Caller holds inode->lock. */
static void drop_buffered(struct inode *inode)
{
	uint64_t bytes = inode->active.bytes;

	dirty_clear(&inode->active);
	content_promise_less(inode);
	pending_release(inode->view->tree, bytes);
	extent_cache_drop(inode);
	inode->times_dirty = false;
}

/* One batch; 1 when there is more to do. */
static int remove_step(struct view *view, uint64_t ino, struct removal *removal)
{
	struct kv_batch *batch = kv_batch_new();
	int r, more = 0;

	rwlock_read(&view->epoch_lock);
	r = view_check_accepted(view);
	if (r == 0)
		r = fault_point("orphan-batch");
	if (r == 0)
		r = more = version_delete_range(view, batch, STEP_VERSIONS, &removal->next, &removal->end, &removal->tombstones);
	if (r > 0) {
		touched_put(batch, view->family_id, view->epoch, ino);
		r = 0;
	} else if (r == 0) {
		r = removal_end(view, batch, ino, removal);
	}
	if (r == 0)
		r = kv_write(view->tree->kv, batch, KV_GIVES_ROOM);
	if (r == 0 && !more)
		quota_change(view, -(int64_t)removal->allocated);
	rwlock_give(&view->epoch_lock);
	kv_batch_free(batch);
	return r < 0 ? r : more;
}

/* Removes all records of an inode nobody can reach; in bounded batches when large. */
static int remove_records(struct view *view, uint64_t ino, uint64_t allocated)
{
	struct removal removal;
	int r;

	rwlock_read(&view->epoch_lock);
	removal = removal_begin(view, ino);
	removal.allocated = allocated;
	rwlock_give(&view->epoch_lock);
	do {
		r = remove_step(view, ino, &removal);
	} while (r > 0);
	return r;
}

int orphan_bury(struct inode *inode)
{
	int r = fault_point("orphan-before-remove");
	uint64_t allocated;

	mutex_take(&inode->lock);
	inode_wait_drained(inode);
	drop_buffered(inode);
	allocated = S_ISREG(inode->record.mode) ? inode->record.allocated : 0;
	mutex_give(&inode->lock);
	return r < 0 ? r : remove_records(inode->view, inode->ino, allocated);
}

void orphan_finish(struct transaction *transaction)
{
	struct inode *inode = transaction->dying;

	if (!inode)
		return;
	if (transaction->is_dying_removed) {
		/* its records went in one batch because nothing was being committed; nothing is since it is gone */
		mutex_take(&inode->lock);
		drop_buffered(inode);
		mutex_give(&inode->lock);
		return;
	}
	/* what fails stays noted as an orphan and is tried again when the store is next opened */
	int ignored = orphan_bury(inode);
	(void)ignored;
}

/* --- what the last use of the store left behind --- */

static int forget_orphan(struct view *view, uint64_t ino)
{
	struct small_key orphan = catalog_key_orphan(view->dataset, ino);
	struct kv_batch *batch = kv_batch_new();

	kv_batch_delete(batch, KV_CATALOG, orphan.bytes, orphan.len);

	int r = kv_write(view->tree->kv, batch, KV_GIVES_ROOM);

	kv_batch_free(batch);
	return r;
}

static int reap(struct view *view, uint64_t ino)
{
	struct inode *inode;
	bool is_named, is_ours;
	int r = inode_get(view, ino, &inode);

	if (r == -ESTALE)
		return forget_orphan(view, ino);
	if (r < 0)
		return r;
	mutex_take(&inode->lock);
	is_named = inode->record.nlink > 0;
	is_ours = !is_named && inode->opens == 0 && !inode->gone;
	inode->gone = inode->gone || is_ours;
	mutex_give(&inode->lock);
	if (is_named)
		r = forget_orphan(view, ino);
	else if (is_ours)
		r = orphan_bury(inode);
	inode_put(inode);
	return r;
}

int view_reap_orphans(struct view *view)
{
	struct small_key first = catalog_key_orphan(view->dataset, 0), end = catalog_key_orphan(view->dataset, UINT64_MAX);
	int result = view_check_accepted(view);

	if (result < 0)
		return result;

	struct kv_iter *iter = kv_iter_new(view->tree->kv, KV_CATALOG, first.bytes, first.len, end.bytes, end.len);

	for (kv_iter_first(iter); kv_iter_valid(iter); kv_iter_next(iter)) {
		size_t len;
		const uint8_t *key = kv_iter_key(iter, &len);
		struct reader number = reader_over(key + first.len - sizeof(uint64_t), len == first.len ? sizeof(uint64_t) : 0);
		uint64_t ino = read_be64(&number);
		int r = number.bad ? -EBADMSG : reap(view, ino);
		result = result < 0 ? result : r;
	}

	int r = kv_iter_status(iter);

	kv_iter_free(iter);
	return result < 0 ? result : r;
}
