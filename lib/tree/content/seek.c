/*
 * Where data and holes are: SEEK_DATA and SEEK_HOLE.
 *
 * A hole is where no byte was written: whole blocks, up to the end of the file or of a block, and at least HOLE_MIN bytes of it. What is less
 * counts as data wherever it is: between data, at the end of the file, behind inline data. So a file looks the same whether its bytes were
 * committed one by one or together. Allocated zeros are holes.
 *
 * Whole blocks, because all other filesystems have it so: GNU tar takes data to begin and end where blocks do, and writes archives that no other
 * program can read if it does not.
 */
#include <errno.h>
#include <unistd.h>

#include "lib/tree/content/content.h"
#include "lib/tree/content/file.h"
#include "lib/tree/content/holes.h"
#include "lib/tree/records/extent.h"

#define HOLE_MIN HOLE_BLOCK
#define FIRST_EXTENTS 64 /* usually the answer is near */

struct seek {
	struct inode *inode;
	bool hole;         /* SEEK_HOLE */
	uint64_t offset;   /* from here */
	uint64_t data_end; /* of the data that was met last: a gap begins */
	uint64_t next;     /* extents from here on are to be looked at */
	uint64_t size;     /* of the file */
	bool found;
	uint64_t answer;
	bool met_hole;
};

/* The gap behind the last data ends at `end`, where data begins, or the file ends. */
static void end_gap(struct seek *seek, uint64_t end, bool is_data)
{
	uint64_t hole = hole_first(seek->data_end), hole_end = is_data ? hole_last(end) : end;
	bool is_hole = hole_end >= hole + HOLE_MIN && hole_end > seek->offset;

	seek->met_hole |= is_hole;
	if (seek->hole) {
		seek->found = is_hole;
		seek->answer = MAX(hole, seek->offset);
	} else {
		is_hole = is_hole && seek->offset >= hole;
		seek->found = is_data || !is_hole;
		seek->answer = is_hole ? hole_end : seek->offset;
	}
}

/* Data in [first, end), ascending. */
static void meet_data(struct seek *seek, uint64_t first, uint64_t end)
{
	if (end <= seek->offset) {
		seek->data_end = MAX(seek->data_end, end);
		return;
	}
	end_gap(seek, first, true);
	if (!seek->found)
		seek->data_end = end;
}

static void meet_end(struct seek *seek)
{
	end_gap(seek, seek->size, false);
	if (seek->hole && !seek->found)
		seek->answer = seek->size;
}

/* Where the gap begins that `offset` may lie in; a place before that is far enough away will do. */
static int look_back(struct seek *seek)
{
	struct inode *inode = seek->inode;
	uint64_t before = seek->offset;
	struct extent extent;
	int result;

	do {
		result = extents_before(inode->view, inode->ino, before, &extent);
		if (result == -ENOENT)
			seek->data_end = 0;
		if (result < 0)
			return result == -ENOENT ? 0 : result;
		before = extent.offset;
		seek->data_end = extent.record.chunk == CHUNK_NONE ? extent.offset : extent_end(&extent);
	} while (extent.record.chunk == CHUNK_NONE && extent.offset + 2 * HOLE_MIN > seek->offset);
	return 0;
}

/* 1: there are more. */
static int seek_extents(struct seek *seek, size_t limit)
{
	struct inode *inode = seek->inode;
	struct extent_list list = { 0 };
	int result = seek->next == seek->offset ? look_back(seek) : 0;

	if (result == 0)
		result = extents_load(inode->view, inode->ino, seek->next, UINT64_MAX, limit, &list);
	for (size_t i = 0; i < list.count && result == 0 && !seek->found; i++) {
		const struct extent *extent = &list.items[i];

		if (extent->record.chunk != CHUNK_NONE && extent->offset < seek->size)
			meet_data(seek, extent->offset, extent_end(extent));
		seek->next = extent_end(extent);
	}
	if (result == 0 && !seek->found)
		result = list.count >= limit;
	array_clear(&list);
	return result;
}

/* Caller holds inode->lock. 1: there is more to look at. */
static int seek_step(struct seek *seek, size_t limit)
{
	struct inode *inode = seek->inode;
	int result = 0;

	seek->size = inode->size;
	if (seek->offset >= seek->size)
		return -ENXIO;
	if (inode->record.is_inline) {
		meet_data(seek, 0, inode->record.allocated);
	} else if (inode->record.allocated > 0) {
		rwlock_read(&inode->view->epoch_lock);
		result = seek_extents(seek, limit);
		rwlock_give(&inode->view->epoch_lock);
	}
	if (result == 0 && !seek->found)
		meet_end(seek);
	return result;
}

int inode_seek(struct inode *inode, uint64_t offset, int whence, uint64_t *ret_offset)
{
	struct seek seek = { .inode = inode, .hole = whence == SEEK_HOLE, .offset = offset, .next = offset };
	size_t limit = FIRST_EXTENTS;
	int result;

	if (whence != SEEK_HOLE && whence != SEEK_DATA)
		return -EINVAL;
	result = inode_commit(inode);
	if (result < 0)
		return result;
	do {
		mutex_take(&inode->lock);
		result = seek_step(&seek, limit);
		mutex_give(&inode->lock);
		if (result > 0)
			content_let_others();
		limit = CONTENT_STEP_EXTENTS;
	} while (result > 0);
	if (result == 0 && seek.met_hole)
		result = holes_confirm(inode);
	if (result == 0 && !seek.hole && !seek.found)
		result = -ENXIO;
	if (result == 0)
		*ret_offset = MIN(seek.answer, seek.size);
	return result;
}
