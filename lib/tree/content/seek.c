/* Where data and holes are: SEEK_DATA and SEEK_HOLE. */
#include <errno.h>
#include <unistd.h>

#include "lib/tree/content/file.h"
#include "lib/tree/inodes/inode.h"
#include "lib/tree/records/extent.h"

#define STEP_EXTENTS 8192

struct seek {
	bool hole;
	uint64_t at; /* where the answer is, if nothing else comes */
	bool found;
};

static void seek_over(struct seek *seek, const struct extent *extent)
{
	uint64_t end = extent->offset + extent->record.length;
	bool data = extent->record.chunk != CHUNK_NONE;

	if (end <= seek->at || (!data && !seek->hole))
		return;
	if (seek->hole) {
		seek->found = !data || extent->offset > seek->at;
		seek->at = seek->found ? seek->at : end;
	} else {
		seek->at = MAX(seek->at, extent->offset);
		seek->found = true;
	}
}

static int seek_extents(struct inode *inode, struct seek *seek)
{
	struct extent_list list = { 0 };
	uint64_t first = seek->at;
	int result = 0;

	do {
		array_clear(&list);
		result = extents_load(inode->view, inode->ino, first, UINT64_MAX, STEP_EXTENTS, &list);
		for (size_t i = 0; i < list.count && result == 0 && !seek->found; i++) {
			seek_over(seek, &list.items[i]);
			first = list.items[i].offset + list.items[i].record.length;
		}
	} while (result == 0 && !seek->found && list.count >= STEP_EXTENTS);
	array_clear(&list);
	return result;
}

int inode_seek(struct inode *inode, uint64_t offset, int whence, uint64_t *ret_offset)
{
	struct seek seek = { .hole = whence == SEEK_HOLE, .at = offset };
	uint64_t size;
	int result;

	if (whence != SEEK_HOLE && whence != SEEK_DATA)
		return -EINVAL;
	result = inode_commit(inode);
	if (result < 0)
		return result;
	mutex_take(&inode->lock);
	size = inode->size;
	if (offset >= size) {
		result = -ENXIO;
	} else if (inode->record.is_inline) {
		if (seek.hole)
			seek.at = MAX(offset, inode->inline_data.len);
		seek.found = seek.hole || offset < inode->inline_data.len;
	} else if (inode->record.allocated > 0) {
		rwlock_read(&inode->view->epoch_lock);
		result = seek_extents(inode, &seek);
		rwlock_give(&inode->view->epoch_lock);
	}
	mutex_give(&inode->lock);
	if (result < 0)
		return result;
	if (!seek.hole && (!seek.found || seek.at >= size))
		return -ENXIO;
	*ret_offset = MIN(seek.at, size);
	return 0;
}
