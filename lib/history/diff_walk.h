/*
 * A walk through two trees at once, in the order of paths: tells of each name what became of it. See diff.c for the words. Internal to
 * lib/history.
 *
 * At each path there may be a directory of A, one of B, or both, and both need not be partners: where a directory was renamed, A's names
 * are met at the old path and B's at the new one. Each is compared with its partner all the same. Memory grows with the depth of the
 * trees only, and there is no recursion.
 */
#ifndef CORPUSFS_HISTORY_DIFF_WALK_H
#define CORPUSFS_HISTORY_DIFF_WALK_H

#include "lib/history/diff_touched.h"

enum diff_fate {
	DIFF_LOST,   /* a name of A, which B does not have */
	DIFF_GAINED, /* a name of B, which A does not have */
	DIFF_KEPT,   /* a name of B whose inode has a partner in A under that name */
};

struct diff_name {
	enum diff_fate fate;
	uint64_t dir;         /* that has the name: of A when it is lost, else of B; 0 for the root itself */
	uint64_t partner_dir; /* that directory's partner; 0: none */
	const char *name;     /* "" for the root */
	uint64_t ino;         /* what the name stands for */
	uint64_t partner;     /* KEPT: the inode of A */
	uint8_t type;         /* DT_* */
	bool elsewhere;       /* LOST, GAINED: the inode is in the other tree, too */
	const char *path;     /* of the name, or when that is too deep of a directory above */
	bool too_deep;
};

struct diff_walk {
	const struct diff_sides *sides;
	const struct diff_touched *touched; /* NULL: all directories are walked */
	bool all_of_b;                      /* with touched: all directories of B are walked even so */
	/* A negative errno or a positive number ends the walk with that. */
	int (*each)(void *arg, const struct diff_name *name);
	void *arg;
};

WARN_UNUSED int diff_walk(const struct diff_walk *walk);

#endif
