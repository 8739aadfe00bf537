/* The two sides of a comparison, and whether two inodes differ. Internal to lib/history. */
#ifndef CORPUSFS_HISTORY_DIFF_COMPARE_H
#define CORPUSFS_HISTORY_DIFF_COMPARE_H

#include "lib/history/content_diff.h"
#include "lib/tree/records/scan.h"

struct diff_sides {
	struct chunks *chunks;
	struct scan a, b;
	bool one_family;
	bool by_touched; /* records of one epoch are the same record */
	const struct diff_options *options;
};

struct diff_verdict {
	bool content, metadata;
};

bool diff_cancelled(const struct diff_sides *sides);
struct content_pair diff_contents(const struct diff_sides *sides, const struct scan_inode *a, const struct scan_inode *b);

/* 1 or 0: whether an inode of one tree is in the other one (of B: in_b), too. */
WARN_UNUSED int diff_is_in(const struct diff_sides *sides, bool in_b, uint64_t ino);

/* Both inodes, or -ENOENT with neither. */
WARN_UNUSED int diff_load_both(const struct diff_sides *sides, uint64_t ino_a, uint64_t ino_b, struct scan_inode *a, struct scan_inode *b);

/* entries_differ: of a directory, or whatever else makes that its time does not count. */
WARN_UNUSED int diff_compare(const struct diff_sides *sides, const struct scan_inode *a, const struct scan_inode *b, bool entries_differ,
			     struct diff_verdict *ret_verdict);

#endif
