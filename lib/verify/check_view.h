/*
 * Checks what one view sees: in one walk over its records, as they are at one moment, and then by what that has gathered of names and inodes.
 * Memory does not grow with the view: what is gathered goes to a temporary file. Internal to lib/verify; one thread.
 */
#ifndef CORPUSFS_VERIFY_CHECK_VIEW_H
#define CORPUSFS_VERIFY_CHECK_VIEW_H

#include "lib/store/store.h"
#include "lib/verify/check_rules.h"

struct check_view_options {
	struct store *store;
	const char *dataset, *snapshot;
	uint32_t family;
	const struct line *line;
	struct check_counts *counts; /* added to */
	/* Not 0 ends it with that; `problem` for each that is found, `step` now and then. */
	int (*problem)(void *arg, const struct check_problem *problem);
	int (*step)(void *arg);
	void *arg;
};

WARN_UNUSED int check_view(const struct check_view_options *options);

#endif
