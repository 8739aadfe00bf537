/*
 * What the touched index (I7) says of two views of one family: where to look, and where not. Internal to lib/history.
 *
 * The entries of a directory differ only if a version of one was written in an epoch that one line has and the other does not, and with
 * it the directory's record; likewise for attributes and content of inodes. So what is not touched is the same, and a walk goes only where
 * something touched lies below. A file's record says where a name of it was made last, which is a hint: whether all names of the
 * changed files were met is for the walker to count.
 */
#ifndef CORPUSFS_HISTORY_DIFF_TOUCHED_H
#define CORPUSFS_HISTORY_DIFF_TOUCHED_H

#include "lib/base/spill.h"
#include "lib/history/diff_compare.h"

struct diff_touched {
	struct spill *dirs;  /* directories of both trees whose records differ */
	struct spill *files; /* all other inodes of both trees whose records differ */
	struct spill *way_a, *way_b; /* directories of A, and of B, at or above something that is touched */
	uint64_t names;      /* that the files have in B */
};

WARN_UNUSED int diff_touched_read(const struct diff_sides *sides, size_t memory, struct diff_touched *touched);
void diff_touched_clear(struct diff_touched *touched);

#endif
