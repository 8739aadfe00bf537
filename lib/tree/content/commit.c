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
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/fault.h"
#include "lib/tree/content/committer.h"
#include "lib/tree/content/content.h"

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
	bool done;           /* committed, or nothing to do */
	bool content;        /* frozen is not empty */
	bool stays_inline;
	size_t first_run, run_count;
	struct inode_record old_record; /* while the batch is not written */
	struct buf old_inline;
	bool inline_replaced;
};

struct commit {
	struct view *view;
	struct tree *tree;
	struct item *items;
	size_t count;
	struct run *runs;
	size_t run_count, run_cap;
	struct chunks_group *group;
	struct kv_batch *batch;
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
	committer_charge(tree, inode->frozen.bytes - before);
}

static void begin_item(struct commit *commit, struct item *item)
{
	struct inode *inode = item->inode;
	bool has_extents;
	struct dirty dropped = { 0 };

	mutex_take(&inode->lock);
	if (inode->gone) {
		dropped = inode->active;
		inode->active = (struct dirty){ .pool = dropped.pool };
		item->done = true;
	} else {
		item->size = inode->size;
		item->content = inode->active.bytes > 0;
		item->done = !item->content && !inode->times_dirty && inode->record.size == inode->size;
	}
	if (!item->done) {
		has_extents = !inode->record.is_inline && inode->record.allocated > 0;
		item->stays_inline = item->content && item->size <= INLINE_MAX && !has_extents;
		inode->committing = true;
		inode->frozen = inode->active;
		inode->active = (struct dirty){ .pool = inode->frozen.pool };
		if (item->content && !item->stays_inline && inode->record.is_inline)
			freeze_inline(commit->tree, inode);
	}
	mutex_give(&inode->lock);
	committer_release(commit->tree, dropped.bytes);
	dirty_clear(&dropped);
}

static struct run *add_run(struct commit *commit, uint64_t offset, size_t len)
{
	if (commit->run_count == commit->run_cap) {
		commit->run_cap = commit->run_cap ? 2 * commit->run_cap : 64;
		commit->runs = xrealloc(commit->runs, commit->run_cap * sizeof(*commit->runs));
	}
	commit->runs[commit->run_count] = (struct run){ .offset = offset, .len = len };
	return &commit->runs[commit->run_count++];
}

/* Frozen segments that follow each other are cut as one piece of content, up to the size of a big segment. */
static int gather_item(struct commit *commit, struct item *item, int level)
{
	const struct dirty *frozen = &item->inode->frozen;

	item->first_run = commit->run_count;
	for (size_t i = 0, next; i < frozen->count; i = next) {
		const struct segment *segment = &frozen->segments[i];
		const uint8_t *data = segment->data;
		size_t len = segment->len, at = 0;
		struct run *run;

		for (next = i + 1; next < frozen->count && frozen->segments[next].offset == segment->offset + len &&
				   len + frozen->segments[next].len <= DIRTY_SEGMENT_MAX;
		     next++)
			len += frozen->segments[next].len;
		run = add_run(commit, segment->offset, len);
		item->run_count++;
		if (next > i + 1) {
			run->joined = malloc(len);
			if (!run->joined)
				return -ENOMEM;
			for (size_t j = i; j < next; at += frozen->segments[j++].len)
				memcpy(run->joined + at, frozen->segments[j].data, frozen->segments[j].len);
			data = run->joined;
		}
		run->number = chunks_group_add(commit->group, data, len, level);
	}
	return 0;
}

static int store(struct commit *commit)
{
	int result = 0, level;

	rwlock_read(&commit->view->epoch_lock);
	level = commit->view->level;
	rwlock_give(&commit->view->epoch_lock);
	for (size_t i = 0; i < commit->count && result == 0; i++) {
		struct item *item = &commit->items[i];

		if (!item->done && item->content && !item->stays_inline)
			result = gather_item(commit, item, level);
	}
	if (result == 0)
		result = fault_point("commit-before-store");
	if (result == 0 && commit->run_count > 0)
		result = chunks_group_store(commit->group, commit->batch);
	return result;
}

/* --- finish: with the inodes' locks and the epoch lock --- */

static void put_inline(struct item *item)
{
	struct inode *inode = item->inode;
	struct buf fresh = BUF_INIT;
	size_t kept = MIN(inode->inline_data.len, item->size);

	buf_reserve(&fresh, item->size);
	memset(fresh.data, 0, item->size);
	if (kept)
		memcpy(fresh.data, inode->inline_data.data, kept);
	fresh.len = item->size;
	dirty_overlay(&inode->frozen, 0, item->size, fresh.data);
	item->old_inline = inode->inline_data;
	item->inline_replaced = true;
	inode->inline_data = BUF_INIT;
	content_set_inline(inode, fresh.data, fresh.len);
	buf_clear(&fresh);
}

static int put_runs(struct commit *commit, struct item *item)
{
	struct inode *inode = item->inode;
	struct extent_edit edit;
	int result = 0;

	if (inode->record.is_inline) {
		item->old_inline = inode->inline_data;
		item->inline_replaced = true;
		inode->inline_data = BUF_INIT;
		content_set_inline(inode, NULL, 0);
	}
	edit = extent_edit_begin(inode, commit->batch);
	for (size_t i = 0; i < item->run_count && result == 0; i++) {
		const struct run *run = &commit->runs[item->first_run + i];
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

static int put_item(struct commit *commit, struct item *item)
{
	struct inode *inode = item->inode;
	int result = 0;

	item->old_record = inode->record;
	item->inline_replaced = false;
	/* it lost its last name and user meanwhile: its records go, and are not made again */
	if (inode->gone)
		return 0;
	if (item->stays_inline)
		put_inline(item);
	else if (item->content)
		result = put_runs(commit, item);
	inode->record.size = item->size;
	if (result == 0)
		inode_record_put(inode, commit->batch);
	return result;
}

static void finished(struct item *item)
{
	struct inode *inode = item->inode;

	if (!inode->gone)
		inode_written(inode);
	extent_cache_drop(inode);
	inode->commit_error = 0;
	buf_clear(&item->old_inline);
}

static void not_finished(struct item *item)
{
	struct inode *inode = item->inode;

	if (item->inline_replaced) {
		buf_clear(&inode->inline_data);
		inode->inline_data = item->old_inline;
		item->old_inline = BUF_INIT;
	}
	inode->record = item->old_record;
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

/* Writes the batch for items [first, end); the lock of each that is not done is held. */
static int write_items(struct commit *commit, size_t first, size_t end)
{
	size_t put = first;
	int result;

	rwlock_read(&commit->view->epoch_lock);
	result = view_check_change(commit->view);
	for (; put < end && result == 0; put++) {
		if (!commit->items[put].done)
			result = put_item(commit, &commit->items[put]);
	}
	if (result == 0)
		result = fault_point("commit-before-write");
	if (result == 0)
		result = kv_write(commit->tree->kv, commit->batch, 0);
	for (size_t i = first; i < put; i++) {
		if (!commit->items[i].done && result == 0)
			finished(&commit->items[i]);
		else if (!commit->items[i].done)
			not_finished(&commit->items[i]);
	}
	rwlock_give(&commit->view->epoch_lock);
	kv_batch_clear(commit->batch);
	return result;
}

static int finish(struct commit *commit, size_t first, size_t end)
{
	struct dirty frozen[BATCH_INODES];
	size_t freed = 0;
	uint64_t bytes = 0;
	int result;

	for (size_t i = first; i < end; i++) {
		if (!commit->items[i].done)
			mutex_take(&commit->items[i].inode->lock);
	}
	result = write_items(commit, first, end);
	for (size_t i = end; i-- > first;) {
		if (commit->items[i].done)
			continue;
		if (result == 0)
			frozen[freed++] = end_item(&commit->items[i]);
		mutex_give(&commit->items[i].inode->lock);
	}
	for (size_t i = 0; i < freed; i++) {
		bytes += frozen[i].bytes;
		dirty_clear(&frozen[i]);
	}
	committer_release(commit->tree, bytes);
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
		committer_note(inode);
	}
	bytes -= inode->active.bytes;
	inode->commit_error = error;
	mutex_give(&inode->lock);
	committer_release(commit->tree, bytes);
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
	commit.batch = kv_batch_new();
	for (size_t i = 0; i < count; i++)
		commit.items[i].inode = inodes[i];
	qsort(commit.items, count, sizeof(*commit.items), by_ino);
	for (size_t i = 0; i < count; i++)
		begin_item(&commit, &commit.items[i]);
	result = store(&commit);
	for (size_t i = 0; i < count && result == 0; i += BATCH_INODES)
		result = finish(&commit, i, MIN(i + BATCH_INODES, count));
	for (size_t i = 0; i < count && result < 0; i++) {
		if (!commit.items[i].done)
			give_up(&commit, &commit.items[i], result);
	}
	chunks_group_free(commit.group);
	kv_batch_free(commit.batch);
	for (size_t i = 0; i < commit.run_count; i++)
		free(commit.runs[i].joined);
	free(commit.runs);
	free(commit.items);
	return result;
}
