/* The chance of losing data (lib/backup/loss_model.h), from what is known and what is assumed, and what would make it smaller. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "lib/backup/loss_model.h"
#include "lib/ops/json.h"
#include "lib/ops/op_args.h"
#include "lib/ops/op_tables.h"

#define DAYS 365.25 /* of a year */
#define DOUBT 3     /* what is assumed may be wrong by such a factor */

/*
 * What is assumed where nobody says it. Disks: 2 to 4 % are replaced in a year (B. Schroeder and G. A. Gibson, "Disk Failures in the Real World",
 * FAST 2007). Damage that nobody notices: 3.45 % of disks in 32 months (L. N. Bairavasundaram et al., "An Analysis of Latent Sector Errors in Disk
 * Drives", SIGMETRICS 2007). Sites, checks and repairs: guesses.
 */
enum input { DISK_RATE, SITE_RATE, ROT_RATE, SCRUB_DAYS, CHECK_DAYS, REPAIR_DAYS, RESTORE_HOURS, INPUTS };
static const struct {
	const char *name, *unit;
	double assumed;
	bool is_rate;
} inputs[INPUTS] = {
	[DISK_RATE] = {"disk-rate", "disks that die, per disk and year", 0.03, true},
	[SITE_RATE] = {"site-rate", "sites that are lost with all that is there, per site and year", 0.005, true},
	[ROT_RATE] = {"rot-rate", "copies that get damage nobody notices, per copy and year", 0.013, true},
	[SCRUB_DAYS] = {"scrub-days", "days from one scrub of the store to the next", 30, false},
	[CHECK_DAYS] = {"check-days", "days from one drill or verification of a repository to the next", 365, false},
	[REPAIR_DAYS] = {"repair-days", "days until a new disk is there", 7, false},
	[RESTORE_HOURS] = {"restore-hours", "hours to fill it", 24, false},
};

struct report {
	double values[INPUTS];
	const char *from[INPUTS];
	unsigned sites[LOSS_COPIES_MAX]; /* of the copies; the first one is the store */
	size_t count;
	const char *names[LOSS_COPIES_MAX]; /* of the sites */
	size_t site_count;
};

static int take_inputs(struct report *report, const json_t *args, struct error *err)
{
	const json_t *given = json_object_get(args, "given"), *known = json_object_get(args, "known");

	for (enum input i = 0; i < INPUTS; i++) {
		const json_t *own = json_object_get(given, inputs[i].name), *other = json_object_get(known, inputs[i].name);
		const json_t *value = own ? own : other;

		report->values[i] = value ? json_number_value(value) : inputs[i].assumed;
		report->from[i] = own ? "given" : other ? "known" : "assumed";
		if (!isfinite(report->values[i]) || report->values[i] < 0 || (!inputs[i].is_rate && report->values[i] <= 0))
			return error_set(err, -EINVAL, "--%s is a number %s", inputs[i].name, inputs[i].is_rate ? "that is not negative" : "above 0");
	}
	return 0;
}

static int take_copies(struct report *report, const json_t *args, struct error *err)
{
	const json_t *copies = json_object_get(args, "copies"), *copy;
	size_t i;

	/* One place stays free, for a further copy. */
	if (json_array_size(copies) < 1 || json_array_size(copies) >= LOSS_COPIES_MAX)
		return error_set(err, -EINVAL, "up to %d repositories can be looked at", LOSS_COPIES_MAX - 2);
	json_array_foreach(copies, i, copy) {
		const char *site = op_arg_string_or(copy, "site", "");
		unsigned number = 0;

		while (number < report->site_count && strcmp(report->names[number], site) != 0)
			number++;
		if (number == report->site_count)
			report->names[report->site_count++] = site;
		report->sites[report->count++] = number;
	}
	return 0;
}

/* `doubt`: by what factor all that is assumed is worse than it is assumed. */
static double chance(const struct report *report, double doubt)
{
	struct loss_model model = {.count = report->count};
	double value[INPUTS], p = 1;

	for (enum input i = 0; i < INPUTS; i++)
		value[i] = report->values[i] * (strcmp(report->from[i], "assumed") == 0 ? doubt : 1);
	for (size_t i = 0; i < report->count; i++) {
		model.copies[i] = (struct loss_copy){.site = report->sites[i], .fail = value[DISK_RATE], .rot = value[ROT_RATE],
		                                     .check = value[i == 0 ? SCRUB_DAYS : CHECK_DAYS] / DAYS,
		                                     .repair = (value[REPAIR_DAYS] + value[RESTORE_HOURS] / 24) / DAYS};
		model.sites[report->sites[i]] = value[SITE_RATE];
	}
	/* The inputs were checked. */
	return loss_probability(&model, 1, &p) < 0 ? 1 : p;
}

/* --- what would help --- */

static void add_change(json_t *list, const char *what, const char *site, double p)
{
	json_array_append_new(list, json_pack("{s:s, s:o*, s:f}", "change", what, "site", json_from_bytes(site), "loss_per_year", p));
}

static double with_copy(struct report report, unsigned site)
{
	report.sites[report.count++] = site;
	return chance(&report, 1);
}

static double with_input(struct report report, enum input input, double factor)
{
	report.values[input] *= factor;
	return chance(&report, 1);
}

static json_t *changes(const struct report *report)
{
	json_t *list = json_array();

	add_change(list, "one more copy at a site of its own", NULL, with_copy(*report, (unsigned)report->site_count));
	for (unsigned i = 0; i < report->site_count; i++) {
		AUTO_FREE char *what = xasprintf("one more copy at \"%s\", on a disk of its own", report->names[i]);

		add_change(list, what, report->names[i], with_copy(*report, i));
	}
	if (report->count > 1) {
		add_change(list, "repositories drilled or verified four times as often", NULL, with_input(*report, CHECK_DAYS, 0.25));
		add_change(list, "new disks there in half the time", NULL, with_input(*report, REPAIR_DAYS, 0.5));
	}
	return list;
}

/* The further copy that helps most: sites that help the same stand in their order. */
static json_t *best_copy(const json_t *list)
{
	json_t *best = NULL, *row;
	size_t i;

	json_array_foreach(list, i, row) {
		const bool is_copy = strncmp(json_string_value(json_object_get(row, "change")), "one more copy", 13) == 0;

		if (is_copy && (!best || json_real_value(json_object_get(row, "loss_per_year")) < json_real_value(json_object_get(best, "loss_per_year"))))
			best = row;
	}
	return json_incref(best);
}

static json_t *inputs_to_json(const struct report *report)
{
	json_t *list = json_array();

	for (enum input i = 0; i < INPUTS; i++)
		json_array_append_new(list, json_pack("{s:s, s:f, s:s, s:s}", "input", inputs[i].name, "value", report->values[i], "from", report->from[i],
		                                      "unit", inputs[i].unit));
	return list;
}

/*
 * backup.report, which needs no store: {copies: [{site}, ...]: the store first, given: {input: number}: by who asks, known: {input: number}: from
 * records} -> {loss_per_year, low, high: if what is assumed is better or worse by a factor of 3, smallest: below it nothing is claimed, inputs:
 * [{input, value, from: "given", "known" or "assumed", unit}], changes: [{change, site?, loss_per_year}], best_copy: one of changes}
 */
static int report_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	struct report report = {0};
	json_t *list;
	int r = take_inputs(&report, args, err);

	(void)context;
	if (r == 0)
		r = take_copies(&report, args, err);
	if (r < 0)
		return r;
	list = changes(&report);
	*ret_result = json_pack("{s:f, s:f, s:f, s:f, s:o, s:o, s:o}", "loss_per_year", chance(&report, 1), "low", chance(&report, 1.0 / DOUBT), "high",
	                        chance(&report, DOUBT), "smallest", LOSS_SMALLEST, "inputs", inputs_to_json(&report), "best_copy", best_copy(list),
	                        "changes", list);
	return 0;
}

const struct op report_ops[] = {
	{"backup.report", "the chance of losing data, and what would make it smaller", OP_READER, NULL, report_op},
	{NULL},
};
