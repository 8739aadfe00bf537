/*
 * The change of a file's length. What is cut off is cut off from the end, in written steps of a bounded number of extents, each with the size
 * that goes with it, until the rest fits into the batch that sets the wanted size. Between the steps others get at the inode. Whatever
 * stops it, the file is a shorter one of the same content.
 */
#include <errno.h>

#include "lib/base/clock.h"
#include "lib/tree/content/committer.h"
#include "lib/tree/content/content.h"
#include "lib/tree/content/pending.h"
#include "lib/tree/inodes/extent_edit.h"

/* What the transaction leaves to do in memory after it was written. */
static void forget_beyond(struct inode *inode, uint64_t size)
{
	pending_release(inode->view->tree, dirty_discard(&inode->active, size, UINT64_MAX));
	content_promise_less(inode);
	if (inode->record.size != inode->size)
		pending_note(inode);
}

/*
 * With bytes still buffered below it, a longer size belongs to their commit: before it, it would show zeros in their place.
 */
static void set_size(struct inode *inode, uint64_t size)
{
	bool is_buffered = size > 0 && dirty_overlaps(&inode->active, 0, size);

	inode->record.size = is_buffered ? MIN(inode->record.size, size) : size;
	inode->size = size;
}

/* The last extents beyond `size` in one batch. 1: there are more. Caller holds inode->lock, and nothing is being committed. */
static int shorten_step(struct inode *inode, uint64_t size)
{
	struct extent_list last = { 0 };
	struct transaction transaction;
	uint64_t cut = 0;
	int result;

	transaction_begin_locked(&transaction, inode);
	result = extents_load_last(inode->view, inode->ino, size, CONTENT_STEP_EXTENTS + 1, &last);
	if (result == 0 && last.count <= CONTENT_STEP_EXTENTS) {
		transaction_end(&transaction);
		array_clear(&last);
		return 0;
	}
	if (result == 0) {
		cut = last.items[CONTENT_STEP_EXTENTS - 1].offset;
		result = extents_replace(inode, transaction.batch, cut, UINT64_MAX, NULL, 0);
	}
	if (result == 0)
		result = transaction_note(&transaction, inode, JOURNAL_TRUNCATE, MIN(inode->size, cut), 0);
	if (result == 0) {
		set_size(inode, MIN(inode->size, cut));
		content_touch(inode);
		transaction_put(&transaction, inode);
	}
	result = transaction_write(&transaction, result);
	transaction_end(&transaction);
	array_clear(&last);
	if (result == 0)
		forget_beyond(inode, inode->size);
	return result < 0 ? result : 1;
}

/*
 * What was written before comes before: if committed bytes are to be cut off and others are still buffered, a crash after this would leave the
 * new length and not what was written to the rest. On a full disk room matters more than order.
 */
static int commit_before(struct inode *inode, uint64_t size)
{
	mutex_take(&inode->lock);
	inode_wait_drained(inode);
	bool is_needed = !inode->gone && size > 0 && size < inode->record.size && dirty_overlaps(&inode->active, 0, size);
	mutex_give(&inode->lock);
	int result = is_needed ? committer_run(inode->view->tree, inode->view, inode) : 0;
	return result == -ENOSPC ? 0 : result;
}

int content_shorten(struct inode *inode, uint64_t size)
{
	if (size > FILE_SIZE_MAX)
		return -EFBIG;
	int result = commit_before(inode, size);
	if (result < 0)
		return result;
	do {
		mutex_take(&inode->lock);
		inode_wait_drained(inode);
		if (inode->gone || size >= inode->size || inode->record.is_inline || inode->record.allocated == 0)
			result = 0;
		else
			result = shorten_step(inode, size);
		mutex_give(&inode->lock);
		if (result > 0)
			content_let_others();
	} while (result > 0);
	return result;
}

int content_truncate(struct transaction *transaction, struct inode *inode, uint64_t size)
{
	int result = 0;

	if (inode->record.is_inline && inode->record.allocated > size) {
		result = size > 0 ? inode_load_inline(inode) : 0;
		if (result == 0)
			result = transaction_set_inline(transaction, inode, inode->inline_data.data, size);
	} else if (size < inode->size && !inode->record.is_inline && inode->record.allocated > 0) {
		result = extents_replace(inode, transaction->batch, size, UINT64_MAX, NULL, 0);
	}
	if (result == 0)
		result = transaction_note(transaction, inode, JOURNAL_TRUNCATE, size, 0);
	if (result == 0)
		set_size(inode, size);
	return result;
}

void content_truncated(struct inode *inode)
{
	forget_beyond(inode, inode->size);
}
