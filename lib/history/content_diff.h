/*
 * Whether two regular files hold the same bytes, and where they do not. Where both refer to the same part of the same chunk they are equal, and
 * nothing is read. All else is read and compared, so content is never called different when it is not. Memory does not grow with the files.
 * Internal to lib/history.
 */
#ifndef CORPUSFS_HISTORY_CONTENT_DIFF_H
#define CORPUSFS_HISTORY_CONTENT_DIFF_H

#include "lib/history/diff.h"
#include "lib/tree/records/scan.h"

/* Differing bytes that lie closer together than this are told as one range. */
#define CONTENT_DIFF_GAP 512

/*
 * Where more than CONTENT_DIFF_RANGES would be told, those that lie nearest to each other are told as one. All zero is an empty list. Each
 * range begins and ends with a byte that differs.
 */
#define CONTENT_DIFF_RANGES 10000
struct range_list {
	ARRAY_FIELDS(struct diff_range);
	uint64_t gap;
};

struct content_pair {
	struct chunks *chunks;
	const struct scan *a, *b;
	const struct scan_inode *file_a, *file_b; /* of regular files */
	bool (*cancelled)(void *arg);             /* may be NULL */
	void *arg;
};

/* ranges NULL: stops at the first difference; else the list is made anew. -ECANCELED */
WARN_UNUSED int content_differs(const struct content_pair *pair, struct range_list *ranges, bool *ret_differs);

#endif
