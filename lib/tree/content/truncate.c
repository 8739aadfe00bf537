/* Changes of a file's content without new data: shared helpers, and the change of its length. */
#include <errno.h>

#include "lib/tree/content/committer.h"
#include "lib/tree/content/content.h"

/* Extents that one batch removes at most lie within so many bytes (more only if there are none between). */
#define STEP_BYTES (512ULL << 20)

void inode_wait_drained(struct inode *inode)
{
	while (inode->committing)
		mutex_wait(&inode->lock, &inode->drained);
}

void content_change_begin(struct content_change *change, struct inode *inode)
{
	change->inode = inode;
	change->batch = kv_batch_new();
	rwlock_read(&inode->view->epoch_lock);
	change->old_record = inode->record;
	change->old_size = inode->size;
}

int content_change_end(struct content_change *change, int result)
{
	struct inode *inode = change->inode;

	if (result == 0)
		result = view_check_change(inode->view);
	if (result == 0) {
		inode_record_put(inode, change->batch);
		result = kv_write(inode->view->tree->kv, change->batch, 0);
	}
	if (result == 0) {
		inode_written(inode);
	} else {
		inode->record = change->old_record;
		inode->size = change->old_size;
	}
	extent_cache_drop(inode);
	rwlock_give(&inode->view->epoch_lock);
	kv_batch_free(change->batch);
	return result;
}

/* Drops extents from the end in written steps, each with the size that goes with it, until one batch can hold the rest. */
static int shorten_in_steps(struct inode *inode, uint64_t size)
{
	struct view *view = inode->view;
	struct extent last;
	int result = 0;

	while (result == 0 && inode->record.allocated > 2 * STEP_BYTES) {
		struct kv_batch *batch;
		uint64_t cut;

		result = extents_before(view, inode->ino, UINT64_MAX, &last);
		if (result < 0)
			return result == -ENOENT ? -EIO : result;
		cut = last.offset > STEP_BYTES ? last.offset - STEP_BYTES : 0;
		if (cut <= size)
			return 0;
		batch = kv_batch_new();
		result = extents_replace(inode, batch, cut, UINT64_MAX, NULL, 0);
		if (result == 0) {
			inode->record.size = MIN(inode->record.size, cut);
			inode_record_put(inode, batch);
			result = kv_write(view->tree->kv, batch, 0);
		}
		if (result == 0)
			inode_written(inode);
		kv_batch_free(batch);
	}
	return result;
}

/* In place: the caller's copy of the record, to go back to when its batch fails, keeps pointing to the same bytes. */
static void shorten_inline(struct inode *inode, uint64_t size)
{
	if (inode->inline_data.len <= size)
		return;
	inode->inline_data.len = size;
	inode->record.is_inline = size > 0;
	inode->record.data_len = (uint32_t)size;
	inode->record.allocated = size;
}

static int shorten(struct inode *inode, struct kv_batch *batch, uint64_t size)
{
	int result;

	if (inode->record.is_inline) {
		shorten_inline(inode, size);
		return 0;
	}
	if (inode->record.allocated == 0)
		return 0;
	extent_cache_drop(inode);
	result = shorten_in_steps(inode, size);
	return result < 0 ? result : extents_replace(inode, batch, size, UINT64_MAX, NULL, 0);
}

int inode_truncate(struct inode *inode, struct kv_batch *batch, uint64_t size)
{
	uint64_t dropped;
	int result = 0;

	if (size > FILE_SIZE_MAX)
		return -EFBIG;
	inode_wait_drained(inode);
	if (size < inode->size)
		result = shorten(inode, batch, size);
	if (result < 0)
		return result;
	dropped = dirty_discard(&inode->active, size, UINT64_MAX);
	committer_release(inode->view->tree, dropped);
	/* with bytes still buffered, a longer size belongs to their commit: before it, it would show zeros in their place */
	inode->record.size = inode->active.bytes == 0 ? size : MIN(inode->record.size, size);
	inode->size = size;
	if (inode->record.size != size)
		committer_note(inode);
	return 0;
}
