#include "lib/verify/check.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/store/catalog.h"
#include "lib/verify/check_view.h"
#include "lib/verify/lost_records.h"

struct listed_view {
	char dataset[NAME_LEN_MAX + 1], snapshot[NAME_LEN_MAX + 1];
	uint32_t number;
};

struct listed_views {
	ARRAY_FIELDS(struct listed_view);
};

static void add_view(struct listed_views *views, const char *dataset, const char *snapshot, uint32_t number)
{
	struct listed_view *view = array_new(views);

	snprintf(view->dataset, sizeof(view->dataset), "%s", dataset);
	snprintf(view->snapshot, sizeof(view->snapshot), "%s", snapshot);
	view->number = number;
}

static void list_views(struct store *store, struct listed_views *views)
{
	mutex_take(&store->catalog_lock);
	for (struct dataset *dataset = store->datasets; dataset; dataset = dataset->by_name.next) {
		add_view(views, dataset->name, "", dataset->record.view);
		for (struct snapshot *snapshot = dataset->snapshots; snapshot; snapshot = snapshot->by_name.next)
			add_view(views, dataset->name, snapshot->name, snapshot->record.view);
	}
	mutex_give(&store->catalog_lock);
}

struct run {
	const struct check_options *options;
	struct check_counts counts;
	struct lost_records lost;
};

/* --- K0 --- */

static int PRINTF_LIKE(4, 5) not_readable(struct run *run, const char *dataset, const char *snapshot, const char *format, ...)
{
	char text[CHECK_TEXT_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	run->counts.problems++;
	return run->options->problem(run->options->arg,
				     &(struct check_problem){.rule = "K0", .name = "readable", .dataset = dataset, .snapshot = snapshot, .text = text});
}

static int look_step(void *arg, uint64_t bytes)
{
	const struct run *run = arg;

	(void)bytes;
	return run->options->progress ? run->options->progress(run->options->arg, &run->counts) : 0;
}

static int check_readable(struct store *store, struct run *run)
{
	int result = lost_records_find(store, look_step, run, &run->lost);

	run->counts.unreadable = run->lost.tables.count;

	for (size_t i = 0; i < run->lost.tables.count && result == 0; i++) {
		const struct lost_table *table = &run->lost.tables.items[i];
		if (table->missing)
			result = not_readable(run, "", "", "the table %s (%s) is missing", table->name, kv_family_holds(table->family));
		else
			result = not_readable(run, "", "", "the table %s (%s) is damaged: %llu of its %llu%s blocks cannot be read", table->name,
					      kv_family_holds(table->family), (unsigned long long)table->lost, (unsigned long long)table->blocks,
					      table->all_known ? "" : " and more");
	}
	return result;
}

static int tell_problem(void *arg, const struct check_problem *problem)
{
	struct run *run = arg;

	return run->options->problem(run->options->arg, problem);
}

static int step(void *arg)
{
	struct run *run = arg;

	return run->options->progress ? run->options->progress(run->options->arg, &run->counts) : 0;
}

/* While the view is open, nobody prunes what it sees. One that has gone since the list was made is no matter. */
static int check_listed(struct store *store, const struct listed_view *listed, struct run *run)
{
	struct view *view;
	int result = store_view_by_number(store, listed->number, &view);

	if (result < 0)
		return result == -ESTALE ? 0 : result;
	if (lost_records_of(&run->lost, view_family(view))) {
		store_view_put(store, view);
		run->counts.views++;
		return not_readable(run, listed->dataset, listed->snapshot, "names, attributes or content may be lost: corpusfs damage says of which files");
	}
	struct line line = view_line(view);
	struct check_view_options options = {
		.store = store,
		.dataset = listed->dataset,
		.snapshot = listed->snapshot,
		.family = view_family(view),
		.line = &line,
		.counts = &run->counts,
		.problem = tell_problem,
		.step = step,
		.arg = run,
	};
	result = check_view(&options);
	line_clear(&line);
	store_view_put(store, view);
	run->counts.views++;
	/* a table that was damaged since */
	if (result == -EBADMSG)
		result = not_readable(run, listed->dataset, listed->snapshot, "some of its metadata cannot be read");
	return result;
}

int check_run(struct store *store, const struct check_options *options, struct check_counts *ret_counts, struct error *err)
{
	struct listed_views views = {0};
	struct run run = {.options = options};
	int result = 0;

	list_views(store, &views);
	result = check_readable(store, &run);
	if (result < 0)
		error_default(err, result, "the tables cannot be read");
	for (size_t i = 0; i < views.count && result == 0; i++) {
		const struct listed_view *view = &views.items[i];
		result = check_listed(store, view, &run);
		if (result == 0)
			result = step(&run);
		if (result < 0)
			error_default(err, result, "%s%s%s cannot be checked", view->dataset, view->snapshot[0] ? "@" : "", view->snapshot);
	}
	array_clear(&views);
	lost_records_clear(&run.lost);
	*ret_counts = run.counts;
	return result;
}
