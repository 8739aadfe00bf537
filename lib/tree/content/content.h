/* What the files that change content share. Internal to lib/tree. */
#ifndef CORPUSFS_TREE_CONTENT_CONTENT_H
#define CORPUSFS_TREE_CONTENT_CONTENT_H

#include "lib/tree/inodes/transaction.h"

#define FILE_SIZE_MAX (1ULL << 62)

/* 0, or -EROFS, -ESTALE, -EISDIR, -EINVAL: not a regular file of a writable view. -EFBIG when [offset, offset+len) goes beyond FILE_SIZE_MAX. */
WARN_UNUSED int content_check_change(struct inode *inode, uint64_t offset, uint64_t len);
/* The same, but for whether the view can be changed. */
WARN_UNUSED int content_check_range(const struct inode *inode, uint64_t offset, uint64_t len);

/* Clears set-id bits and security.capability if the file has any. Caller holds no lock. */
WARN_UNUSED int content_kill_privileges(struct inode *inode, bool outsider);
/* The same as part of a transaction that has the inode and puts it. */
WARN_UNUSED int content_kill_privileges_in(struct transaction *transaction, struct inode *inode, bool outsider);

/* Before content is buffered: -EDQUOT when the file, and so the view, would become too large. Caller holds inode->lock; quota_ready came
 * before. */
WARN_UNUSED int content_promise(struct inode *inode, uint64_t offset, uint64_t len);

void content_promise_again(struct inode *inode, uint64_t offset, uint64_t len); /* in a replay: whether it fits or not */

/* Notes the time of a change of content. Caller holds inode->lock. */
void content_promise_less(struct inode *inode); /* after some of what is buffered was dropped; the same lock */
void content_touch(struct inode *inode);

/*
 * Long work on a file goes on in steps. Each deals with so many extents at most, in one batch, and between two steps others get at the inode.
 */
#define CONTENT_STEP_EXTENTS 1024U
void content_let_others(void); /* called without locks between two steps */

/*
 * The change of a file's length:
 *
 *   content_shorten     without locks, before a transaction: commits what was written before, if that must be, and cuts off what does not
 *                       fit into one batch
 *   content_truncate    within the transaction, which began when nothing of the inode was being committed: removes extents beyond `size`,
 *                       sets size and record.size. The caller puts the inode
 *   content_truncated   after it was written, still with inode->lock: drops what is buffered beyond the size
 *
 * With content still buffered a growing record.size is left to its commit. -EFBIG
 */
WARN_UNUSED int content_shorten(struct inode *inode, uint64_t size);
WARN_UNUSED int content_truncate(struct transaction *transaction, struct inode *inode, uint64_t size);
void content_truncated(struct inode *inode);

#endif
