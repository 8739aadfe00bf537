/*
 * The content of small files, which is a record of its own. The inode record has the epoch of that record's newest version, and both are
 * written in one batch. So whoever has seen the inode record gets the content that belongs to it with one exact read.
 *
 * Threads: as version.h.
 */
#ifndef CORPUSFS_TREE_RECORDS_INLINE_CONTENT_H
#define CORPUSFS_TREE_RECORDS_INLINE_CONTENT_H

#include "lib/tree/records/view.h"

/* Of a record with is_inline; `content` is empty before. -EIO: it is not there, or not as long as the record says. */
WARN_UNUSED int inline_content_get(struct tree *tree, uint32_t family, uint64_t ino, const struct inode_record *record,
				   struct buf *content);

/* Adds to the batch that the inode has this content, at least one byte. Of the record it changes what says so; the caller puts it, too. */
void inline_content_put(struct view *view, struct kv_batch *batch, uint64_t ino, struct inode_record *record, const void *data, size_t len);

/* The same: that the inode has none any more. */
WARN_UNUSED int inline_content_delete(struct view *view, struct kv_batch *batch, uint64_t ino, struct inode_record *record);
/* The same of an inode whose record goes; *tombstones grows by those that are put. */
WARN_UNUSED int inline_content_remove(struct view *view, struct kv_batch *batch, uint64_t ino, size_t *tombstones);

#endif
