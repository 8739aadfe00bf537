/* What the rules of the check (check_rules.h) have in common: telling what they find, and how far they are. Internal to lib/verify. */
#ifndef CORPUSFS_VERIFY_CHECK_REPORT_H
#define CORPUSFS_VERIFY_CHECK_REPORT_H

#include "lib/base/clean.h"
#include "lib/store/store.h"
#include "lib/verify/check_rules.h"

#define CHECK_PATHS_MAX 10000 /* so many problems are told with a path: who has more does not look at each, and all would take long */
#define CHECK_PATHS_MS 30000  /* and no more once that has taken so long: of a file without a name every directory is looked through */

struct check_report {
	struct store *store;
	/* As struct check_options has them. */
	int (*problem)(void *arg, const struct check_problem *problem);
	int (*progress)(void *arg, const struct check_counts *counts);
	void *arg;
	struct check_counts counts;
	uint64_t paths, paths_ms; /* that were told, and how long that took */
	uint64_t steps;
};

struct check_where {
	unsigned rule; /* 3: K3 */
	const char *dataset, *snapshot; /* NULL: none in particular */
	uint64_t more; /* so many more views have the same */
	uint64_t ino;
	uint64_t directory; /* not 0: the problem is of this name in it, whose inode may be lost */
	const char *name;
};

typedef unsigned long long count; /* for %llu */

/* Not 0: it is to end with that. */
WARN_UNUSED int PRINTF_LIKE(3, 4) check_found(struct check_report *report, const struct check_where *where, const char *format, ...);
/* One more step of a walk, whatever it goes over. Not 0: it is to end with that. */
WARN_UNUSED int check_step(struct check_report *report);
WARN_UNUSED int check_record(struct check_report *report); /* the same, and one more record was looked at */

#endif
