/*
 * What differs between two views: of one family by the touched index (I7), so that it costs what changed; of different families by walking
 * both trees. Both are walked in the order of paths, and what differs is told on the way, so memory is bounded whatever the size of the
 * trees (options.memory, and some bytes for each directory that is above another one).
 *
 * Paths are relative to the dataset's root, without a leading slash. A rename is an inode whose names differ; an inode with several
 * names (hard links) is reported per name. What was made anew under its old name (written beside and renamed over it, removed and copied
 * again) is compared with what stood there; see diff.c for the rule. Results come in path order, removed and added directories with all
 * that is in them. A directory's time counts only while its entries are the same; access and change times never do.
 *
 * Nobody can use a path that is longer than DIFF_PATH_MAX, and in a deep tree such paths together would be as long as the square of its
 * depth. What lies that deep is told with the path of the last directory above it whose path is not too long.
 */
#ifndef CORPUSFS_HISTORY_DIFF_H
#define CORPUSFS_HISTORY_DIFF_H

#include "lib/store/store.h"

#define DIFF_PATH_MAX 4095

enum diff_kind { DIFF_ADDED, DIFF_REMOVED, DIFF_MODIFIED, DIFF_RENAMED, DIFF_METADATA };

struct diff_range {
	uint64_t offset, length;
};

struct diff_entry {
	enum diff_kind kind;
	const char *path;     /* in B; for DIFF_REMOVED in A; "" is the root */
	const char *old_path; /* DIFF_RENAMED: in A; else NULL */
	bool too_deep, old_too_deep; /* the path is that of a directory above */
	const struct attr *a, *b; /* NULL where absent */
	bool content_changed; /* of a renamed entry too */
	const struct diff_range *ranges; /* with content: ranges of B that differ from A (and what is beyond A's end) */
	size_t range_count;
};

#define DIFF_CONTENT 1U /* find the byte ranges that differ */
#define DIFF_FULL_WALK 2U /* do not use the touched index, for tests */

struct diff_options {
	unsigned flags;               /* DIFF_* */
	size_t memory;                /* bytes, about; what does not fit goes to a temporary file. 0: DIFF_MEMORY */
	bool (*cancelled)(void *arg); /* may be NULL; asked often */
	void *arg;
};

#define DIFF_MEMORY (32U << 20)

/*
 * Stops when the callback returns not 0, and returns that. -ECANCELED. Both views must stay open. A head is compared as it is committed;
 * what changes in it meanwhile may be told or not.
 */
WARN_UNUSED int diff_views(struct store *store, struct view *a, struct view *b, const struct diff_options *options,
			   int (*each)(void *arg, const struct diff_entry *entry), void *arg);

#endif
