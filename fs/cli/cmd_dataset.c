#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fs/cli/command.h"
#include "fs/cli/exit.h"
#include "fs/cli/hint.h"
#include "fs/cli/place.h"
#include "fs/cli/run.h"
#include "fs/cli/table.h"
#include "fs/cli/units.h"
#include "lib/base/shell.h"
#include "lib/ops/json.h"

static const struct column list_columns[] = {
	{"name", "NAME", COLUMN_TEXT},     {"created", "CREATED", COLUMN_TIME}, {"snapshots", "SNAPSHOTS", COLUMN_NUMBER},
	{"level", "LEVEL", COLUMN_NUMBER}, {"used", "USED", COLUMN_BYTES},       {"available", "AVAILABLE", COLUMN_BYTES},
	{"quota", "QUOTA", COLUMN_BYTES},
	{NULL, NULL, COLUMN_TEXT},
};

static const struct column show_columns[] = {
	{"name", "name", COLUMN_TEXT},
	{"created", "created", COLUMN_TIME},
	{"level", "compression level", COLUMN_NUMBER},
	{"snapshots", "snapshots", COLUMN_NUMBER},
	{"schedule", "schedule", COLUMN_TEXT},
	{"used", "used of the quota", COLUMN_BYTES},
	{"available", "available", COLUMN_BYTES},
	{"quota", "quota", COLUMN_BYTES},
	{"replica", "replica", COLUMN_FLAG},
	{"replicated_to", "replicated to", COLUMN_TEXT},
	{"replicated_snapshot", "last snapshot there", COLUMN_TEXT},
	{"replicated_behind", "snapshots not there", COLUMN_NUMBER},
	{"replicated_lag", "age of the oldest, s", COLUMN_NUMBER},
	{"family", "family", COLUMN_NUMBER},
	{NULL, NULL, COLUMN_TEXT},
};

/* {KEY: the dataset that the first operand names}; NULL with a text. */
static json_t *dataset_args(struct cli *cli, const char *key, struct error *err)
{
	AUTO_PLACE place = {0};

	return place_find(cli, cli->argv[0], 0, &place, err) < 0 ? NULL : json_pack("{s:o}", key, json_from_bytes(place.dataset));
}

/* An option that is a whole number; `fallback` when it is not given. */
static int int_option(const struct cli *cli, const char *name, int base, long fallback, long *ret_value, struct error *err)
{
	const char *text = cli_option(cli, name);
	char *end;

	*ret_value = fallback;
	if (!text)
		return 0;
	errno = 0;
	*ret_value = strtol(text, &end, base);
	return errno || *end || end == text ? error_set(err, -EINVAL, "--%s %s: that is not a number", name, text) : 0;
}

static int run_create(struct cli *cli)
{
	json_t *args = json_pack("{s:o}", "name", json_from_bytes(cli->argv[0]));
	long level = -1, mode = -1;
	struct error err = {0};
	int result = int_option(cli, "level", 10, -1, &level, &err);

	if (result == 0)
		result = int_option(cli, "mode", 8, -1, &mode, &err);
	if (result < 0) {
		json_decref(args);
		return exit_with(&err);
	}
	if (cli_option(cli, "level"))
		json_object_set_new(args, "level", json_integer(level));
	if (cli_option(cli, "mode"))
		json_object_set_new(args, "mode", json_integer(mode));
	return run_op(cli, "dataset.create", args, NULL, NULL);
}

static int run_list(struct cli *cli)
{
	return table_run(cli, list_columns, "dataset.list", json_object());
}

static int run_show(struct cli *cli)
{
	struct error err = {0};
	json_t *value, *args = dataset_args(cli, "name", &err);
	int code = args ? run_op(cli, "dataset.show", args, NULL, &value) : exit_with(&err);

	if (code == EXIT_OK) {
		table_print_object(cli, show_columns, value);
		json_decref(value);
	}
	return code;
}

static int run_rename(struct cli *cli)
{
	struct error err = {0};
	json_t *args = dataset_args(cli, "name", &err);

	if (!args)
		return exit_with(&err);
	json_object_set_new(args, "new_name", json_from_bytes(cli->argv[1]));
	return run_op(cli, "dataset.rename", args, NULL, NULL);
}

static int run_destroy(struct cli *cli)
{
	struct error err = {0};
	json_t *args = dataset_args(cli, "name", &err);

	if (!args)
		return exit_with(&err);
	json_object_set_new(args, "snapshots", json_boolean(cli_option(cli, "snapshots") != NULL));
	return run_op(cli, "dataset.destroy", args, NULL, NULL);
}

/* 0 for "none". */
static int quota_option(const struct cli *cli, uint64_t *ret_bytes, struct error *err)
{
	const char *text = cli_option(cli, "quota");

	*ret_bytes = 0;
	if (!text || strcmp(text, "none") == 0)
		return 0;
	if (units_parse_size(text, ret_bytes) == 0 && *ret_bytes > 0)
		return 0;
	error_set(err, -EINVAL, "--quota %s: that is not a size", text);
	error_hint(err, "for example 500G, or none");
	return -EINVAL;
}

static int run_set(struct cli *cli)
{
	bool has_level = cli_option(cli, "level"), has_quota = cli_option(cli, "quota");
	struct error err = {0};
	uint64_t quota;
	json_t *args;
	long level;
	int result = int_option(cli, "level", 10, -1, &level, &err);

	if (result == 0)
		result = quota_option(cli, &quota, &err);
	if (result == 0 && !has_level && !has_quota) {
		result = error_set(&err, -EINVAL, "nothing to set");
		error_hint_shell(&err, "for example: corpusfs dataset set %s --quota 500G", cli->argv[0]);
		hint_name_store(&err, cli->store);
	}
	args = result == 0 ? dataset_args(cli, "name", &err) : NULL;
	if (!args)
		return exit_with(&err);
	if (has_level)
		json_object_set_new(args, "level", json_integer(level));
	if (has_quota)
		json_object_set_new(args, "quota", json_integer((json_int_t)quota));
	return run_op(cli, "dataset.set", args, NULL, NULL);
}

#define OPTION_LEVEL                                                                                                             \
	{                                                                                                                        \
		0, "level", "N", "zstd level of new data: 0 stores plainly, 19 is smallest"                                      \
	}
static const struct option create_options[] = {
	OPTION_LEVEL, {0, "mode", "OCTAL", "permissions of its root (default 755)"}, OPTIONS_END};
static const struct option set_options[] = {
	OPTION_LEVEL, {0, "quota", "SIZE", "what its files may take, or none"}, OPTIONS_END};
static const struct option json_options[] = {OPTION_JSON, OPTIONS_END};
static const struct option destroy_options[] = {{0, "snapshots", NULL, "its snapshots too"}, OPTIONS_END};

const struct command dataset_commands[] = {
	{.name = "dataset create",
         .operands = "DATASET",
         .summary = "make an empty dataset",
         .min = 1,
         .max = 1,
         .options = create_options,
         .run = run_create},
	{.name = "dataset list", .operands = "", .summary = "list the datasets", .options = json_options, .run = run_list},
	{.name = "dataset show",
         .operands = "DATASET",
         .summary = "show one dataset",
         .min = 1,
         .max = 1,
         .options = json_options,
         .run = run_show},
	{.name = "dataset rename",
         .operands = "DATASET NEW",
         .summary = "give a dataset another name",
         .min = 2,
         .max = 2,
         .run = run_rename},
	{.name = "dataset destroy",
         .operands = "DATASET",
         .summary = "remove a dataset and its files",
         .min = 1,
         .max = 1,
         .options = destroy_options,
         .run = run_destroy},
	{.name = "dataset set",
         .operands = "DATASET [--level N] [--quota SIZE]",
         .summary = "change a dataset's compression or quota",
         .min = 1,
         .max = 1,
         .options = set_options,
         .run = run_set},
	{NULL},
};
