/*
 * Check: whether what holds of the metadata (check_rules.h) does, in every head and every snapshot. It changes nothing, and works while
 * others write: a family is looked at as it is at one moment. What depends on records that others may have changed since is asked again before
 * it is told. Each stored version is looked at once, however many snapshots see it, and each chunk's record is read once.
 */
#ifndef CORPUSFS_VERIFY_CHECK_H
#define CORPUSFS_VERIFY_CHECK_H

#include "lib/verify/check_rules.h"
#include "lib/store/store.h"

struct check_options {
	/* Called for each problem, and now and then between; not 0 = stop with that. No lock is held. */
	int (*problem)(void *arg, const struct check_problem *problem);
	int (*progress)(void *arg, const struct check_counts *counts);
	void *arg;
};

/* 0 also when there are problems: ret_counts tells. */
WARN_UNUSED int check_run(struct store *store, const struct check_options *options, struct check_counts *ret_counts, struct error *err);

#endif
