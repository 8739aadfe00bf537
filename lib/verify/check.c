#include "lib/verify/check.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/store/catalog.h"
#include "lib/verify/check_catalog.h"
#include "lib/verify/check_chunks.h"
#include "lib/verify/lost_records.h"

struct run {
	struct store *store;
	struct check_report report;
	struct lost_records lost;
	struct spill *chunks;
};

/* --- K0 --- */

static int look_step(void *arg, uint64_t bytes)
{
	const struct run *run = arg;

	(void)bytes;
	return run->report.progress ? run->report.progress(run->report.arg, &run->report.counts) : 0;
}

static int check_readable(struct run *run)
{
	int result = lost_records_find(run->store, look_step, run, &run->lost);
	const struct check_where where = {.rule = 0};

	run->report.counts.unreadable = run->lost.tables.count;
	for (size_t i = 0; i < run->lost.tables.count && result == 0; i++) {
		const struct lost_table *table = &run->lost.tables.items[i];
		if (table->missing)
			result = check_found(&run->report, &where, "the table %s (%s) is missing", table->name, kv_family_holds(table->family));
		else
			result = check_found(&run->report, &where, "the table %s (%s) is damaged: %llu of its %llu%s blocks cannot be read",
					     table->name, kv_family_holds(table->family), (count)table->lost, (count)table->blocks,
					     table->all_known ? "" : " and more");
	}
	return result;
}

/* Each view of the family is named. */
static int not_readable(struct run *run, const struct viewers *viewers, const char *text)
{
	int result = 0;

	for (size_t i = 0; i < viewers->count && result == 0; i++) {
		const struct check_where where = {.rule = 0, .dataset = viewers->items[i].dataset, .snapshot = viewers->items[i].snapshot};
		result = check_found(&run->report, &where, "%s", text);
	}
	return result;
}

/* --- families --- */

static void add_viewer(struct viewers *viewers, const struct dataset *dataset, const struct snapshot *snapshot)
{
	struct viewer *viewer = array_new(viewers);

	snprintf(viewer->dataset, sizeof(viewer->dataset), "%s", dataset->name);
	snprintf(viewer->snapshot, sizeof(viewer->snapshot), "%s", snapshot ? snapshot->name : "");
	viewer->dataset_id = dataset->record.id;
	viewer->number = snapshot ? snapshot->record.view : dataset->record.view;
	viewer->epoch = snapshot ? 0 : dataset->record.epoch;
	viewer->line = line_copy(snapshot ? &snapshot->record.line : &dataset->record.line);
}

static struct viewers viewers_of(struct store *store, uint32_t family)
{
	struct viewers viewers = {0};

	mutex_take(&store->catalog_lock);
	for (struct dataset *dataset = store->datasets; dataset; dataset = dataset->by_name.next) {
		if (dataset->record.family != family)
			continue;
		for (size_t i = 0; i < dataset->order.count; i++)
			add_viewer(&viewers, dataset, dataset->order.items[i]);
		add_viewer(&viewers, dataset, NULL);
	}
	mutex_give(&store->catalog_lock);
	return viewers;
}

struct numbers {
	ARRAY_FIELDS(uint32_t);
};

static struct numbers list_families(struct store *store)
{
	struct numbers numbers = {0};

	mutex_take(&store->catalog_lock);
	for (const struct family_views *family = store->families; family; family = family->hh.next)
		array_add(&numbers, family->family);
	mutex_give(&store->catalog_lock);
	return numbers;
}

/* The views and what is stored are of one moment: what comes and goes, and what is pruned, does under change_lock or after it. */
static bool begin(struct run *run, uint32_t number, struct check_family *family)
{
	struct viewers viewers;

	mutex_take(&run->store->change_lock);
	viewers = viewers_of(run->store, number);
	const bool any = viewers.count > 0; /* else the family has gone */
	if (any)
		check_family_begin(family, run->store, &run->report, number, &viewers);
	mutex_give(&run->store->change_lock);
	return any;
}

static int check_family(struct check_family *family)
{
	static int (*const parts[])(struct check_family *family) = {
		check_inodes, check_names, check_reach, check_touched, check_lines, check_orphans,
	};
	int result = 0;

	for (size_t i = 0; i < ARRAY_SIZE(parts) && result == 0; i++)
		result = parts[i](family);
	return result;
}

static int check_one(struct run *run, uint32_t number)
{
	struct check_family family;
	int result;

	if (!begin(run, number, &family))
		return 0;
	family.chunks = run->chunks;
	run->report.counts.views += family.viewers.count;
	if (lost_records_of(&run->lost, number)) {
		result = not_readable(run, &family.viewers, "names, attributes or content may be lost: corpusfs damage says of which files");
	} else {
		result = check_family(&family);
		/* a table that was damaged since */
		if (result == -EBADMSG)
			result = not_readable(run, &family.viewers, "some of its metadata cannot be read");
	}
	check_family_end(&family);
	return result;
}

/* A damaged table was named: what else holds of what is in it is not looked at. The read of one that is missing is an error of the disk. */
static int unless_damaged(struct run *run, int result)
{
	if (result != -EBADMSG && !(result == -EIO && run->lost.tables.count > 0))
		return result;
	return run->lost.tables.count > 0 ? 0 : check_found(&run->report, &(struct check_where){.rule = 0}, "a table is damaged");
}

static int check_all(struct run *run)
{
	struct numbers families = list_families(run->store);
	int result = check_readable(run);

	if (result == 0)
		result = unless_damaged(run, check_catalog(run->store, &run->report));
	for (size_t i = 0; i < families.count && result == 0; i++)
		result = check_one(run, families.items[i]);
	if (result == 0)
		result = unless_damaged(run, check_chunks(run->store, &run->report, run->chunks));
	array_clear(&families);
	return result;
}

int check_run(struct store *store, const struct check_options *options, struct check_counts *ret_counts, struct error *err)
{
	struct run run = {.store = store, .chunks = spill_new(CHECK_MEMORY)};
	int result;

	run.report = (struct check_report){.store = store, .problem = options->problem, .progress = options->progress, .arg = options->arg};
	result = check_all(&run);
	if (result < 0)
		error_default(err, result, "the metadata cannot be checked");
	spill_free(run.chunks);
	lost_records_clear(&run.lost);
	*ret_counts = run.report.counts;
	return result;
}
