/*
 * Whether two regular files hold the same bytes, and where they do not. What refers to the same part of the same chunk is equal without
 * being read; all else is read and compared, so content is never called different when it is not. Internal to lib/history.
 */
#ifndef CORPUSFS_HISTORY_CONTENT_DIFF_H
#define CORPUSFS_HISTORY_CONTENT_DIFF_H

#include "lib/history/diff.h"
#include "lib/history/view_reader.h"

/* Differing bytes that lie closer together than this are told as one range. */
#define CONTENT_DIFF_GAP 512

struct range_list {
	struct diff_range *items; /* owned */
	size_t count, cap;
};

/* Both inodes are of regular files. ranges NULL: stops at the first difference. */
WARN_UNUSED int content_differs(const struct view_reader *a, const struct reader_inode *file_a, const struct view_reader *b,
				const struct reader_inode *file_b, struct range_list *ranges, bool *ret_differs);

#endif
