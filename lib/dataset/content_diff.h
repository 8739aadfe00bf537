/*
 * Whether two regular files hold the same bytes, and where they do not. What refers to the same part of the same chunk is equal without
 * being read; all else is read and compared, so content is never called different when it is not. Internal to lib/dataset.
 */
#ifndef CORPUSFS_DATASET_CONTENT_DIFF_H
#define CORPUSFS_DATASET_CONTENT_DIFF_H

#include "lib/dataset/diff.h"
#include "lib/dataset/side.h"

/* Differing bytes that lie closer together than this are told as one range. */
#define CONTENT_DIFF_GAP 512

struct range_list {
	struct diff_range *items; /* owned */
	size_t count, cap;
};

/* Both inodes are of regular files. ranges NULL: stops at the first difference. */
WARN_UNUSED int content_differs(const struct side *a, const struct side_inode *file_a, const struct side *b,
				const struct side_inode *file_b, struct range_list *ranges, bool *ret_differs);

#endif
