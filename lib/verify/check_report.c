#include "lib/verify/check_report.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/store/catalog.h"
#include "lib/tree/records/paths.h"

#define STEP 4096

/* False: there is no such view any more. */
static bool scan_where(const struct check_report *report, const struct check_where *where, struct scan *ret_scan)
{
	const struct snapshot *snapshot = NULL;

	mutex_take(&report->store->catalog_lock);
	struct dataset *dataset = catalog_dataset(report->store, where->dataset);
	if (dataset && where->snapshot && *where->snapshot)
		snapshot = catalog_snapshot(dataset, where->snapshot);
	const bool found = dataset && (snapshot || !where->snapshot || !*where->snapshot);
	if (found)
		scan_of_line(ret_scan, store_tree(report->store), dataset->record.family, snapshot ? &snapshot->record.line : &dataset->record.line);
	mutex_give(&report->store->catalog_lock);
	return found;
}

/* NULL: it cannot be told. */
static char *path_of(struct check_report *report, const struct check_where *where)
{
	const uint64_t begun_ms = clock_ms();
	struct scan_inode inode = {0};
	struct scan scan;
	char *path = NULL;
	int ignored;

	if (!where->dataset || !*where->dataset || !(where->ino || where->directory) || report->paths == CHECK_PATHS_MAX ||
	    report->paths_ms >= CHECK_PATHS_MS || !scan_where(report, where, &scan))
		return NULL;
	if (where->directory) {
		ignored = paths_join(&scan, where->directory, where->name, &path);
	} else if (scan_inode(&scan, where->ino, &inode) == 0) {
		ignored = paths_find(&scan, &inode, &path);
		scan_inode_clear(&inode);
	}
	(void)ignored;
	scan_clear(&scan);
	report->paths++;
	report->paths_ms += clock_ms() - begun_ms;
	return path;
}

int check_found(struct check_report *report, const struct check_where *where, const char *format, ...)
{
	static const char *const names[] = {"readable", "record", "inode", "overlap", "allocated", "chunk", "entry", "links",
	                                    "parent", "reachable", "touched", "line", "orphan", "catalogue", "dedup"};
	char text[CHECK_TEXT_MAX], rule[8];
	AUTO_FREE char *path = path_of(report, where);
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	const size_t len = strlen(text);
	if (where->more > 0)
		snprintf(text + len, sizeof(text) - len, "; the same is in %llu more snapshot%s or dataset%s", (count)where->more,
			 where->more == 1 ? "" : "s", where->more == 1 ? "" : "s");
	snprintf(rule, sizeof(rule), "K%u", where->rule);
	report->counts.problems++;
	return report->problem(report->arg, &(struct check_problem){.rule = rule,
								    .name = names[where->rule],
								    .dataset = where->dataset ? where->dataset : "",
								    .snapshot = where->snapshot ? where->snapshot : "",
								    .ino = where->ino,
								    .path = path ? path : "",
								    .text = text});
}

int check_step(struct check_report *report)
{
	return ++report->steps % STEP == 0 && report->progress ? report->progress(report->arg, &report->counts) : 0;
}

int check_record(struct check_report *report)
{
	report->counts.records++;
	return check_step(report);
}
