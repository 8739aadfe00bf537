#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/fault.h"
#include "lib/tree/content/committer.h"
#include "lib/tree/content/content.h"
#include "lib/tree/content/damage.h"
#include "lib/tree/content/file.h"
#include "lib/tree/content/holes.h"
#include "lib/tree/content/pending.h"
#include "lib/tree/inodes/extent_cache.h"
#include "lib/tree/records/quota.h"
#include "lib/tree/records/readers.h"

/* Smaller ones come through the page cache. Of larger ones the kernel asks for the beginning first. */
#define BEGIN_READ_MIN (16U << 10)
#define BEGIN_READ_MAX (256U << 10)

/* Zeros where the list has gaps; returns whether there are any below `size`. */
static bool clear_gaps(const struct extent_list *list, uint64_t offset, size_t len, uint64_t size, uint8_t *out)
{
	uint64_t at = offset, end = offset + len;
	bool holes = false;

	for (size_t i = 0; i <= list->count; i++) {
		uint64_t next = i < list->count ? MIN(list->items[i].offset, end) : end;

		if (next > at) {
			holes |= at < size;
			memset(out + (at - offset), 0, next - at);
		}
		if (i < list->count)
			at = MAX(at, list->items[i].offset + list->items[i].record.length);
	}
	return holes;
}

static int read_pieces(struct tree *tree, const struct extent_list *list, uint64_t offset, size_t len, uint8_t *out)
{
	struct chunk_want *wants = xcalloc(list->count + 1, sizeof(*wants));
	size_t count = 0;
	int result;

	for (size_t i = 0; i < list->count; i++) {
		const struct extent *extent = &list->items[i];
		const uint64_t first = MAX(extent->offset, offset), end = MIN(extent->offset + extent->record.length, offset + len);
		uint8_t *to = out + (first - offset);

		if (extent->record.chunk == CHUNK_NONE)
			memset(to, 0, end - first);
		else
			wants[count++] = (struct chunk_want){.chunk = extent->record.chunk,
			                                     .offset = extent->record.chunk_offset + (uint32_t)(first - extent->offset),
			                                     .length = (uint32_t)(end - first),
			                                     .out = to};
	}
	result = chunks_read_many(tree->chunks, wants, count);
	free(wants);
	return result;
}

/*
 * What the committed layer says about the range: `out` has inline data and zeros, the list what is to be read over it. -EAGAIN: there is a
 * gap, of which nobody knows whether it is a hole.
 */
static int plan_committed(struct inode *inode, uint64_t offset, size_t len, uint8_t *out, struct extent_list *list)
{
	int result;

	if (inode->record.is_inline) {
		result = inode_load_inline(inode);
		if (result < 0)
			return result;

		size_t have = inode->inline_data.len > offset ? MIN(inode->inline_data.len - offset, len) : 0;

		if (have)
			memcpy(out, inode->inline_data.data + offset, have);
		memset(out + have, 0, len - have);
		return 0;
	}
	result = extent_cache_load(inode, offset, offset + len, list);
	if (result == 0 && clear_gaps(list, offset, len, inode->record.size, out))
		result = holes_are_confirmed(inode) ? 0 : -EAGAIN;
	return result;
}

/*
 * Buffered bytes are copied under the lock, together with the committed bytes below them, so that a reader never sees half of a commit. Where
 * nothing is buffered, chunks are read without the lock: they never change, and stay while the caller counts as a reader (readers.h).
 * -EAGAIN: the holes are to be confirmed. -ESTALE: the view is retired, and something that was buffered of the file has been dropped.
 */
static int read_once(struct inode *inode, uint64_t offset, size_t len, void *out, size_t *ret_len)
{
	struct extent_list list = { 0 };
	int result = 0;
	bool locked;

	mutex_take(&inode->lock);
	if (inode->commit_error == -ESTALE) {
		mutex_give(&inode->lock);
		return -ESTALE;
	}
	len = offset < inode->size ? MIN(len, inode->size - offset) : 0;
	if (len == 0 || dirty_covers(&inode->active, offset, len)) {
		dirty_overlay(&inode->active, offset, len, out);
		mutex_give(&inode->lock);
		*ret_len = len;
		return 0;
	}
	locked = dirty_overlaps(&inode->active, offset, len) || dirty_overlaps(&inode->frozen, offset, len);
	result = plan_committed(inode, offset, len, out, &list);
	if (!locked)
		mutex_give(&inode->lock);
	if (result == 0)
		result = fault_point("read-before-chunks");
	if (result == 0)
		result = read_pieces(inode->view->tree, &list, offset, len, out);
	if (locked) {
		if (result == 0) {
			dirty_overlay(&inode->frozen, offset, len, out);
			dirty_overlay(&inode->active, offset, len, out);
		}
		mutex_give(&inode->lock);
	}
	array_clear(&list);
	*ret_len = len;
	return result;
}

ssize_t inode_read(struct inode *inode, uint64_t offset, size_t len, void *out)
{
	struct tree *tree = inode->view->tree;
	size_t done = 0;
	unsigned turn;
	int result;

	if (S_ISDIR(inode->record.mode))
		return -EISDIR;
	len = MIN(len, SIZE_MAX / 2);
	turn = readers_enter(tree);
	do {
		result = read_once(inode, offset, len, out, &done);
		if (result == -EAGAIN) {
			result = holes_confirm(inode);
			result = result == 0 ? -EAGAIN : result;
		}
	} while (result == -EAGAIN);
	if (result == -EIO)
		damage_tell(inode, offset, len);
	readers_leave(tree, turn);
	return result < 0 ? result : (ssize_t)done;
}

/* The chunks of the list, if they follow one another on disk. */
static size_t count_neighbours(const struct extent_list *list)
{
	size_t count = 0;

	while (count < list->count && list->items[count].record.chunk == list->items[0].record.chunk + count)
		count++;
	return count;
}

void inode_begin_read(struct inode *inode)
{
	struct extent_list list = {0};
	int result = -ENODATA;

	mutex_take(&inode->lock);
	if (!inode->record.is_inline && inode->record.size >= BEGIN_READ_MIN && inode->record.size <= BEGIN_READ_MAX)
		result = extent_cache_load(inode, 0, inode->record.size, &list);
	mutex_give(&inode->lock);
	if (result == 0 && list.count > 0)
		chunks_begin_read(inode->view->tree->chunks, list.items[0].record.chunk, count_neighbours(&list));
	array_clear(&list);
}

struct part {
	uint64_t offset;
	const void *data;
	size_t len;
	unsigned flags;                /* WRITE_* */
	struct journal_record *record; /* NULL, or it has the same bytes */
};

/* What is in mapped files was stored before the kernel writes it back. */
static int check_view(const struct view *view, unsigned flags)
{
	return flags & WRITE_PAGES ? view_check_accepted(view) : view_check_change(view);
}

/* How many bytes more are buffered. */
static int64_t buffer(struct inode *inode, const struct part *part)
{
	int64_t grown;

	hold_enter(&inode->view->hold);
	mutex_take(&inode->lock);
	inode->active.pool = pending_blocks(inode->view->tree);
	/* the caller has waited since he looked: for room, for a freeze */
	grown = check_view(inode->view, part->flags);
	if (grown == 0)
		grown = pending_check_share(inode);
	/* so that the commit cannot fail on it */
	if (grown == 0)
		grown = inode_load_inline(inode);
	if (grown == 0)
		grown = content_promise(inode, part->offset, part->len);
	if (grown == 0) {
		grown = dirty_write(&inode->active, part->offset, part->data, part->len);
		if (grown < 0)
			content_promise_less(inode);
	}
	if (grown >= 0) {
		inode->size = MAX(inode->size, part->offset + part->len);
		content_touch(inode);
		inode_count_record(inode, part->record, JOURNAL_WRITE, part->offset, part->len);
		pending_note(inode);
	}
	mutex_give(&inode->lock);
	hold_leave(&inode->view->hold);
	return grown;
}

static int write_part(struct inode *inode, struct part part)
{
	struct tree *tree = inode->view->tree;
	struct quota_patience patience = quota_patience(inode->view);
	int64_t grown;
	int result = pending_admit(tree, part.len);

	if (result < 0)
		return result;
	if ((part.flags & WRITE_KEEP) && tree->journal)
		result = pending_take_record(tree, part.len, &part.record);
	if (part.record)
		memcpy(journal_data(part.record), part.data, part.len);
	do
		grown = result < 0 ? result : buffer(inode, &part);
	while (grown == -EDQUOT && quota_wait(inode->view, &patience));
	if (grown < 0 && part.record)
		journal_forget(tree->journal, part.record);
	pending_release(tree, grown < 0 ? part.len : part.len - (size_t)grown);
	return grown < 0 ? (int)grown : 0;
}

int inode_write(struct inode *inode, uint64_t offset, const void *data, size_t len, unsigned flags)
{
	struct tree *tree = inode->view->tree;
	const size_t part = tree->journal && (flags & WRITE_KEEP) ? JOURNAL_DATA_MAX : len;
	int result = check_view(inode->view, flags);

	if (result == 0)
		result = content_check_range(inode, offset, len);
	if (result < 0 || len == 0)
		return result;
	result = committer_check_space(tree, len);
	if (result == 0)
		result = quota_ready(inode->view);
	if (result == 0 && (flags & WRITE_KILL_PRIV))
		result = content_kill_privileges(inode, flags & WRITE_OUTSIDER);
	/* A request of a mount is one part. */
	for (size_t done = 0; done < len && result == 0; done += part)
		result = write_part(inode, (struct part){.offset = offset + done, .data = (const uint8_t *)data + done, .len = MIN(part, len - done),
		                                         .flags = flags});
	return result;
}

int inode_commit(struct inode *inode)
{
	int result = committer_run(inode->view->tree, inode->view, inode);

	if (result < 0)
		return result;
	mutex_take(&inode->lock);
	/* What could not be committed was cut off or punched out since: nothing is left that could be lost. In a retired view it was dropped. */
	if (inode->commit_error != -ESTALE && inode->active.bytes == 0 && !inode->committing && !inode->times_dirty && inode->record.size == inode->size)
		inode->commit_error = 0;
	result = inode->commit_error;
	mutex_give(&inode->lock);
	return result;
}

int inode_sync(struct inode *inode)
{
	int result = inode_commit(inode);

	if (result == 0)
		result = committer_sync(inode->view->tree);
	mutex_take(&inode->lock);
	if (result == 0 && inode->lost)
		result = -EIO;
	mutex_give(&inode->lock);
	return result;
}
