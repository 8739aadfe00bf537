#include "lib/tree/records/transaction.h"

#include <assert.h>
#include <errno.h>

#include "lib/base/fault.h"

static void add_item(struct change *change, struct inode *inode)
{
	size_t at = 0;

	while (at < change->count && change->items[at].inode->ino < inode->ino)
		at++;
	if (at < change->count && change->items[at].inode == inode)
		return;
	assert(change->count < CHANGE_INODES);
	for (size_t i = change->count++; i > at; i--)
		change->items[i] = change->items[i - 1];
	change->items[at] = (struct change_item){.inode = inode};
}

void change_begin(struct change *change, struct view *view, struct inode *const *inodes, size_t count, bool drained)
{
	*change = (struct change){.view = view, .batch = kv_batch_new()};
	for (size_t i = 0; i < count; i++) {
		if (inodes[i])
			add_item(change, inodes[i]);
	}
	for (size_t i = 0; i < change->count; i++)
		mutex_take(&change->items[i].inode->lock);
	if (drained) {
		assert(change->count == 1);
		inode_wait_drained(change->items[0].inode);
	}
	rwlock_read(&view->epoch_lock);
	for (size_t i = 0; i < change->count; i++) {
		change->items[i].saved = change->items[i].inode->record;
		change->items[i].saved_size = change->items[i].inode->size;
	}
}

void change_put(struct change *change, struct inode *inode)
{
	for (size_t i = 0; i < change->count; i++) {
		if (change->items[i].inode == inode)
			change->items[i].put = true;
	}
}

static void settle(struct change_item *item, int result)
{
	struct inode *inode = item->inode;

	if (result == 0) {
		if (item->put)
			inode_written(inode);
		return;
	}
	inode->record = item->saved;
	inode->record.data = inode->inline_data.data;
	inode->size = item->saved_size;
}

int change_write(struct change *change, int result)
{
	int r = result < 0 ? result : view_check_change(change->view);

	for (size_t i = 0; i < change->count && r == 0; i++) {
		if (change->items[i].put)
			inode_record_put(change->items[i].inode, change->batch);
	}
	if (r == 0)
		r = fault_point("names-before-write");
	/* what was removed already changes in memory only */
	if (r == 0 && kv_batch_count(change->batch) > 0)
		r = kv_write(change->view->tree->kv, change->batch, 0);
	for (size_t i = 0; i < change->count; i++)
		settle(&change->items[i], r);
	if (r < 0)
		change->dying = NULL;
	if (change->dying) {
		change->dying->gone = true;
		if (change->is_dying_removed)
			inode_drop_buffered(change->dying);
	}
	return r;
}

void change_end(struct change *change)
{
	rwlock_give(&change->view->epoch_lock);
	for (size_t i = change->count; i-- > 0;)
		mutex_give(&change->items[i].inode->lock);
	kv_batch_free(change->batch);
	change->batch = NULL;
}
