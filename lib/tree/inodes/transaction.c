#include "lib/tree/inodes/transaction.h"

#include <assert.h>
#include <errno.h>
#include <sys/stat.h>

#include "lib/base/fault.h"
#include "lib/tree/inodes/mark.h"
#include "lib/tree/records/inline_content.h"
#include "lib/tree/records/quota.h"

/* Where the inode stands, or would stand. */
static size_t find(const struct transaction *transaction, uint64_t ino)
{
	size_t low = 0, high = transaction->items.count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (transaction->items.items[middle].inode->ino < ino)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct transaction_item *item_of(struct transaction *transaction, const struct inode *inode)
{
	size_t at = find(transaction, inode->ino);

	assert(at < transaction->items.count && transaction->items.items[at].inode == inode);
	return &transaction->items.items[at];
}

static void add_item(struct transaction *transaction, struct inode *inode)
{
	size_t at = find(transaction, inode->ino);

	if (at == transaction->items.count || transaction->items.items[at].inode != inode)
		array_insert(&transaction->items, at, (struct transaction_item){.inode = inode});
}

static void begin(struct transaction *transaction)
{
	rwlock_read(&transaction->view->epoch_lock);
	for (size_t i = 0; i < transaction->items.count; i++) {
		struct transaction_item *item = &transaction->items.items[i];
		item->saved = item->inode->record;
		item->saved_size = item->inode->size;
	}
}

void transaction_begin(struct transaction *transaction, struct view *view, struct inode *const *inodes, size_t count)
{
	*transaction = (struct transaction){.view = view, .batch = kv_batch_new()};
	for (size_t i = 0; i < count; i++) {
		if (inodes[i])
			add_item(transaction, inodes[i]);
	}
	for (size_t i = 0; i < transaction->items.count; i++)
		mutex_take(&transaction->items.items[i].inode->lock);
	begin(transaction);
}

void transaction_begin_locked(struct transaction *transaction, struct inode *inode)
{
	*transaction = (struct transaction){.view = inode->view, .batch = kv_batch_new(), .is_locked_by_caller = true};
	add_item(transaction, inode);
	begin(transaction);
}

void transaction_put(struct transaction *transaction, struct inode *inode)
{
	item_of(transaction, inode)->put = true;
}

int transaction_set_inline(struct transaction *transaction, struct inode *inode, const void *data, size_t len)
{
	struct transaction_item *item = item_of(transaction, inode);
	struct buf fresh = BUF_INIT;
	int r = 0;

	if (len > 0)
		inline_content_put(transaction->view, transaction->batch, inode->ino, &inode->record, data, len);
	else
		r = inline_content_delete(transaction->view, transaction->batch, inode->ino, &inode->record);
	if (r < 0)
		return r;
	buf_add(&fresh, data, len);
	if (item->is_inline_saved)
		buf_clear(&inode->inline_data);
	else
		item->saved_inline = inode->inline_data;
	item->had_inline_data = item->is_inline_saved ? item->had_inline_data : inode->has_inline_data;
	item->is_inline_saved = true;
	inode->inline_data = fresh;
	inode->has_inline_data = len > 0;
	return 0;
}

/* *ret_record NULL: none is needed. */
static int take_record(const struct inode *inode, struct journal_record **ret_record)
{
	*ret_record = NULL;
	if (inode->active.records.count == 0 || tree_is_replaying(inode->view->tree))
		return 0;
	*ret_record = journal_take(inode->view->tree->journal, 0);
	return *ret_record ? 0 : -ENOMEM;
}

int transaction_note(struct transaction *transaction, struct inode *inode, enum journal_kind kind, uint64_t offset, uint64_t len)
{
	struct journal_record *record;
	int r = take_record(inode, &record);

	if (r < 0 || !record)
		return r;
	inode_count_record(inode, record, kind, offset, len);
	item_of(transaction, inode)->noted++;
	return 0;
}

int transaction_note_discard(struct transaction *transaction, struct inode *inode, uint64_t offset, uint64_t len)
{
	struct transaction_item *item = item_of(transaction, inode);

	item->discard_offset = offset;
	item->discard_len = len;
	return take_record(inode, &item->discard);
}

/* It lost its last name, or a file without one got one. */
static void note_names(struct inode *inode)
{
	const bool is_unnamed = inode->record.nlink == 0 && inode->opens > 0;

	if (is_unnamed != inode->is_unnamed)
		quota_unnamed(inode->view, is_unnamed ? 1 : -1);
	inode->is_unnamed = is_unnamed;
}

static void settle(struct transaction_item *item, int result)
{
	struct inode *inode = item->inode;

	if (result == 0) {
		note_names(inode);
		buf_clear(&item->saved_inline);
		if (item->put)
			inode_written(inode);
		if (item->noted > 0)
			dirty_keep_last(&inode->active);
		inode_count_record(inode, item->discard, JOURNAL_DISCARD, item->discard_offset, item->discard_len);
		return;
	}
	if (item->discard)
		journal_forget(inode->view->tree->journal, item->discard);
	if (item->is_inline_saved) {
		buf_clear(&inode->inline_data);
		inode->inline_data = item->saved_inline;
		inode->has_inline_data = item->had_inline_data;
	}
	for (; item->noted > 0; item->noted--)
		dirty_forget_last(&inode->active);
	inode->record = item->saved;
	inode->size = item->saved_size;
}

/* By how much the batch changes what the view's files take on the disk. */
static int64_t growth(const struct transaction *transaction)
{
	int64_t sum = (int64_t)transaction->made;

	for (size_t i = 0; i < transaction->items.count; i++) {
		const struct transaction_item *item = &transaction->items.items[i];
		bool is_removed = transaction->is_dying_removed && transaction->dying == item->inode;

		if (S_ISREG(item->saved.mode) && (item->put || is_removed))
			sum += (is_removed ? 0 : (int64_t)item->inode->record.allocated) - (int64_t)item->saved.allocated;
	}
	return sum;
}

int transaction_write(struct transaction *transaction, int result)
{
	int r = result < 0 ? result : view_check_accepted(transaction->view);
	int64_t grown = growth(transaction);

	if (r == 0 && grown > 0 && !transaction->is_promised)
		r = quota_check(transaction->view, (uint64_t)grown);

	for (size_t i = 0; i < transaction->items.count && r == 0; i++) {
		if (transaction->items.items[i].put)
			inode_record_put(transaction->items.items[i].inode, transaction->batch);
	}
	if (r == 0)
		r = fault_point("transaction-before-write");
	if (r == 0 && !transaction->is_promised && kv_batch_count(transaction->batch) > 0)
		mark_add(transaction->batch);
	/* what was removed already changes in memory only */
	if (r == 0 && kv_batch_count(transaction->batch) > 0)
		r = kv_write(transaction->view->tree->kv, transaction->batch, 0);
	if (r == 0)
		(void)!fault_point("transaction-after-write");
	if (r == 0)
		quota_change(transaction->view, grown);
	for (size_t i = 0; i < transaction->items.count; i++)
		settle(&transaction->items.items[i], r);
	if (r < 0)
		transaction->dying = NULL;
	if (transaction->dying)
		transaction->dying->gone = true;
	return r;
}

void transaction_end(struct transaction *transaction)
{
	rwlock_give(&transaction->view->epoch_lock);
	for (size_t i = transaction->items.count; i-- > 0 && !transaction->is_locked_by_caller;)
		mutex_give(&transaction->items.items[i].inode->lock);
	array_clear(&transaction->items);
	kv_batch_free(transaction->batch);
	transaction->batch = NULL;
}
