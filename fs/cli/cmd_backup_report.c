/* The chance of losing data: what the copies of a dataset and the inputs are, and what of it is known, given or assumed. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/cli/command.h"
#include "fs/cli/exit.h"
#include "fs/cli/late.h"
#include "fs/cli/password.h"
#include "fs/cli/place.h"
#include "fs/cli/remotes.h"
#include "fs/cli/repository.h"
#include "fs/cli/run.h"
#include "fs/cli/say.h"
#include "fs/cli/table.h"
#include "fs/cli/units.h"
#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/ops/json.h"

#define HERE "here"
#define SECONDS_OF_HOUR 3600.0
#define DAY_HOURS 24.0
#define RESTORE_HOURS_MIN 0.1 /* somebody must come and type it */

struct period {
	const char *name;
	double days;
};
#define SCRUB_OFF_DAYS 3652 /* one in ten years: somebody will look */
static const struct period periods[] = {{"hourly", 1 / DAY_HOURS}, {"daily", 1}, {"weekly", 7}, {"monthly", 30}, {"off", SCRUB_OFF_DAYS}};
static const char *const numbers[] = {"disk-rate", "site-rate", "rot-rate", "scrub-days", "check-days", "repair-days", "restore-hours"};

struct report {
	struct cli *cli;
	const char *store, *dataset;
	json_t *copies, *given, *known, *schedule, *shown; /* owned; shown: the dataset */
	bool scrub_is_off; /* and nothing else was given */
	double newest, verified; /* when the newest backups were taken; 0: none is known */
};

static void set_period(json_t *known, const char *key, const json_t *period)
{
	for (size_t i = 0; i < ARRAY_SIZE(periods); i++)
		if (json_is_string(period) && strcmp(json_string_value(period), periods[i].name) == 0)
			json_object_set_new(known, key, json_real(periods[i].days));
}

static int take_given(struct report *report, struct error *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		const char *text = cli_option(report->cli, numbers[i]);
		char *end = NULL;
		double value = text ? strtod(text, &end) : 0;

		if (!text)
			continue;
		if (end == text || *end || !isfinite(value))
			return error_set(err, -EINVAL, "--%s is a number", numbers[i]);
		json_object_set_new(report->given, numbers[i], json_real(value));
	}
	return 0;
}

/* What the store knows: how often it scrubs and drills, how long a drill took, which backup it was. */
static int take_known(struct report *report, struct error *err)
{
	json_t *scrub = NULL;
	const json_t *drill;
	int r = run_op_at(report->store, "scrub.schedule", json_object(), NULL, &scrub, err);

	if (r == 0)
		r = run_op_at(report->store, "backup.schedule.get", json_pack("{s:o}", "dataset", json_from_bytes(report->dataset)), NULL, &report->schedule, err);
	if (r == 0)
		r = run_op_at(report->store, "dataset.show", json_pack("{s:o}", "name", json_from_bytes(report->dataset)), NULL, &report->shown, err);
	if (r == 0) {
		drill = json_object_get(json_object_get(report->schedule, "done"), "drill");
		set_period(report->known, "scrub-days", json_object_get(scrub, "every"));
		report->scrub_is_off = json_real_value(json_object_get(report->known, "scrub-days")) == SCRUB_OFF_DAYS &&
		                       !json_object_get(report->given, "scrub-days");
		set_period(report->known, "check-days", json_object_get(json_object_get(report->schedule, "every"), "drill"));
		if (json_real_value(json_object_get(drill, "seconds")) > 0)
			json_object_set_new(report->known, "restore-hours",
			                    json_real(MAX(json_real_value(json_object_get(drill, "seconds")) / SECONDS_OF_HOUR, RESTORE_HOURS_MIN)));
	}
	json_decref(scrub);
	return r;
}

/* --- copies --- */

static int read_repository(struct report *report, const char *path, json_t **ret_rows, struct error *err)
{
	const char *scheduled = json_string_value(json_object_get(report->schedule, "repository"));
	const char *file = json_string_value(json_object_get(report->schedule, "password_file"));
	AUTO_FREE char *absolute = repository_absolute(path);
	json_t *args = json_pack("{s:O}", "dataset_id", json_object_get(report->shown, "dataset_id")), *result = NULL;
	const bool is_scheduled = scheduled && absolute && strcmp(scheduled, absolute) == 0;
	AUTO_CLOSE int fd = -1;
	char *password = NULL;
	int r = repository_open_place(report->cli, path, false, &fd, err);

	if (r == 0 && is_scheduled && !cli_option(report->cli, "password-file") && !cli_option(report->cli, "password-command"))
		r = password_read_file(file, &password, err);
	if (r == 0 && password)
		json_object_set_new(args, "password", json_from_bytes(password));
	else if (r == 0)
		r = password_set(report->cli, args, false, err);
	password_free(password);
	if (r == 0)
		r = run_op_alone("backup.list", args, fd, -1, NULL, &result, err);
	else
		json_decref(args);
	if (r == 0)
		*ret_rows = json_incref(json_object_get(result, "backups"));
	json_decref(result);
	return r;
}

/* When the newest backup was taken that a drill or a verification found whole, as the store knows; 0: none is known. */
static double noted_in(const struct report *report, const char *path)
{
	AUTO_FREE char *absolute = repository_absolute(path);
	json_t *result = NULL;
	struct error ignored = {0};
	double taken = 0;

	if (absolute && run_op_at(report->store, "backup.verified",
	                          json_pack("{s:o, s:O}", "repository", json_from_bytes(absolute), "dataset_id", json_object_get(report->shown, "dataset_id")),
	                          NULL, &result, &ignored) == 0)
		taken = json_number_value(json_object_get(result, "taken"));
	json_decref(result);
	return taken;
}

/* The same, if it is there: others may have been forgotten since. */
static double verified_in(const struct report *report, const char *path, const json_t *rows)
{
	const double noted = noted_in(report, path);
	json_t *row;
	size_t i;

	json_array_foreach(rows, i, row)
		if (json_number_value(json_object_get(row, "taken")) == noted)
			return noted;
	return 0;
}

/* Of what stands in a directory, also by the name of a remote. */
static int stat_place(const char *place, struct stat *st)
{
	json_t *remote = NULL;
	struct error ignored = {0};
	const char *url = remote_find(place, &remote, NULL, &ignored) == 1 ? json_string_value(json_object_get(remote, "url")) : NULL;
	const int r = stat(url ? url : place, st);

	json_decref(remote);
	return r;
}

/* Copies on one filesystem die with its disk: that is said, for the figures take each for a disk of its own. */
static int find_neighbour(struct report *report, const char *path, json_t *own, struct error *err)
{
	struct stat st, other;
	json_t *row;
	size_t i;

	if (stat_place(path, &st) < 0)
		return 0;
	json_array_foreach(report->copies, i, row) {
		const char *place = json_string_value(json_object_get(row, "copy"));

		if (row == own || stat_place(place, &other) < 0)
			continue;
		if (st.st_dev == other.st_dev && st.st_ino == other.st_ino)
			return error_set(err, -EINVAL, "%s and %s are one copy", place, path);
		if (st.st_dev == other.st_dev)
			json_object_set(own, "beside", json_object_get(row, "copy"));
	}
	return 0;
}

static void tell_neighbours(const struct report *report)
{
	const json_t *row;
	size_t i;

	json_array_foreach(report->copies, i, row)
		if (json_object_get(row, "beside"))
			say("%s and %s are on one filesystem: with its disk both are lost, and the chance is larger than this\n",
			    json_string_value(json_object_get(row, "copy")), json_string_value(json_object_get(row, "beside")));
}

/* "[SITE:]REPO"; the name of a remote is no site. */
static int add_repository(struct report *report, const char *text, struct error *err)
{
	const char *colon = strchr(text, ':'), *slash = strchr(text, '/');
	struct error ignored = {0};
	const bool has_site = colon && colon > text && (!slash || colon < slash) && remote_find(text, NULL, NULL, &ignored) != 1;
	AUTO_FREE char *site = has_site ? xasprintf("%.*s", (int)(colon - text), text) : xstrdup(HERE);
	const char *path = has_site ? colon + 1 : text;
	double newest = 0, verified;
	json_t *rows = NULL, *row;
	size_t i;
	int r = read_repository(report, path, &rows, err);

	json_array_foreach(rows, i, row)
		if (!json_is_true(json_object_get(row, "incomplete")))
			newest = MAX(newest, json_real_value(json_object_get(row, "taken")));
	verified = verified_in(report, path, rows);
	json_decref(rows);
	if (r < 0)
		return r;
	/* What is not there holds no copy. */
	if (newest == 0) {
		(void)error_set(err, -ENOENT, "%s has no complete backup of dataset \"%s\"", path, report->dataset);
		error_hint(err, "corpusfs backup makes one");
		return -ENOENT;
	}
	report->newest = MAX(report->newest, newest);
	report->verified = MAX(report->verified, verified);
	row = json_pack("{s:o, s:o, s:f}", "copy", json_from_bytes(path), "site", json_from_bytes(site), "newest", newest);
	if (verified > 0)
		json_object_set_new(row, "verified", json_real(verified));
	json_array_append_new(report->copies, row);
	return find_neighbour(report, path, row, err);
}

static int add_copies(struct report *report, struct error *err)
{
	const char *site = cli_option(report->cli, "site"), *scheduled = json_string_value(json_object_get(report->schedule, "repository"));
	int r = 0;

	json_array_append_new(report->copies, json_pack("{s:o, s:o}", "copy", json_from_bytes(report->store), "site", json_from_bytes(site ? site : HERE)));
	for (int i = 1; i < report->cli->argc && r == 0; i++)
		r = add_repository(report, report->cli->argv[i], err);
	if (report->cli->argc == 1 && scheduled)
		r = add_repository(report, scheduled, err);
	return r;
}

/* --- the answer --- */

static const struct column copy_columns[] = {
	{"copy", "COPY", COLUMN_TEXT}, {"site", "SITE", COLUMN_TEXT}, {"newest", "NEWEST BACKUP", COLUMN_TIME}, {"verified", "NEWEST VERIFIED", COLUMN_TIME},
	{NULL, NULL, COLUMN_TEXT},
};
static const struct column input_columns[] = {
	{"input", "INPUT", COLUMN_TEXT}, {"short", "VALUE", COLUMN_TEXT}, {"from", "FROM", COLUMN_TEXT}, {"unit", "WHAT IT IS", COLUMN_TEXT},
	{NULL, NULL, COLUMN_TEXT},
};
static const struct column change_columns[] = {
	{"change", "WITH", COLUMN_TEXT}, {"short", "CHANCE OF LOSS IN A YEAR", COLUMN_TEXT}, {NULL, NULL, COLUMN_TEXT},
};

/* One digit: more would be a claim that nobody can make. Freed by the caller. */
static char *chance_text(double p, double smallest)
{
	const double n = 1 / MAX(p, smallest), power = pow(10, floor(log10(n))), rounded = round(n / power) * power;

	if (p < smallest)
		return xasprintf("less than 1 in %.0f", rounded);
	return n < 5 ? xasprintf("%.0f %%", round(p * 10) * 10) : xasprintf("1 in %.0f", rounded);
}

static void add_short(json_t *row, const char *key, double smallest)
{
	const double value = json_real_value(json_object_get(row, key));
	AUTO_FREE char *text = smallest > 0 ? chance_text(value, smallest) : xasprintf(value >= 100 ? "%.0f" : "%.2g", value);

	json_object_set_new(row, "short", json_string(text));
}

static void print_exposure(const struct report *report)
{
	const double since = report->verified > 0 ? report->verified : report->newest, hours = ((double)clock_now().tv_sec - since) / SECONDS_OF_HOUR;
	char then[UNITS_MAX];

	if (since == 0) {
		say("of a backup nothing is known here: none is scheduled, and no repository is named (corpusfs backup report %s REPO)\n"
		    "if there is none, everything would be lost if the store were lost now\n", report->dataset);
		return;
	}
	units_time(since, then);
	say("if the store were lost now, what was written since %s (%.1f %s) would be lost", then, hours > 2 * DAY_HOURS ? hours / DAY_HOURS : MAX(hours, 0),
	    hours > 2 * DAY_HOURS ? "days" : "hours");
	if (report->verified == 0)
		say(",\nif that backup is good: no drill or verification of one is known\n");
	else if (report->newest > report->verified)
		say(" at worst:\nnewer backups were not drilled or verified\n");
	else
		say("\n");
}

static void print_report(const struct report *report, json_t *result)
{
	const double smallest = json_real_value(json_object_get(result, "smallest"));
	AUTO_FREE char *chance = chance_text(json_real_value(json_object_get(result, "loss_per_year")), smallest);
	AUTO_FREE char *low = chance_text(json_real_value(json_object_get(result, "low")), smallest);
	AUTO_FREE char *high = chance_text(json_real_value(json_object_get(result, "high")), smallest);
	json_t *inputs = json_object_get(result, "inputs"), *changes = json_object_get(result, "changes"), *row;
	size_t i;

	json_array_foreach(inputs, i, row) {
		add_short(row, "value", 0);
		if (report->scrub_is_off && strcmp(json_string_value(json_object_get(row, "input")), "scrub-days") == 0)
			json_object_set_new(row, "from", json_string("none is planned"));
	}
	json_array_foreach(changes, i, row)
		add_short(row, "loss_per_year", smallest);
	table_print(report->cli, copy_columns, report->copies);
	say("\n");
	table_print(report->cli, input_columns, inputs);
	say("\nchance that data is lost within a year: about %s\n(%s to %s if what is assumed is off by a factor of 3)\n"
	    "mistakes, malice and errors of programs are not in it\n",
	    chance, low, high);
	tell_neighbours(report);
	say("\n");
	table_print(report->cli, change_columns, changes);
	say("\nthe further copy that helps most: %s\n", json_string_value(json_object_get(json_object_get(result, "best_copy"), "change")));
	print_exposure(report);
}

static void print_json(const struct report *report, json_t *result)
{
	json_object_set_new(result, "dataset", json_from_bytes(report->dataset));
	json_object_set(result, "copies", report->copies);
	if (report->newest > 0)
		json_object_set_new(result, "newest_backup", json_real(report->newest));
	if (report->verified > 0)
		json_object_set_new(result, "newest_verified", json_real(report->verified));
	repository_print_json(result);
}

static void tell_late(const struct report *report)
{
	json_t *status = late_ask(report->cli, report->store);
	const json_t *row;
	size_t i;

	late_tell(status, NULL, report->dataset);
	json_array_foreach(report->copies, i, row) {
		AUTO_FREE char *absolute = repository_absolute(json_string_value(json_object_get(row, "copy")));

		if (absolute)
			late_tell_drill(status, absolute);
	}
	json_decref(status);
}

static int run_report(struct cli *cli)
{
	AUTO_PLACE place = {0};
	AUTO_FREE char *store = NULL;
	struct report report = {.cli = cli, .copies = json_array(), .given = json_object(), .known = json_object()};
	struct error err = {0};
	json_t *result = NULL;
	int r = place_find(cli, cli->argv[0], 0, &place, &err);

	report.dataset = place.dataset;
	if (r == 0)
		r = run_find_store(cli, &store, &err);
	report.store = store;
	if (r == 0)
		r = take_given(&report, &err);
	if (r == 0)
		r = take_known(&report, &err);
	if (r == 0)
		r = add_copies(&report, &err);
	if (r == 0)
		r = run_op_alone("backup.report", json_pack("{s:O, s:O, s:O}", "copies", report.copies, "given", report.given, "known", report.known), -1, -1, NULL,
		                 &result, &err);
	if (r == 0 && cli_option(cli, "json"))
		print_json(&report, result);
	else if (r == 0)
		print_report(&report, result);
	if (r == 0)
		tell_late(&report);
	json_decref(result);
	json_decref(report.copies);
	json_decref(report.given);
	json_decref(report.known);
	json_decref(report.schedule);
	json_decref(report.shown);
	return r < 0 ? exit_with(&err) : EXIT_OK;
}

static const struct option report_options[] = {
	{0, "site", "SITE", "where the store stands; else \"" HERE "\""},
	{0, "disk-rate", "RATE", "disks that die, per disk and year"},
	{0, "site-rate", "RATE", "sites that are lost with all that is there, per year"},
	{0, "rot-rate", "RATE", "copies that get damage nobody notices, per year"},
	{0, "scrub-days", "DAYS", "from one scrub of the store to the next"},
	{0, "check-days", "DAYS", "from one drill or verification to the next"},
	{0, "repair-days", "DAYS", "until a new disk is there"},
	{0, "restore-hours", "HOURS", "to fill it"},
	OPTIONS_PASSWORD,
	OPTION_JSON,
	OPTIONS_END,
};

const struct command backup_report_commands[] = {
	{.name = "backup report",
         .operands = "DATASET [[SITE:]REPO]...",
         .summary = "how likely data is lost, what would help",
         .details = "Where copies stand together, what takes the site takes all of them. Without REPO it\n"
                    "is that of the schedule. Shows which inputs are given by an option, known from\n"
                    "schedules and drills, or assumed; and since when data would be lost at worst.\n",
         .min = 1,
         .max = -1,
         .options = report_options,
         .run = run_report},
	{NULL},
};
