/* The change of a file's length. */
#include <errno.h>

#include "lib/tree/content/content.h"
#include "lib/tree/content/pending.h"
#include "lib/tree/inodes/extent_edit.h"

/* Extents that one batch removes at most lie within so many bytes (more only if there are none between). */
#define STEP_BYTES (512ULL << 20)

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

static int shorten(struct transaction *transaction, struct inode *inode, uint64_t size)
{
	int result;

	if (inode->record.is_inline) {
		if (inode->inline_data.len > size)
			transaction_set_inline(transaction, inode, inode->inline_data.data, size);
		return 0;
	}
	if (inode->record.allocated == 0)
		return 0;
	result = shorten_in_steps(inode, size);
	return result < 0 ? result : extents_replace(inode, transaction->batch, size, UINT64_MAX, NULL, 0);
}

int content_truncate(struct transaction *transaction, struct inode *inode, uint64_t size)
{
	uint64_t dropped;
	int result = 0;

	if (size > FILE_SIZE_MAX)
		return -EFBIG;
	if (size < inode->size)
		result = shorten(transaction, inode, size);
	if (result < 0)
		return result;
	dropped = dirty_discard(&inode->active, size, UINT64_MAX);
	pending_release(inode->view->tree, dropped);
	/* with bytes still buffered, a longer size belongs to their commit: before it, it would show zeros in their place */
	inode->record.size = inode->active.bytes == 0 ? size : MIN(inode->record.size, size);
	inode->size = size;
	if (inode->record.size != size)
		pending_note(inode);
	return 0;
}
