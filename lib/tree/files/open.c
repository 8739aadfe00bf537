/* Open files: an inode outlives its last name while somebody has it open (orphan.c). */
#include <assert.h>
#include <errno.h>
#include <sys/stat.h>

#include "lib/tree/files/files.h"
#include "lib/tree/files/orphan.h"
#include "lib/tree/records/quota.h"

static int open_inode(struct view *view, uint64_t ino, bool again, struct inode **ret_inode)
{
	struct inode *inode;
	int r = inode_get(view, ino, &inode);

	if (r < 0)
		return r;
	mutex_take(&inode->lock);
	/* Without a name and not open: an orphan that waits to be removed. (A removed directory has no content.) */
	if (inode->gone ? !S_ISDIR(inode->record.mode) : inode->record.nlink == 0 && inode->opens == 0 && !again)
		r = -ESTALE;
	else
		inode->opens++;
	mutex_give(&inode->lock);
	if (r < 0) {
		inode_put(inode);
		return r;
	}
	*ret_inode = inode;
	return 0;
}

int inode_open(struct view *view, uint64_t ino, struct inode **ret_inode)
{
	return open_inode(view, ino, false, ret_inode);
}

int inode_open_again(struct view *view, uint64_t ino, struct inode **ret_inode)
{
	return open_inode(view, ino, true, ret_inode);
}

void inode_close(struct inode *inode)
{
	mutex_take(&inode->lock);
	assert(inode->opens > 0);

	bool is_last = --inode->opens == 0 && inode->record.nlink == 0 && !inode->gone && view_check_accepted(inode->view) == 0;

	const bool is_noted = is_last && inode->is_unnamed;

	inode->gone = inode->gone || is_last;
	if (is_last)
		inode->is_unnamed = false; /* taken back below, and not by a commit that ends meanwhile */
	mutex_give(&inode->lock);
	if (is_last) {
		quota_closing(inode->view, 1);
		/* what fails stays noted as an orphan and is tried again when the store is next opened */
		int ignored = orphan_bury(inode);
		(void)ignored;
		quota_closing(inode->view, -1);
		if (is_noted)
			quota_unnamed(inode->view, -1);
	}
	inode_put(inode);
}
