/*
 * Copying by sharing: the target's extents name the source's chunks.
 *
 * Both inodes stay locked and both views in use until the batch is written. So the source's extents stay in the database all the while,
 * and the collector finds the chunks there or in the target (GC2 in lib/reclaim/gc.c).
 */
#include <errno.h>
#include <sys/stat.h>

#include "lib/base/fault.h"
#include "lib/tree/content/content.h"
#include "lib/tree/content/file.h"
#include "lib/tree/content/pending.h"
#include "lib/tree/inodes/extent_edit.h"

#define SHARE_MAX (1ULL << 30)      /* one call, so that a batch stays small */
#define SMALL_COPY (64U << 10)      /* below it bytes are copied: an extent costs more than it saves */

struct copy {
	struct inode *source, *target;
	uint64_t source_offset, target_offset, len;
};

static bool comes_first(const struct inode *a, const struct inode *b)
{
	return a->view->number != b->view->number ? a->view->number < b->view->number : a->ino < b->ino;
}

static void unlock_both(const struct copy *copy)
{
	mutex_give(&copy->source->lock);
	if (copy->target != copy->source)
		mutex_give(&copy->target->lock);
}

/* Locks both, in the order of their numbers. A commit of the target is waited for before, because nobody may wait for it with two locks. */
static void lock_both(const struct copy *copy)
{
	bool source_first = comes_first(copy->source, copy->target);
	struct inode *first = source_first ? copy->source : copy->target;
	struct inode *second = source_first ? copy->target : copy->source;

	for (;;) {
		mutex_take(&first->lock);
		if (second != first)
			mutex_take(&second->lock);
		if (!copy->target->committing)
			return;
		unlock_both(copy);
		mutex_take(&copy->target->lock);
		inode_wait_drained(copy->target);
		mutex_give(&copy->target->lock);
	}
}

static ssize_t copy_bytes(const struct copy *copy)
{
	/* what is left afterwards is not small again */
	size_t len = copy->len < 2 * SMALL_COPY ? copy->len : SMALL_COPY;
	AUTO_FREE void *buffer = malloc(len);
	ssize_t have;
	int result;

	if (!buffer)
		return -ENOMEM;
	have = inode_read(copy->source, copy->source_offset, len, buffer);
	if (have <= 0)
		return have;
	result = inode_write(copy->target, copy->target_offset, buffer, (size_t)have, 0);
	return result < 0 ? result : have;
}

/* The source's extents, cut to the range and moved to where they go. Both locks are held. */
static int load_shared(const struct copy *copy, struct extent_list *shared)
{
	uint64_t end = copy->source_offset + copy->len;
	struct view *view = copy->source->view;
	struct extent_list list = { 0 };
	int result;

	rwlock_read(&view->epoch_lock);
	result = extents_load(view, copy->source->ino, copy->source_offset, end, EXTENTS_ALL, &list);
	rwlock_give(&view->epoch_lock);
	for (size_t i = 0; i < list.count && result == 0; i++) {
		struct extent extent = list.items[i];
		uint64_t first = MAX(extent.offset, copy->source_offset);
		uint64_t last = MIN(extent.offset + extent.record.length, end);

		if (extent.record.chunk != CHUNK_NONE)
			extent.record.chunk_offset += (uint32_t)(first - extent.offset);
		extent.record.length = (uint32_t)(last - first);
		extent.offset = first - copy->source_offset + copy->target_offset;
		array_add(shared, extent);
	}
	array_clear(&list);
	return result;
}

/* Both locks are held. */
static int put_shared(const struct copy *copy, const struct extent_list *shared)
{
	struct inode *target = copy->target;
	uint64_t end = copy->target_offset + copy->len;
	struct transaction transaction;
	int result = fault_point("copy-before-change");

	if (result < 0)
		return result;
	transaction_begin_locked(&transaction, target);
	result = extents_replace(target, transaction.batch, copy->target_offset, end, shared->items, shared->count);
	if (result == 0) {
		target->size = MAX(target->size, end);
		target->record.size = target->active.bytes == 0 ? target->size : MAX(target->record.size, end);
		content_touch(target);
	}
	transaction_put(&transaction, target);
	result = transaction_write(&transaction, result);
	transaction_end(&transaction);
	if (result == 0)
		pending_release(target->view->tree, dirty_discard(&target->active, copy->target_offset, end));
	return result;
}

/* Shares what it can; -EAGAIN when content that is buffered or inline is in the way. */
static ssize_t copy_extents(struct copy *copy)
{
	struct extent_list shared = { 0 };
	struct inode *source = copy->source, *target = copy->target;
	int result;

	lock_both(copy);
	copy->len = copy->source_offset < source->size ? MIN(copy->len, source->size - copy->source_offset) : 0;
	copy->len = MIN(copy->len, SHARE_MAX);
	if (copy->len == 0)
		result = 0;
	else if (source->record.is_inline || target->record.is_inline || copy->len < SMALL_COPY ||
		 dirty_overlaps(&source->active, copy->source_offset, copy->len) ||
		 dirty_overlaps(&source->frozen, copy->source_offset, copy->len))
		result = -EAGAIN;
	else
		result = load_shared(copy, &shared);
	if (result == 0 && copy->len > 0)
		result = put_shared(copy, &shared);
	unlock_both(copy);
	array_clear(&shared);
	return result < 0 ? result : (ssize_t)copy->len;
}

static int check(const struct copy *copy)
{
	uint64_t from = copy->source_offset, to = copy->target_offset;
	int result = content_check_change(copy->target, to, copy->len);

	if (result < 0)
		return result;
	if (S_ISDIR(copy->source->record.mode))
		return -EISDIR;
	if (!S_ISREG(copy->source->record.mode))
		return -EINVAL;
	if (copy->source == copy->target && from < to + copy->len && to < from + copy->len)
		return -EINVAL;
	return copy->source->view->tree == copy->target->view->tree ? 0 : -EXDEV;
}

/* The source's content must be committed to be shared, and so must a target's that has inline data or bytes in the way. */
static int commit_both(struct copy *copy)
{
	int result = view_read_only(copy->source->view) ? 0 : inode_commit(copy->source);

	return result < 0 || copy->source == copy->target ? result : inode_commit(copy->target);
}

ssize_t inode_copy(struct inode *source, uint64_t source_offset, struct inode *target, uint64_t target_offset, uint64_t len)
{
	struct copy copy = { source, target, source_offset, target_offset, MIN(len, SHARE_MAX) };
	/* extents name chunks, whose numbers mean the same in all families of a store */
	int result = check(&copy);
	ssize_t done = 0, step;

	if (result == 0)
		result = commit_both(&copy);
	if (result < 0 || len == 0)
		return result;
	do {
		step = copy_extents(&copy);
		if (step == -EAGAIN)
			step = copy_bytes(&copy);
		if (step <= 0)
			break;
		done += step;
		copy.source_offset += (uint64_t)step;
		copy.target_offset += (uint64_t)step;
		copy.len -= (uint64_t)step;
		/* the target is longer than inline data now: once committed, the rest can be shared */
		result = copy.len > 0 ? commit_both(&copy) : 0;
	} while (result == 0 && copy.len > 0);
	return done > 0 ? done : step;
}
