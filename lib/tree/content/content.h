/* How the files that change or read content work together. Internal to lib/tree; inode.h has what others use. */
#ifndef CORPUSFS_TREE_CONTENT_CONTENT_H
#define CORPUSFS_TREE_CONTENT_CONTENT_H

#include "lib/tree/records/inode.h"

#define FILE_SIZE_MAX (1ULL << 62)

/* 0, or -EROFS, -ESTALE, -EISDIR, -EINVAL: not a regular file of a writable view. -EFBIG when [offset, offset+len) goes beyond FILE_SIZE_MAX. */
WARN_UNUSED int content_check_change(struct inode *inode, uint64_t offset, uint64_t len);

/* Clears set-id bits and security.capability if the file has any. Caller holds no lock. */
WARN_UNUSED int content_kill_priv(struct inode *inode);

/* Notes the time of a change of content. Caller holds inode->lock. */
void content_touch(struct inode *inode);

/* A change of committed content in one batch, and what to go back to when it cannot be written. */
struct content_change {
	struct inode *inode;
	struct kv_batch *batch;
	struct inode_record old_record;
	uint64_t old_size;
};
/* Takes the epoch lock, shared. Caller holds inode->lock and nothing of the inode is being committed. */
void content_change_begin(struct content_change *change, struct inode *inode);
/* Puts the record and writes the batch unless `result` is an error; gives the epoch lock back. */
WARN_UNUSED int content_change_end(struct content_change *change, int result);

/* Replaces inline data; `data` is copied. len 0: none. */
void content_set_inline(struct inode *inode, const void *data, size_t len);

#endif
