#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "fs/cli/cmd_backup_schedule.h"
#include "fs/cli/command.h"
#include "fs/cli/differences.h"
#include "fs/cli/exit.h"
#include "fs/cli/place.h"
#include "fs/cli/run.h"
#include "fs/cli/say.h"
#include "fs/cli/table.h"
#include "fs/cli/units.h"
#include "lib/base/buf.h"
#include "lib/ops/json.h"

/* --- diff --- */

/* The places to compare, with one path for both. */
static int diff_args(struct cli *cli, json_t **ret_args, struct error *err)
{
	AUTO_PLACE a = {0}, b = {0};
	int result = place_find(cli, cli->argv[0], PLACE_MAY_SNAPSHOT | PLACE_MAY_PATH, &a, err);

	if (result == 0)
		result = place_add_path(cli, &a, cli_option(cli, "path"), err);
	if (result == 0 && cli->argc > 1)
		result = place_find(cli, cli->argv[1], PLACE_MAY_SNAPSHOT | PLACE_MAY_PATH, &b, err);
	if (result == 0 && b.path && *b.path && *a.path && strcmp(a.path, b.path) != 0)
		result = error_set(err, -EINVAL, "two paths are named: \"%s\" and \"%s\"", a.path, b.path);
	if (result < 0)
		return result;
	AUTO_FREE char *view_a = place_view(&a), *view_b = b.dataset ? place_view(&b) : NULL;
	*ret_args = json_pack("{s:o, s:o*, s:o, s:b, s:b}", "a", json_from_bytes(view_a), "b", json_from_bytes(view_b), "path",
			      json_from_bytes(*a.path || !b.path ? a.path : b.path), "content", cli_option(cli, "content") != NULL, "stat",
			      cli_option(cli, "stat") != NULL);
	return 0;
}

static int run_diff(struct cli *cli)
{
	struct differences differences = differences_begin(cli);
	struct error err = {0};
	json_t *value, *args;
	int code;

	if (diff_args(cli, &args, &err) < 0)
		return exit_with(&err);
	code = run_op_rows(cli, "diff", args, differences_row, &differences, &value);
	if (code != EXIT_OK)
		return code;
	differences_end(&differences, value);
	code = cli_option(cli, "exit-code") && differences_any(value) ? EXIT_DIFFERENT : EXIT_OK;
	json_decref(value);
	return code;
}

/* --- versions --- */

static const struct column version_columns[] = {
	{"mtime", "MODIFIED", COLUMN_TIME},     {"size", "SIZE", COLUMN_BYTES},   {"state", "STATE", COLUMN_TEXT},
	{"snapshots", "SNAPSHOTS", COLUMN_LIST}, {"path", "PATH", COLUMN_TEXT},    {NULL, NULL, COLUMN_TEXT},
};

#define SNAPSHOTS_WIDTH 30

/* For people: as many of the snapshots as fit, one at least, and how many more there are. */
static json_t *some_of(const json_t *snapshots)
{
	const size_t count = json_array_size(snapshots);
	AUTO_BUF text = BUF_INIT;
	size_t i = 0;

	for (; i < count; i++) {
		const char *name = json_string_value(json_array_get(snapshots, i));
		if (i > 0 && text.len + strlen(name) + 2 > SNAPSHOTS_WIDTH)
			break;
		buf_addf(&text, "%s%s", i > 0 ? ", " : "", name);
	}
	if (i < count)
		buf_addf(&text, " +%zu", count - i);
	buf_add_u8(&text, '\0');
	return json_pack("[s]", (const char *)text.data);
}

/* For people: one word that says where a version is. */
static int print_version(void *arg, json_t *row)
{
	struct table *table = arg;
	bool deleted = json_is_true(json_object_get(row, "deleted"));
	bool head = json_is_true(json_object_get(row, "head"));

	if (!table->as_json) {
		json_object_set_new(row, "state", json_string(deleted ? (head ? "deleted now" : "absent") : head ? "now" : "past"));
		json_object_set_new(row, "snapshots", some_of(json_object_get(row, "snapshots")));
	}
	return table_row(table, row);
}

static int run_versions(struct cli *cli)
{
	struct table table = table_begin(cli, version_columns, NULL);
	AUTO_PLACE place = {0};
	struct error err = {0};
	int code;

	/* In a snapshot it is the same file as in the dataset. */
	if (place_find(cli, cli->argv[0], PLACE_MAY_SNAPSHOT | PLACE_MUST_PATH, &place, &err) < 0)
		return exit_with(&err);
	code = run_op_rows(cli, "versions",
			   json_pack("{s:o, s:o}", "dataset", json_from_bytes(place.dataset), "path", json_from_bytes(place.path)),
			   print_version, &table, NULL);
	if (code == EXIT_OK)
		table_end(&table, NULL);
	else
		table_clear(&table);
	return code;
}

/* --- du --- */

static const struct column du_columns[] = {
	{"dataset", "DATASET", COLUMN_TEXT},  {"snapshot", "SNAPSHOT", COLUMN_TEXT}, {"files", "FILES", COLUMN_NUMBER},
	{"logical", "SIZE", COLUMN_BYTES},    {"stored", "STORED", COLUMN_BYTES},    {"unique", "UNIQUE", COLUMN_BYTES},
	{"cumulative", "UP TO HERE", COLUMN_BYTES}, {NULL, NULL, COLUMN_TEXT},
};

/* "DATASET", "DATASET@NAME", "DATASET@FIRST%LAST" */
static int du_args(struct cli *cli, json_t **ret_args, struct error *err)
{
	AUTO_PLACE place = {0};
	const char *percent;
	int result = cli->argc > 0 ? place_find(cli, cli->argv[0], PLACE_MAY_SNAPSHOT, &place, err) : 0;

	if (result < 0)
		return result;
	percent = place.snapshot ? strchr(place.snapshot, '%') : NULL;
	AUTO_FREE char *first = place.snapshot ? xasprintf("%.*s", (int)strcspn(place.snapshot, "%"), place.snapshot) : NULL;
	*ret_args = json_pack("{s:o*, s:o*, s:o*, s:b}", "dataset", json_from_bytes(place.dataset), "first", json_from_bytes(first), "last",
			      json_from_bytes(percent ? percent + 1 : first), "exact", cli_option(cli, "exact") != NULL);
	return 0;
}

struct du {
	struct table table;
	bool estimated;
};

static int print_usage(void *arg, json_t *row)
{
	struct du *du = arg;

	du->estimated = du->estimated || json_is_true(json_object_get(row, "estimated"));
	return table_row(&du->table, row);
}

static void print_du_end(const struct cli *cli, const struct du *du, const json_t *freed)
{
	char text[UNITS_MAX];

	if (du->table.as_json)
		return;
	if (freed) {
		units_size((uint64_t)json_integer_value(freed), text);
		say("destroying %s would free %s\n", cli->argv[0], text);
	}
	if (du->estimated)
		say("sizes as stored are estimated from samples; --exact looks at every chunk\n");
}

static int run_du(struct cli *cli)
{
	struct du du = {.table = table_begin(cli, du_columns, "usage")};
	struct error err = {0};
	json_t *value, *args;
	int code;

	if (du_args(cli, &args, &err) < 0)
		return exit_with(&err);
	code = run_op_rows(cli, "du", args, print_usage, &du, &value);
	if (code != EXIT_OK) {
		table_clear(&du.table);
		return code;
	}
	table_end(&du.table, value);
	print_du_end(cli, &du, json_object_get(value, "freed"));
	json_decref(value);
	return EXIT_OK;
}

/* --- schedules --- */

static const char *const periods[] = {"hourly", "daily", "weekly", "monthly"};
static const struct column schedule_columns[] = {
	{"hourly", "hourly", COLUMN_NUMBER}, {"daily", "daily", COLUMN_NUMBER}, {"weekly", "weekly", COLUMN_NUMBER},
	{"monthly", "monthly", COLUMN_NUMBER}, {NULL, NULL, COLUMN_TEXT},
};

/* Puts the numbers that were given over those that are set. 1: some were given. */
static int merge_options(const struct cli *cli, json_t *schedule, struct error *err)
{
	int given = 0;

	for (size_t i = 0; i < ARRAY_SIZE(periods); i++) {
		const char *value = cli_option(cli, periods[i]);
		char *end;
		long number;
		if (!value)
			continue;
		number = strtol(value, &end, 10);
		if (!*value || *end || number < 0 || number > INT_MAX)
			return error_set(err, -EINVAL, "--%s: \"%s\" is not a number", periods[i], value);
		json_object_set_new(schedule, periods[i], json_integer(number));
		given = 1;
	}
	return given;
}

static int set_schedule(struct cli *cli, json_t *schedule, const char *dataset)
{
	json_object_set_new(schedule, "dataset", json_from_bytes(dataset));
	return run_op(cli, "snapshot.schedule.set", json_incref(schedule), NULL, NULL);
}

static int run_schedule(struct cli *cli)
{
	AUTO_PLACE place = {0};
	struct error err = {0};
	json_t *schedule;
	int given, code;

	if (place_find(cli, cli->argv[0], 0, &place, &err) < 0)
		return exit_with(&err);
	code = run_op(cli, "snapshot.schedule.get", json_pack("{s:o}", "dataset", json_from_bytes(place.dataset)), NULL, &schedule);
	if (code != EXIT_OK)
		return code;
	given = merge_options(cli, schedule, &err);
	if (given > 0 && cli_option(cli, "off"))
		given = error_set(&err, -EINVAL, "--off takes no snapshots, so it goes with no other option");
	if (cli_option(cli, "off"))
		json_object_clear(schedule);
	if (given < 0)
		code = exit_with(&err);
	else if (given || cli_option(cli, "off"))
		code = set_schedule(cli, schedule, place.dataset);
	else
		table_print_object(cli, schedule_columns, schedule);
	json_decref(schedule);
	return code;
}

static int print_ticked(void *arg, json_t *row)
{
	bool taken = strcmp(json_string_value(json_object_get(row, "action")), "taken") == 0;

	say("%s %s@%s\n", taken ? "took" : "destroyed", json_string_value(json_object_get(row, "dataset")),
	    json_string_value(json_object_get(row, "snapshot")));
	return 0;
}

static int run_tick(struct cli *cli)
{
	const int code = run_op_rows(cli, "snapshot.tick", json_object(), print_ticked, NULL, NULL);

	return code != EXIT_OK ? code : backup_tick(cli);
}

static const struct option diff_options[] = {
	{0, "path", "PATH", "only this file or directory, relative to the dataset"},
	{0, "stat", NULL, "sums only"},
	{0, "content", NULL, "show which bytes of files differ"},
	{0, "exit-code", NULL, "exit with 1 when there are differences"},
	OPTION_JSON,
	OPTIONS_END,
};
static const struct option versions_options[] = {OPTION_JSON, OPTIONS_END};
static const struct option du_options[] = {{0, "exact", NULL, "look at every chunk"}, OPTION_JSON, OPTIONS_END};
static const struct option schedule_options[] = {
	{0, "hourly", "N", "how many hourly ones to keep"},
	{0, "daily", "N", "daily"},
	{0, "weekly", "N", "weekly"},
	{0, "monthly", "N", "monthly"},
	{0, "off", NULL, "take no more; what there is stays"},
	OPTION_JSON,
	OPTIONS_END,
};

const struct command history_commands[] = {
	{.name = "diff",
	 .operands = "A [B]",
	 .summary = "what changed from A to B",
	 .details = "A and B are DATASET[@NAME][/PATH] or paths in a mount. Without B a snapshot is\n"
		    "compared with its dataset, and a dataset's latest snapshot with the dataset.\n"
		    "  + added   - removed   M modified   R renamed   m only mode, owner, time or\n"
		    "extended attributes   > so many more, too deep below a directory to be named\n",
	 .min = 1,
	 .max = 2,
	 .options = diff_options,
	 .run = run_diff},
	{.name = "versions",
	 .operands = "PATH",
	 .summary = "the versions of one file",
	 .details = "PATH is DATASET/PATH, or a path in a mount; the file may be deleted. Each line is\n"
		    "one version with the snapshots that hold it.\n",
	 .min = 1,
	 .max = 1,
	 .options = versions_options,
	 .run = run_versions},
	{.name = "du",
	 .operands = "[DATASET[@NAME[%LAST]]]",
	 .summary = "what datasets and snapshots take up",
	 .details = "SIZE is that of the files, STORED what they take on disk after compression and\n"
		    "sharing, UNIQUE what destroying this one would free, UP TO HERE what destroying\n"
		    "it and all older snapshots would. With @NAME or @FIRST%LAST: what destroying\n"
		    "these together would free.\n",
	 .max = 1,
	 .options = du_options,
	 .run = run_du},
	{.name = "snapshot schedule",
	 .operands = "DATASET",
	 .summary = "take snapshots by the clock",
	 .details = "The daemon takes what is due while the store is mounted; `corpusfs tick` does so\n"
		    "at any time. Of each kind so many are kept; those that were taken by hand, held or\n"
		    "renamed are never removed. Without options: shows what is set.\n",
	 .min = 1,
	 .max = 1,
	 .options = schedule_options,
	 .run = run_schedule},
	{.name = "tick",
	 .operands = "",
	 .summary = "take and make what the schedules ask for",
	 .details = "Content that is known to be damaged is looked for in the store's own backups first,\n"
		    "and what is found heals it.\n",
	 .run = run_tick},
	{.name = NULL},
};
