#include "lib/tree/content/content.h"

#include <errno.h>
#include <sys/stat.h>

#include "lib/base/clock.h"
#include "lib/base/fault.h"
#include "lib/tree/inodes/allocated.h"
#include "lib/tree/records/quota.h"

#define CAPABILITY "security.capability"

int content_check_change(struct inode *inode, uint64_t offset, uint64_t len)
{
	int result = view_check_change(inode->view);

	return result < 0 ? result : content_check_range(inode, offset, len);
}

int content_check_range(const struct inode *inode, uint64_t offset, uint64_t len)
{
	if (S_ISDIR(inode->record.mode))
		return -EISDIR;
	if (!S_ISREG(inode->record.mode))
		return -EINVAL;
	if (offset > FILE_SIZE_MAX || len > FILE_SIZE_MAX - offset)
		return -EFBIG;
	return 0;
}

static uint64_t growth(struct inode *inode, uint64_t offset, uint64_t len)
{
	return quota_is_set(inode->view) ? allocated_growth(inode, offset, len) : 0;
}

int content_promise(struct inode *inode, uint64_t offset, uint64_t len)
{
	uint64_t bytes = growth(inode, offset, len);
	int result = quota_promise(inode->view, bytes);

	if (result == 0)
		inode->promised += bytes;
	return result;
}

void content_promise_again(struct inode *inode, uint64_t offset, uint64_t len)
{
	uint64_t bytes = growth(inode, offset, len);

	quota_promise_again(inode->view, bytes);
	inode->promised += bytes;
}

void content_promise_less(struct inode *inode)
{
	const uint64_t excess = inode->promised - MIN(inode->promised, inode->active.bytes);

	inode->promised -= excess;
	quota_end(inode->view, excess);
}

void content_touch(struct inode *inode)
{
	inode->record.mtime = inode->record.ctime = clock_now();
	inode->times_dirty = true;
}

/* A mutex is not fair: who waits for it gets it while this thread pauses. A step takes a hundred times as long. */
void content_let_others(void)
{
	int ignored = fault_point("content-between-steps");

	(void)ignored;
	clock_pause_us(100);
}

/* --- privileges --- */

/* As Linux does: set-group-id without group execution falls only when somebody changes the file who is not in its group. */
static uint32_t without_privileges(uint32_t mode, bool outsider)
{
	if (S_ISDIR(mode))
		return mode;
	if (outsider || (mode & S_IXGRP))
		mode &= ~(uint32_t)S_ISGID;
	return mode & ~(uint32_t)S_ISUID;
}

int content_kill_privileges_in(struct transaction *transaction, struct inode *inode, bool outsider)
{
	struct tree_key stem = tree_stem_xattr(inode->view->family_id, inode->ino, CAPABILITY);

	if (S_ISDIR(inode->record.mode))
		return 0;
	inode->record.mode = without_privileges(inode->record.mode, outsider);
	return inode->gone ? 0 : version_delete(inode->view, transaction->batch, &stem, NULL);
}

int content_kill_privileges(struct inode *inode, bool outsider)
{
	struct tree_key stem = tree_stem_xattr(inode->view->family_id, inode->ino, CAPABILITY);
	struct transaction transaction;
	uint64_t epoch;
	bool falls;
	int result;

	mutex_take(&inode->lock);
	falls = without_privileges(inode->record.mode, outsider) != inode->record.mode;
	mutex_give(&inode->lock);
	if (!falls) {
		result = view_version_get(inode->view, &stem, NULL, &epoch);
		if (result < 0)
			return result == -ENOENT ? 0 : result;
	}
	transaction_begin(&transaction, inode->view, &inode, 1);
	result = content_kill_privileges_in(&transaction, inode, outsider);
	inode->record.ctime = clock_now();
	if (!inode->gone)
		transaction_put(&transaction, inode);
	result = transaction_write(&transaction, result);
	transaction_end(&transaction);
	return result;
}
