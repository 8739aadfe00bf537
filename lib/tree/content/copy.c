/*
 * Copying by sharing: the target's extents name the source's chunks. It goes on in steps of a bounded number of extents (content.h), however
 * many bytes these are. A gap is copied as a hole if it is one (holes.h).
 *
 * Both inodes stay locked and both views in use until the batch is written. So the source's extents stay in the database all the while,
 * and the collector finds the chunks there or in the target (GC2 in lib/reclaim/gc.c).
 */
#include <errno.h>
#include <sys/stat.h>

#include "lib/base/fault.h"
#include "lib/tree/content/content.h"
#include "lib/tree/content/file.h"
#include "lib/tree/content/holes.h"
#include "lib/tree/content/pending.h"
#include "lib/tree/inodes/extent_edit.h"
#include "lib/tree/records/quota.h"
#include "lib/tree/records/readers.h"

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
	result = inode_write(copy->target, copy->target_offset, buffer, (size_t)have, WRITE_KEEP);
	return result < 0 ? result : have;
}

static int load(struct inode *inode, uint64_t first, uint64_t end, struct extent_list *list)
{
	int result;

	rwlock_read(&inode->view->epoch_lock);
	result = extents_load(inode->view, inode->ino, first, end, CONTENT_STEP_EXTENTS, list);
	rwlock_give(&inode->view->epoch_lock);
	return result;
}

/* Shortens *len so that the extents of the list are all that there are in it. */
static void bound(const struct extent_list *list, uint64_t offset, uint64_t *len)
{
	if (list->count >= CONTENT_STEP_EXTENTS)
		*len = MIN(*len, extent_end(&list->items[list->count - 1]) - offset);
}

/* How far the next step goes. The source's extents are added to the list. Both locks are held. */
static int plan_step(const struct copy *copy, struct extent_list *list, uint64_t *len)
{
	struct extent_list replaced = { 0 };
	int result = load(copy->source, copy->source_offset, copy->source_offset + *len, list);

	bound(list, copy->source_offset, len);
	if (result == 0 && copy->target->record.allocated > 0)
		result = load(copy->target, copy->target_offset, copy->target_offset + *len, &replaced);
	bound(&replaced, copy->target_offset, len);
	array_clear(&replaced);
	return result;
}

/* Cuts the extents to the range and moves them to where they go; returns how many bytes they are. */
static uint64_t move(const struct copy *copy, uint64_t len, struct extent_list *list)
{
	uint64_t end = copy->source_offset + len, sum = 0;
	size_t kept = 0;

	for (size_t i = 0; i < list->count && list->items[i].offset < end; i++) {
		struct extent extent = list->items[i];
		uint64_t first = MAX(extent.offset, copy->source_offset), last = MIN(extent_end(&extent), end);

		if (extent.record.chunk != CHUNK_NONE)
			extent.record.chunk_offset += (uint32_t)(first - extent.offset);
		extent.record.length = (uint32_t)(last - first);
		extent.offset = first - copy->source_offset + copy->target_offset;
		sum += last - first;
		list->items[kept++] = extent;
	}
	list->count = kept;
	return sum;
}

/* Both locks are held. */
static int put_shared(const struct copy *copy, uint64_t len, const struct extent_list *shared)
{
	struct inode *target = copy->target;
	uint64_t end = copy->target_offset + len;
	struct transaction transaction;
	int result = fault_point("copy-before-change");

	if (result < 0)
		return result;
	transaction_begin_locked(&transaction, target);
	result = extents_replace(target, transaction.batch, copy->target_offset, end, shared->items, shared->count);
	if (result == 0)
		result = transaction_note_discard(&transaction, target, copy->target_offset, end - copy->target_offset);
	if (result == 0) {
		target->size = MAX(target->size, end);
		/* what is buffered beyond the copy comes with its own commit */
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

/*
 * Somebody else has written before the place where the copy goes, beyond what is committed. A size that covers the copy must not be committed
 * before these bytes: after a crash there would be a hole in their place.
 */
static bool is_behind_buffered(const struct copy *copy)
{
	const struct inode *target = copy->target;
	uint64_t committed = target->record.size;

	return copy->target_offset > committed && dirty_overlaps(&target->active, committed, copy->target_offset - committed);
}

/* -EAGAIN: content that is buffered or inline is in the way. -ENODATA: nobody knows whether a gap is a hole. Both locks are held. */
static int share_step(const struct copy *copy, uint64_t *len)
{
	struct inode *source = copy->source, *target = copy->target;
	struct extent_list shared = { 0 };
	int result;

	*len = copy->source_offset < source->size ? MIN(copy->len, source->size - copy->source_offset) : 0;
	if (*len == 0)
		return 0;
	if (source->record.is_inline || target->record.is_inline || *len < SMALL_COPY || is_behind_buffered(copy) ||
	    dirty_overlaps(&source->active, copy->source_offset, *len) || dirty_overlaps(&source->frozen, copy->source_offset, *len))
		return -EAGAIN;
	readers_hold_moves(source->view->tree);
	result = plan_step(copy, &shared, len);
	if (result == 0 && move(copy, *len, &shared) < *len && !holes_are_confirmed(source))
		result = -ENODATA;
	if (result == 0)
		result = put_shared(copy, *len, &shared);
	readers_release_moves(source->view->tree);
	array_clear(&shared);
	return result;
}

/* Shares what it can in one step; -EAGAIN when content that is buffered or inline is in the way. */
static ssize_t copy_extents(const struct copy *copy)
{
	uint64_t len = 0;
	int result;

	do {
		result = fault_point("copy-before-step");
		if (result < 0)
			return result;
		lock_both(copy);
		result = share_step(copy, &len);
		unlock_both(copy);
		if (result == -ENODATA) {
			result = holes_confirm(copy->source);
			if (result == 0)
				result = -ENODATA;
		}
	} while (result == -ENODATA);
	return result < 0 ? result : (ssize_t)len;
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

static uint64_t left_of(struct inode *source, uint64_t offset)
{
	uint64_t size;

	mutex_take(&source->lock);
	size = source->size;
	mutex_give(&source->lock);
	return offset < size ? size - offset : 0;
}

ssize_t inode_copy(struct inode *source, uint64_t source_offset, struct inode *target, uint64_t target_offset, uint64_t len)
{
	/* extents name chunks, whose numbers mean the same in all families of a store */
	struct copy copy = { source, target, source_offset, target_offset, MIN(len, left_of(source, source_offset)) };
	int result = check(&copy);
	struct quota_patience patience = quota_patience(target->view);
	ssize_t done = 0, step;

	if (result == 0)
		result = quota_ready(target->view);
	if (result == 0)
		result = commit_both(&copy);
	if (result < 0 || copy.len == 0)
		return result;
	do {
		step = copy_extents(&copy);
		if (step == -EAGAIN)
			step = copy_bytes(&copy);
		if (step == -EDQUOT && quota_wait(target->view, &patience))
			continue;
		if (step <= 0)
			break;
		done += step;
		copy.source_offset += (uint64_t)step;
		copy.target_offset += (uint64_t)step;
		copy.len -= (uint64_t)step;
		if (copy.len > 0)
			content_let_others();
		/* the target is longer than inline data now: once committed, the rest can be shared */
		result = copy.len > 0 ? commit_both(&copy) : 0;
	} while (result == 0 && copy.len > 0);
	return done > 0 ? done : step;
}
