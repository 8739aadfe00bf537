/*
 * Whether two regular files hold the same bytes, and where they do not. Where both refer to the same part of the same chunk they are equal, and
 * nothing is read. All else is read and compared, so content is never called different when it is not. Internal to lib/history.
 */
#ifndef CORPUSFS_HISTORY_CONTENT_DIFF_H
#define CORPUSFS_HISTORY_CONTENT_DIFF_H

#include "lib/history/diff.h"
#include "lib/tree/records/scan.h"

/* Differing bytes that lie closer together than this are told as one range. */
#define CONTENT_DIFF_GAP 512

struct range_list {
	ARRAY_FIELDS(struct diff_range);
};

/* Both inodes are of regular files. ranges NULL: stops at the first difference. */
WARN_UNUSED int content_differs(struct chunks *chunks, const struct scan *a, const struct scan_inode *file_a, const struct scan *b,
				const struct scan_inode *file_b, struct range_list *ranges, bool *ret_differs);

#endif
