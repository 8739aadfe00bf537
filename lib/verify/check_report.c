#include "lib/verify/check_report.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define STEP 4096

int check_found(struct check_report *report, const struct check_where *where, const char *format, ...)
{
	static const char *const names[] = {"readable", "record", "inode", "overlap", "allocated", "chunk", "entry", "links",
	                                    "parent", "reachable", "touched", "line", "orphan", "catalogue", "dedup"};
	char text[CHECK_TEXT_MAX], rule[8];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	const size_t len = strlen(text);
	if (where->more > 0)
		snprintf(text + len, sizeof(text) - len, "; %llu more snapshots and heads have the same", (count)where->more);
	snprintf(rule, sizeof(rule), "K%u", where->rule);
	report->counts.problems++;
	return report->problem(report->arg, &(struct check_problem){.rule = rule,
								    .name = names[where->rule],
								    .dataset = where->dataset ? where->dataset : "",
								    .snapshot = where->snapshot ? where->snapshot : "",
								    .ino = where->ino,
								    .text = text});
}

int check_step(struct check_report *report)
{
	return ++report->counts.records % STEP == 0 && report->progress ? report->progress(report->arg, &report->counts) : 0;
}
