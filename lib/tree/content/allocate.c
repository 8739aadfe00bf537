/*
 * fallocate: space is allocated, holes are punched, ranges become zeros. The work follows the extents that exist in the range, not the range,
 * and is done in steps (content.h): a hole of 2^62 bytes costs no more than what was in it. What is newly allocated is bounded by the free
 * space of the disk.
 */
#include <errno.h>
#include <linux/falloc.h>
#include <string.h>

#include "lib/base/fault.h"
#include "lib/tree/content/committer.h"
#include "lib/tree/content/content.h"
#include "lib/tree/content/file.h"
#include "lib/tree/content/pending.h"
#include "lib/tree/inodes/extent_edit.h"
#include "lib/tree/records/quota.h"

/* One step maps so many bytes at most. */
#define STEP_BYTES ((uint64_t)CONTENT_STEP_EXTENTS * EXTENT_LEN_MAX)

struct allocation {
	struct inode *inode;
	bool punch, zero, keep_size;
	uint64_t at, end; /* what is left to do */
};

static bool has_extents(const struct inode *inode)
{
	return !inode->record.is_inline && inode->record.allocated > 0;
}

static void add_zeros(struct extent_list *list, uint64_t first, uint64_t end)
{
	while (first < end) {
		uint32_t length = (uint32_t)MIN(end - first, EXTENT_LEN_MAX);
		struct extent extent = { .offset = first, .record = { .length = length, .chunk = CHUNK_NONE } };

		array_add(list, extent);
		first += length;
	}
}

/* Where the next step ends: the extents that overlap it are added to the list. */
static int plan_step(const struct allocation *allocation, struct extent_list *list, uint64_t *ret_end)
{
	struct inode *inode = allocation->inode;
	uint64_t end = allocation->punch ? allocation->end : MIN(allocation->end, allocation->at + STEP_BYTES);
	int result = 0;

	if (has_extents(inode))
		result = extents_load(inode->view, inode->ino, allocation->at, end, CONTENT_STEP_EXTENTS, list);
	if (result == 0 && list->count >= CONTENT_STEP_EXTENTS)
		end = MIN(end, extent_end(array_last(list)));
	*ret_end = end;
	return result;
}

/* Gaps become allocated zeros. */
static int fill_step(struct inode *inode, struct kv_batch *batch, uint64_t first, uint64_t end, const struct extent_list *old)
{
	struct extent_edit edit = extent_edit_begin(inode, batch);
	uint64_t at = first;
	int result = 0;

	for (size_t i = 0; i <= old->count && result == 0; i++) {
		uint64_t next = i < old->count ? MIN(old->items[i].offset, end) : end;
		struct extent_list zeros = { 0 };

		if (next > at) {
			add_zeros(&zeros, at, next);
			result = extent_edit_replace(&edit, at, next, zeros.items, zeros.count);
			array_clear(&zeros);
		}
		if (i < old->count)
			at = MAX(at, extent_end(&old->items[i]));
	}
	extent_edit_end(&edit);
	return result;
}

static int clear_step(struct inode *inode, struct kv_batch *batch, uint64_t first, uint64_t end, bool zeros)
{
	struct extent_list list = { 0 };
	int result;

	if (zeros)
		add_zeros(&list, first, end);
	result = extents_replace(inode, batch, first, end, list.items, list.count);
	array_clear(&list);
	return result;
}

/* The part of inline data in the range becomes zeros. */
static int clear_inline(struct transaction *transaction, struct inode *inode, uint64_t offset, uint64_t end)
{
	AUTO_BUF bytes = BUF_INIT;
	int result = offset < inode->record.allocated ? inode_load_inline(inode) : 0;

	if (result < 0 || offset >= inode->record.allocated)
		return result;
	buf_add(&bytes, inode->inline_data.data, inode->inline_data.len);
	memset(bytes.data + offset, 0, MIN(end, bytes.len) - offset);
	return transaction_set_inline(transaction, inode, bytes.data, bytes.len);
}

/* A file with inline data has no extents and is small: nothing of it is worth mapping. */
static int change_range(const struct allocation *allocation, struct transaction *transaction, uint64_t end, const struct extent_list *old)
{
	struct inode *inode = allocation->inode;
	bool clears = allocation->punch || allocation->zero;

	if (inode->record.is_inline)
		return clears ? clear_inline(transaction, inode, allocation->at, end) : 0;
	if (clears)
		return clear_step(inode, transaction->batch, allocation->at, end, allocation->zero);
	return fill_step(inode, transaction->batch, allocation->at, end, old);
}

/* The step's range is on disk as it is to be. What is buffered of it is forgotten; a size that was to come with these bytes still has to. */
static void step_written(const struct allocation *allocation, uint64_t end)
{
	struct inode *inode = allocation->inode;

	if (allocation->punch || allocation->zero)
		pending_release(inode->view->tree, dirty_discard(&inode->active, allocation->at, end));
	if (inode->record.size != inode->size)
		pending_note(inode);
}

/* Where it has something older of the inode, though nothing of that is buffered any more: a shorter length would count again. */
static int note(const struct allocation *allocation, struct transaction *transaction, uint64_t end)
{
	struct inode *inode = allocation->inode;
	int result = 0;

	if (allocation->punch || allocation->zero)
		result = transaction_note_discard(transaction, inode, allocation->at, end - allocation->at);
	if (result == 0 && !allocation->keep_size && end > inode->size)
		result = transaction_note(transaction, inode, JOURNAL_EXTEND, end, 0);
	return result;
}

/* One written step. Caller holds inode->lock, and nothing of the inode is being committed. */
static int change_step(struct allocation *allocation)
{
	struct inode *inode = allocation->inode;
	struct extent_list old = { 0 };
	struct transaction transaction;
	uint64_t end = allocation->end;
	int result;

	transaction_begin_locked(&transaction, inode);
	result = inode->gone ? -ESTALE : plan_step(allocation, &old, &end);
	if (result == 0)
		result = change_range(allocation, &transaction, end, &old);
	if (result == 0)
		result = note(allocation, &transaction, end);
	if (result == 0 && !allocation->keep_size && end > inode->size) {
		inode->size = end;
		if (inode->active.bytes == 0)
			inode->record.size = end;
	}
	if (result == 0)
		content_touch(inode);
	transaction_put(&transaction, inode);
	result = transaction_write(&transaction, result);
	transaction_end(&transaction);
	array_clear(&old);
	if (result == 0) {
		step_written(allocation, end);
		allocation->at = end;
	}
	return result;
}

static int change_in_steps(struct allocation *allocation)
{
	struct inode *inode = allocation->inode;
	int result;

	for (;;) {
		mutex_take(&inode->lock);
		inode_wait_drained(inode);
		result = change_step(allocation);
		mutex_give(&inode->lock);
		if (result < 0 || allocation->at >= allocation->end)
			return result;
		content_let_others();
	}
}

/* How many bytes of the range are allocated already. */
static int count_allocated(struct inode *inode, uint64_t first, uint64_t end, uint64_t *ret_bytes)
{
	struct version_iter *iter = extents_iterate(inode->view, inode->ino);
	struct extent extent;
	int more;

	*ret_bytes = 0;
	while ((more = extents_next(iter, &extent)) > 0 && extent.offset < end)
		if (extent_end(&extent) > first)
			*ret_bytes += MIN(extent_end(&extent), end) - MAX(extent.offset, first);
	version_iter_free(iter);
	return MIN(more, 0);
}

/* Whether there is room for what is not allocated yet. */
static int check_room(struct inode *inode, uint64_t offset, uint64_t len)
{
	struct tree *tree = inode->view->tree;
	uint64_t allocated;
	int result = committer_check_space(tree, len);

	if (result != -ENOSPC)
		return result;
	result = count_allocated(inode, offset, offset + len, &allocated);
	return result < 0 ? result : committer_check_space(tree, len - MIN(allocated, len));
}

int inode_allocate(struct inode *inode, int mode, uint64_t offset, uint64_t len)
{
	const int known = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE;
	struct allocation allocation = {
		.inode = inode,
		.punch = mode & FALLOC_FL_PUNCH_HOLE,
		.zero = mode & FALLOC_FL_ZERO_RANGE,
		.keep_size = mode & FALLOC_FL_KEEP_SIZE,
		.at = offset,
		.end = offset + len,
	};
	struct quota_patience patience = quota_patience(inode->view);
	int result = content_check_change(inode, offset, len);

	if (result < 0)
		return result;
	if ((mode & ~known) || (allocation.punch && (allocation.zero || !allocation.keep_size)))
		return -EOPNOTSUPP;
	if (len == 0)
		return -EINVAL;
	result = quota_ready(inode->view);
	if (result == 0)
		result = inode_commit(inode);
	if (result == 0)
		result = fault_point("allocate-before-step");
	if (result == 0 && !allocation.punch)
		result = check_room(inode, offset, len);
	if (result < 0)
		return result;
	do
		result = change_in_steps(&allocation);
	while (result == -EDQUOT && quota_wait(inode->view, &patience));
	return result;
}
