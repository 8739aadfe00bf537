/*
 * One commit: what is buffered in some inodes of one view becomes chunks, extents and records.
 *
 *   begin    each inode: active becomes frozen, under its lock
 *   gather   frozen segments become runs of the chunk group
 *   store    cut, hash, look up, compress, store; no lock is held
 *   finish   inodes in ascending order, some at a time: locks, extents and records into one batch, write, frozen is forgotten
 *   give up  (instead of finish) frozen goes back under active, and the inode is listed again; in a retired view it is dropped
 *
 * An inode's extents and record are always in one batch, so after a crash its content is that of before or after. Chunks that travel in
 * a batch (I8) are in the first one; those in SST files are durable before it is written.
 */
#include "lib/tree/content/commit.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/fault.h"
#include "lib/tree/content/pending.h"
#include "lib/tree/inodes/extent_edit.h"
#include "lib/tree/inodes/transaction.h"
#include "lib/tree/records/quota.h"

/* Inodes whose locks are held at once: readers of them wait until the batch is written. */
#define BATCH_INODES 256

struct run {
	uint64_t offset;
	size_t len;
	uint8_t *joined; /* small segments copied together, or NULL */
	size_t number;   /* in the chunk group */
};

struct item {
	struct inode *inode;
	uint64_t size;       /* of the file when frozen */
	uint64_t promised;   /* to the quota, for what is frozen */
	bool done;           /* committed, or nothing to do */
	bool content;        /* frozen is not empty */
	bool stays_inline;
	bool is_doubtful;    /* it failed the last time, and extents are to be replaced */
	size_t first_run, run_count;
};

struct commit {
	struct view *view;
	struct tree *tree;
	struct item *items;
	size_t count;
	ARRAY(struct run) runs;
	struct chunks_group *group;
	struct kv_batch *chunks; /* those that travel in a batch, until the first one is written */
};

/* Content that leaves the inode: the committed inline bytes become part of what is frozen, under it. */
static void freeze_inline(struct tree *tree, struct inode *inode)
{
	struct dirty below = { .pool = inode->frozen.pool };
	uint64_t before = inode->frozen.bytes;

	if (inode->inline_data.len == 0)
		return;
	if (dirty_write(&below, 0, inode->inline_data.data, inode->inline_data.len) < 0)
		abort();
	dirty_merge_below(&inode->frozen, &below);
	pending_charge(tree, inode->frozen.bytes - before);
}

static void begin_item(struct commit *commit, struct item *item)
{
	struct inode *inode = item->inode;
	bool has_extents;
	struct dirty dropped = { 0 };

	mutex_take(&inode->lock);
	item->promised = inode->promised;
	inode->promised = 0;
	if (inode->gone) {
		dropped = inode->active;
		inode->active = (struct dirty){ .pool = dropped.pool };
		item->done = true;
	} else {
		item->size = inode->size;
		item->content = inode->active.bytes > 0;
		item->done = !item->content && !inode->times_dirty && inode->record.size == inode->size;
		if (item->done)
			dirty_forget_records(&inode->active);
	}
	if (!item->done) {
		has_extents = !inode->record.is_inline && inode->record.allocated > 0;
		item->stays_inline = item->content && item->size <= INLINE_MAX && !has_extents;
		item->is_doubtful = item->content && has_extents && inode->commit_error != 0 && inode->commit_error != -ENOSPC;
		inode->committing = true;
		inode->frozen = inode->active;
		inode->active = (struct dirty){ .pool = inode->frozen.pool };
		if (item->content && !item->stays_inline && inode->record.is_inline)
			freeze_inline(commit->tree, inode);
	}
	if (item->done)
		quota_end(commit->view, item->promised);
	mutex_give(&inode->lock);
	pending_release(commit->tree, dropped.bytes);
	dirty_clear(&dropped);
}

/* Frozen segments that follow each other are cut as one piece of content, up to the size of a big segment. */
static int gather_item(struct commit *commit, struct item *item, int level)
{
	const struct dirty *frozen = &item->inode->frozen;

	item->first_run = commit->runs.count;
	for (size_t i = 0, next; i < frozen->segments.count; i = next) {
		const struct segment *segment = &frozen->segments.items[i];
		const uint8_t *data = segment->data;
		size_t len = segment->len, at = 0;
		struct run *run;

		for (next = i + 1; next < frozen->segments.count && frozen->segments.items[next].offset == segment->offset + len &&
				   len + frozen->segments.items[next].len <= DIRTY_SEGMENT_MAX;
		     next++)
			len += frozen->segments.items[next].len;
		run = array_new(&commit->runs);
		run->offset = segment->offset;
		run->len = len;
		item->run_count++;
		if (next > i + 1) {
			run->joined = malloc(len);
			if (!run->joined)
				return -ENOMEM;
			for (size_t j = i; j < next; at += frozen->segments.items[j++].len)
				memcpy(run->joined + at, frozen->segments.items[j].data, frozen->segments.items[j].len);
			data = run->joined;
		}
		run->number = chunks_group_add(commit->group, data, len, level);
	}
	return 0;
}

/* What is stored for a commit that fails is of no use, and stays until the next collection: not again with each try, for extents that cannot be read. */
static int check_extents(const struct commit *commit, const struct item *item)
{
	const struct inode *inode = item->inode;
	int result = 0;

	for (size_t i = 0; i < inode->frozen.segments.count && result == 0; i++) {
		const struct segment *segment = &inode->frozen.segments.items[i];
		struct extent_list list = { 0 };

		result = extents_load(commit->view, inode->ino, segment->offset, segment->offset + segment->len, EXTENTS_ALL, &list);
		array_clear(&list);
	}
	return result;
}

static int store(struct commit *commit)
{
	int result = 0, level;

	rwlock_read(&commit->view->epoch_lock);
	level = commit->view->level;
	for (size_t i = 0; i < commit->count && result == 0; i++)
		if (!commit->items[i].done && commit->items[i].is_doubtful)
			result = check_extents(commit, &commit->items[i]);
	rwlock_give(&commit->view->epoch_lock);
	for (size_t i = 0; i < commit->count && result == 0; i++) {
		struct item *item = &commit->items[i];

		if (!item->done && item->content && !item->stays_inline)
			result = gather_item(commit, item, level);
	}
	if (result == 0)
		result = fault_point("commit-before-store");
	if (result == 0 && commit->runs.count > 0)
		result = chunks_group_store(commit->group, commit->chunks);
	return result;
}

/* --- finish: with the inodes' locks and the epoch lock --- */

static int put_inline(struct transaction *transaction, const struct item *item)
{
	struct inode *inode = item->inode;
	size_t kept = MIN(inode->inline_data.len, item->size);
	AUTO_BUF fresh = BUF_INIT;

	buf_reserve(&fresh, item->size);
	memset(fresh.data, 0, item->size);
	if (kept)
		memcpy(fresh.data, inode->inline_data.data, kept);
	fresh.len = item->size;
	dirty_overlay(&inode->frozen, 0, item->size, fresh.data);
	return transaction_set_inline(transaction, inode, fresh.data, fresh.len);
}

static int put_runs(const struct commit *commit, struct transaction *transaction, const struct item *item)
{
	struct inode *inode = item->inode;
	struct extent_edit edit;
	int result = 0;

	if (inode->record.is_inline)
		result = transaction_set_inline(transaction, inode, NULL, 0);
	if (result < 0)
		return result;
	edit = extent_edit_begin(inode, transaction->batch);
	for (size_t i = 0; i < item->run_count && result == 0; i++) {
		const struct run *run = &commit->runs.items[item->first_run + i];
		size_t count;
		const struct chunk_piece *pieces = chunks_group_pieces(commit->group, run->number, &count);
		struct extent *extents = xcalloc(count, sizeof(*extents));

		for (size_t j = 0; j < count; j++) {
			extents[j].offset = run->offset + pieces[j].offset;
			extents[j].record = (struct extent_record){ .length = pieces[j].length, .chunk = pieces[j].chunk };
		}
		result = extent_edit_replace(&edit, run->offset, run->offset + run->len, extents, count);
		free(extents);
	}
	extent_edit_end(&edit);
	return result;
}

static int put_item(const struct commit *commit, struct transaction *transaction, const struct item *item)
{
	struct inode *inode = item->inode;
	int result = 0;

	/* it lost its last name and user meanwhile: its records go, and are not made again */
	if (inode->gone)
		return 0;
	if (item->stays_inline)
		result = put_inline(transaction, item);
	else if (item->content)
		result = put_runs(commit, transaction, item);
	inode->record.size = item->size;
	transaction_put(transaction, inode);
	return result;
}

/* Ends the inode's commit. Caller holds inode->lock; what is returned is freed and given back without it. */
static struct dirty end_item(struct item *item)
{
	struct inode *inode = item->inode;
	struct dirty frozen = inode->frozen;

	inode->frozen = (struct dirty){ .pool = frozen.pool };
	inode->committing = false;
	item->done = true;
	pthread_cond_broadcast(&inode->drained);
	return frozen;
}

static int put_items(const struct commit *commit, struct transaction *transaction, size_t first, size_t end)
{
	int result = 0;

	for (size_t i = first; i < end && result == 0; i++) {
		if (!commit->items[i].done)
			result = put_item(commit, transaction, &commit->items[i]);
	}
	return result == 0 ? fault_point("commit-before-write") : result;
}

static int finish(struct commit *commit, size_t first, size_t end)
{
	struct inode *inodes[BATCH_INODES] = { NULL };
	struct dirty frozen[BATCH_INODES];
	struct transaction transaction;
	size_t freed = 0;
	uint64_t bytes = 0;
	int result;

	for (size_t i = first; i < end; i++) {
		if (!commit->items[i].done)
			inodes[i - first] = commit->items[i].inode;
	}
	transaction_begin(&transaction, commit->view, inodes, end - first);
	transaction.is_promised = true;
	if (commit->chunks) {
		kv_batch_free(transaction.batch);
		transaction.batch = steal_ptr(commit->chunks);
	}
	result = put_items(commit, &transaction, first, end);
	result = transaction_write(&transaction, result);
	for (size_t i = first; i < end && result == 0; i++) {
		if (commit->items[i].done)
			continue;
		commit->items[i].inode->commit_error = 0;
		quota_end(commit->view, commit->items[i].promised);
		dirty_forget_records(&commit->items[i].inode->frozen);
		frozen[freed++] = end_item(&commit->items[i]);
	}
	transaction_end(&transaction);
	for (size_t i = 0; i < freed; i++) {
		bytes += frozen[i].bytes;
		dirty_clear(&frozen[i]);
	}
	pending_release(commit->tree, bytes);
	if (result == 0)
		result = fault_point("commit-after-write");
	return result;
}

static void give_up(struct commit *commit, struct item *item, int error)
{
	struct inode *inode = item->inode;
	struct dirty frozen;
	uint64_t bytes;

	mutex_take(&inode->lock);
	frozen = end_item(item);
	bytes = frozen.bytes + inode->active.bytes;
	if (error == -ESTALE) {
		dirty_clear(&frozen);
		dirty_clear(&inode->active);
	} else {
		dirty_merge_below(&inode->active, &frozen);
		/* it failed alone, and not for want of room on the disk: it may never be committed, and others can be */
		if (commit->count == 1 && error != -ENOSPC)
			dirty_move_records_apart(&inode->active);
		inode->promised += item->promised;
		pending_note(inode);
	}
	bytes -= inode->active.bytes;
	inode->commit_error = error;
	mutex_give(&inode->lock);
	pending_release(commit->tree, bytes);
}

static int by_ino(const void *a, const void *b)
{
	const struct item *one = a, *other = b;

	return one->inode->ino < other->inode->ino ? -1 : one->inode->ino > other->inode->ino;
}

int commit_group(struct view *view, struct inode **inodes, size_t count)
{
	struct commit commit = { .view = view, .tree = view->tree, .count = count };
	int result;

	commit.items = xcalloc(count, sizeof(*commit.items));
	commit.group = chunks_group_new(commit.tree->chunks);
	commit.chunks = kv_batch_new();
	for (size_t i = 0; i < count; i++)
		commit.items[i].inode = inodes[i];
	qsort(commit.items, count, sizeof(*commit.items), by_ino);
	for (size_t i = 0; i < count; i++)
		begin_item(&commit, &commit.items[i]);
	/* Of a retired view everything is dropped, also where nothing could be stored. */
	result = view_check_accepted(view);
	if (result == 0)
		result = store(&commit);
	for (size_t i = 0; i < count && result == 0; i += BATCH_INODES)
		result = finish(&commit, i, MIN(i + BATCH_INODES, count));
	for (size_t i = 0; i < count && result < 0; i++) {
		if (!commit.items[i].done)
			give_up(&commit, &commit.items[i], result);
	}
	chunks_group_free(commit.group);
	kv_batch_free(commit.chunks);
	for (size_t i = 0; i < commit.runs.count; i++)
		free(commit.runs.items[i].joined);
	array_clear(&commit.runs);
	free(commit.items);
	return result;
}
