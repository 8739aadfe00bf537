#include "lib/tree/content/holes.h"

#include <errno.h>

#include "lib/tree/content/file.h"
#include "lib/tree/records/extent.h"

bool holes_are_confirmed(const struct inode *inode)
{
	return inode->holes == HOLES_CONFIRMED || inode->record.is_inline || inode->record.allocated == 0;
}

static int add_up(struct version_iter *iter, uint64_t *ret_sum)
{
	struct extent extent;
	int more;

	*ret_sum = 0;
	while ((more = extents_next(iter, &extent)) > 0)
		*ret_sum += extent.record.length;
	version_iter_free(iter);
	return more;
}

/* The extents are those of the moment in which record.allocated is read, as every change of both is made under inode->lock. */
static int count(struct inode *inode)
{
	uint64_t allocated = inode->record.allocated, sum;
	struct version_iter *iter = extents_iterate(inode->view, inode->ino);
	int result;

	mutex_give(&inode->lock);
	result = add_up(iter, &sum);
	mutex_take(&inode->lock);
	if (result == 0)
		inode->holes = sum == allocated ? HOLES_CONFIRMED : HOLES_WRONG;
	return result == 0 && sum != allocated ? -EIO : result;
}

int holes_confirm(struct inode *inode)
{
	int result = 0;

	mutex_take(&inode->lock);
	while (inode->counting_holes)
		mutex_wait(&inode->lock, &inode->drained);
	if (inode->holes == HOLES_WRONG) {
		result = -EIO;
	} else if (!holes_are_confirmed(inode)) {
		inode->counting_holes = true;
		result = count(inode);
		inode->counting_holes = false;
		pthread_cond_broadcast(&inode->drained);
	}
	mutex_give(&inode->lock);
	return result;
}

int view_check_holes(struct view *view, uint64_t ino)
{
	struct inode *inode;
	int result = inode_get(view, ino, &inode);

	if (result < 0)
		return result;
	result = holes_confirm(inode);
	inode_put(inode);
	return result;
}
