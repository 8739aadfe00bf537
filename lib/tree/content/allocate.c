#include <errno.h>
#include <linux/falloc.h>
#include <string.h>
#include <unistd.h>

#include "lib/tree/content/content.h"
#include "lib/tree/content/file.h"
#include "lib/tree/content/pending.h"
#include "lib/tree/inodes/extent_edit.h"

/* One batch changes at most so many extents, and maps so many new ones. */
#define STEP_EXTENTS 8192
#define STEP_BYTES ((uint64_t)STEP_EXTENTS * EXTENT_LEN_MAX)

static void add_zeros(struct extent_list *list, uint64_t first, uint64_t end)
{
	while (first < end) {
		uint32_t length = (uint32_t)MIN(end - first, EXTENT_LEN_MAX);
		struct extent extent = { .offset = first, .record = { .length = length, .chunk = CHUNK_NONE } };

		array_add(list, extent);
		first += length;
	}
}

/* Where the step that starts at `first` ends: all extents that overlap it are added to the list. */
static int plan_step(struct inode *inode, uint64_t first, uint64_t end, struct extent_list *list, uint64_t *ret_end)
{
	const struct extent *last;
	int result = 0;

	end = MIN(end, first + STEP_BYTES);
	if (!inode->record.is_inline && inode->record.allocated > 0)
		result = extents_load(inode->view, inode->ino, first, end, STEP_EXTENTS, list);
	if (result < 0)
		return result;
	if (list->count >= STEP_EXTENTS) {
		last = &list->items[list->count - 1];
		end = MIN(end, last->offset + last->record.length);
	}
	*ret_end = end;
	return 0;
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
			at = MAX(at, old->items[i].offset + old->items[i].record.length);
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

/* One written step of the change, from `first` on. Caller holds inode->lock. */
static int change_step(struct inode *inode, int mode, uint64_t first, uint64_t end, uint64_t *ret_end)
{
	bool keep_size = mode & (FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE);
	struct extent_list old = { 0 };
	struct transaction transaction;
	uint64_t step_end = end;
	int result;

	transaction_begin_locked(&transaction, inode);
	result = plan_step(inode, first, end, &old, &step_end);
	/* an empty inline file has no extents, a longer one is small: nothing is worth mapping */
	if (result == 0 && !inode->record.is_inline) {
		if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
			result = clear_step(inode, transaction.batch, first, step_end, mode & FALLOC_FL_ZERO_RANGE);
		else
			result = fill_step(inode, transaction.batch, first, step_end, &old);
	}
	if (result == 0 && !keep_size && step_end > inode->size) {
		inode->size = step_end;
		if (inode->active.bytes == 0)
			inode->record.size = step_end;
		else
			pending_note(inode);
	}
	if (result == 0)
		content_touch(inode);
	transaction_put(&transaction, inode);
	result = transaction_write(&transaction, result);
	transaction_end(&transaction);
	array_clear(&old);
	if (result == 0)
		*ret_end = step_end;
	return result;
}

/* The part of inline data in the range becomes zeros. */
static void clear_inline(struct inode *inode, uint64_t offset, uint64_t end)
{
	uint64_t len = inode->inline_data.len;

	if (inode->record.is_inline && offset < len)
		memset(inode->inline_data.data + offset, 0, MIN(end, len) - offset);
}

int inode_allocate(struct inode *inode, int mode, uint64_t offset, uint64_t len)
{
	const int known = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE;
	bool punch = mode & FALLOC_FL_PUNCH_HOLE, zero = mode & FALLOC_FL_ZERO_RANGE;
	struct tree *tree = inode->view->tree;
	uint64_t end = offset + len;
	int result = content_check_change(inode, offset, len);

	if (result < 0)
		return result;
	if ((mode & ~known) || (punch && (zero || !(mode & FALLOC_FL_KEEP_SIZE))))
		return -EOPNOTSUPP;
	if (len == 0)
		return -EINVAL;
	if (!punch)
		result = pending_check_space(tree, len);
	if (result == 0)
		result = inode_commit(inode);
	if (result < 0)
		return result;

	mutex_take(&inode->lock);
	inode_wait_drained(inode);
	if (punch || zero) {
		pending_release(tree, dirty_discard(&inode->active, offset, end));
		clear_inline(inode, offset, end);
	}
	while (offset < end && result == 0)
		result = change_step(inode, mode, offset, end, &offset);
	mutex_give(&inode->lock);
	return result;
}
