/* Blocks of content that come in whole, and memory that importers account. */
#include <errno.h>

#include "lib/tree/content/committer.h"
#include "lib/tree/content/content.h"
#include "lib/tree/content/file.h"
#include "lib/tree/content/pending.h"
#include "lib/tree/records/quota.h"

/*
 * So many blocks of a file may wait while others of it are committed. More would not speed anything up, and fresh memory is expensive: its
 * first touch costs a third of all other work on the content in it.
 */
#define AHEAD_MAX (16ULL << 20)

_Static_assert(BULK_BLOCK == DIRTY_SEGMENT_MAX, "a block becomes a segment");

int bulk_block_take(struct inode *inode, void **ret_block)
{
	struct tree *tree = inode->view->tree;
	void *block;
	int r;

	mutex_take(&inode->lock);
	while (inode->committing && inode->active.bytes >= AHEAD_MAX)
		mutex_wait(&inode->lock, &inode->drained);
	mutex_give(&inode->lock);
	r = committer_check_space(tree, BULK_BLOCK);
	if (r == 0)
		r = pending_admit(tree, BULK_BLOCK);
	if (r < 0)
		return r;
	block = block_take(pending_blocks(tree));
	if (!block) {
		pending_release(tree, BULK_BLOCK);
		return -ENOMEM;
	}
	*ret_block = block;
	return 0;
}

void bulk_block_drop(struct inode *inode, void *block)
{
	struct tree *tree = inode->view->tree;

	block_give(pending_blocks(tree), block);
	pending_release(tree, BULK_BLOCK);
}

/* How many bytes more are buffered. The block is taken, but with -EDQUOT. */
static int64_t buffer_block(struct inode *inode, uint64_t offset, void *block, size_t len)
{
	int64_t grown;

	hold_enter(&inode->view->hold);
	mutex_take(&inode->lock);
	inode->active.pool = pending_blocks(inode->view->tree);
	/* the caller may have waited for a freeze since he looked */
	grown = view_check_change(inode->view);
	if (grown == 0)
		grown = pending_check_share(inode);
	/* so that the commit cannot fail on it */
	if (grown == 0)
		grown = inode_load_inline(inode);
	if (grown == 0)
		grown = content_promise(inode, offset, len);
	if (grown == 0) {
		grown = dirty_write_block(&inode->active, offset, block, len);
		if (grown < 0)
			content_promise_less(inode);
	} else if (grown != -EDQUOT) {
		block_give(inode->active.pool, block);
	}
	if (grown >= 0) {
		inode->size = MAX(inode->size, offset + len);
		content_touch(inode);
		pending_note(inode);
	}
	mutex_give(&inode->lock);
	hold_leave(&inode->view->hold);
	return grown;
}

int bulk_block_write(struct inode *inode, uint64_t offset, void *block, size_t len)
{
	struct view *view = inode->view;
	struct quota_patience patience = quota_patience(view);
	int r = content_check_change(inode, offset, len);
	int64_t grown;

	if (r == 0)
		r = quota_ready(view);
	if (r < 0 || len == 0) {
		bulk_block_drop(inode, block);
		return r;
	}
	do
		grown = buffer_block(inode, offset, block, len);
	while (grown == -EDQUOT && quota_wait(view, &patience));
	if (grown == -EDQUOT)
		block_give(pending_blocks(view->tree), block);
	pending_release(view->tree, BULK_BLOCK - (grown < 0 ? 0 : (size_t)grown));
	return grown < 0 ? (int)grown : 0;
}

int bulk_reserve(struct view *view, size_t bytes)
{
	return pending_admit(view->tree, bytes);
}

void bulk_release(struct view *view, size_t bytes)
{
	pending_release(view->tree, bytes);
}

uint64_t bulk_budget(struct view *view)
{
	return pending_budget(view->tree);
}
