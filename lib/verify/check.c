#include "lib/verify/check.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/store/catalog.h"
#include "lib/verify/check_view.h"

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
};

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
	return result;
}

int check_run(struct store *store, const struct check_options *options, struct check_counts *ret_counts, struct error *err)
{
	struct listed_views views = {0};
	struct run run = {.options = options};
	int result = 0;

	list_views(store, &views);
	for (size_t i = 0; i < views.count && result == 0; i++) {
		const struct listed_view *view = &views.items[i];
		result = check_listed(store, view, &run);
		if (result == 0)
			result = step(&run);
		if (result < 0)
			error_default(err, result, "%s%s%s cannot be checked", view->dataset, view->snapshot[0] ? "@" : "", view->snapshot);
	}
	array_clear(&views);
	*ret_counts = run.counts;
	return result;
}
