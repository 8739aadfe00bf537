#include <stdio.h>
#include <string.h>

#include "fs/cli/cmd_rollback.h"
#include "fs/cli/command.h"
#include "fs/cli/exit.h"
#include "fs/cli/run.h"
#include "fs/cli/table.h"
#include "lib/base/buf.h"
#include "lib/ops/json.h"

static const struct column list_columns[] = {
	{"dataset", "DATASET", COLUMN_TEXT}, {"name", "NAME", COLUMN_TEXT}, {"taken", "TAKEN", COLUMN_TIME},
	{"holds", "HOLDS", COLUMN_LIST},     {"note", "NOTE", COLUMN_TEXT}, {NULL, NULL, COLUMN_TEXT},
};

static const struct column show_columns[] = {
	{"dataset", "dataset", COLUMN_TEXT}, {"name", "name", COLUMN_TEXT},
	{"taken", "taken", COLUMN_TIME},     {"note", "note", COLUMN_TEXT},
	{"holds", "holds", COLUMN_LIST},     {"guard", "taken by a rollback", COLUMN_FLAG},
	{"number", "number", COLUMN_NUMBER}, {"scheduled", "taken by the schedule", COLUMN_FLAG},
	{"identity", "identity", COLUMN_TEXT},
	{NULL, NULL, COLUMN_TEXT},
};

/* "a b c@v1": a dataset without a name takes that of the next one which has one. */
static json_t *create_targets(int count, char **words)
{
	json_t *targets = json_array();

	for (int i = 0; i < count; i++) {
		const char *name = NULL;
		for (int next = i; next < count && !name; next++)
			name = strchr(words[next], '@');
		AUTO_FREE char *text = strchr(words[i], '@') || !name ? xstrdup(words[i]) : xasprintf("%s%s", words[i], name);
		json_array_append_new(targets, json_from_bytes(text));
	}
	return targets;
}

static json_t *words_to_json(int count, char **words)
{
	json_t *list = json_array();

	for (int i = 0; i < count; i++)
		json_array_append_new(list, json_from_bytes(words[i]));
	return list;
}

static int run_create(struct cli *cli)
{
	const char *note = cli_option(cli, "note");
	json_t *args = json_pack("{s:o, s:o}", "targets", create_targets(cli->argc, cli->argv), "note", json_from_bytes(note ? note : ""));

	return run_op(cli, "snapshot.create", args, NULL, NULL);
}

static int run_list(struct cli *cli)
{
	return table_run(cli, list_columns, "snapshot.list",
	                 json_pack("{s:o*}", "dataset", json_from_bytes(cli->argc > 0 ? cli->argv[0] : NULL)));
}

/* One that is not computed yet is computed now. */
static int add_identity(struct cli *cli, json_t *snapshot)
{
	json_t *value;

	if (json_object_get(snapshot, "identity"))
		return EXIT_OK;
	int code = run_op(cli, "snapshot.identity", json_pack("{s:o}", "name", json_from_bytes(cli->argv[0])), NULL, &value);
	if (code == EXIT_OK) {
		json_object_update(snapshot, value);
		json_decref(value);
	}
	return code;
}

static int run_show(struct cli *cli)
{
	json_t *value;
	int code = run_op(cli, "snapshot.show", json_pack("{s:o}", "name", json_from_bytes(cli->argv[0])), NULL, &value);

	if (code != EXIT_OK)
		return code;
	code = add_identity(cli, value);
	if (code == EXIT_OK)
		table_print_object(cli, show_columns, value);
	json_decref(value);
	return code;
}

static int run_rename(struct cli *cli)
{
	/* DATASET@NAME is understood as the new name, too, as long as the dataset is the same. */
	const char *old = cli->argv[0], *new_name = cli->argv[1];
	size_t len = strcspn(old, "@");

	if (old[len] && strncmp(old, new_name, len + 1) == 0)
		new_name += len + 1;
	return run_op(cli, "snapshot.rename", json_pack("{s:o, s:o}", "name", json_from_bytes(old), "new_name", json_from_bytes(new_name)), NULL, NULL);
}

static int run_destroy(struct cli *cli)
{
	bool dry_run = cli_option(cli, "dry-run") != NULL;
	json_t *args = json_pack("{s:o, s:b}", "targets", words_to_json(cli->argc, cli->argv), "dry_run", dry_run);

	if (dry_run || cli_option(cli, "json"))
		return table_run(cli, list_columns, "snapshot.destroy", args);
	return run_op(cli, "snapshot.destroy", args, NULL, NULL);
}

static int run_hold(struct cli *cli)
{
	return run_op(cli, "snapshot.hold", json_pack("{s:o, s:o}", "name", json_from_bytes(cli->argv[0]), "tag", json_from_bytes(cli->argv[1])), NULL, NULL);
}

static int run_release(struct cli *cli)
{
	return run_op(cli, "snapshot.release", json_pack("{s:o, s:o}", "name", json_from_bytes(cli->argv[0]), "tag", json_from_bytes(cli->argv[1])), NULL, NULL);
}

static int run_clone(struct cli *cli)
{
	return run_op(cli, "dataset.clone", json_pack("{s:o, s:o}", "name", json_from_bytes(cli->argv[0]), "new_name", json_from_bytes(cli->argv[1])), NULL, NULL);
}

static const struct option create_options[] = {{0, "note", "TEXT", "a note to keep with it"}, OPTIONS_END};
static const struct option json_options[] = {OPTION_JSON, OPTIONS_END};
static const struct option destroy_options[] = {{'n', "dry-run", NULL, "only show which ones"}, OPTION_JSON, OPTIONS_END};

const struct command snapshot_commands[] = {
	{.name = "snapshot create",
         .operands = "DATASET[@NAME]... DATASET@NAME",
         .summary = "take a snapshot",
         .details = "Several datasets are taken in one instant; one without @NAME takes the name of\n"
                    "the next: `corpusfs snapshot create train labels@v1`.\n",
         .min = 1,
         .max = -1,
         .options = create_options,
         .run = run_create},
	{.name = "snapshot list",
         .operands = "[DATASET]",
         .summary = "list snapshots",
         .max = 1,
         .options = json_options,
         .run = run_list},
	{.name = "snapshot show",
         .operands = "DATASET@NAME",
         .summary = "show one snapshot",
         .min = 1,
         .max = 1,
         .options = json_options,
         .run = run_show},
	{.name = "snapshot rename",
         .operands = "DATASET@NAME NEW",
         .summary = "give a snapshot another name",
         .min = 2,
         .max = 2,
         .run = run_rename},
	{.name = "snapshot destroy",
         .operands = "DATASET@NAME...",
         .summary = "remove snapshots",
         .details = "DATASET@FIRST%LAST names all taken from FIRST to LAST (either may be left out),\n"
                    "DATASET@PATTERN those that match, as in train@nightly-*.\n",
         .min = 1,
         .max = -1,
         .options = destroy_options,
         .run = run_destroy},
	{.name = "snapshot hold",
         .operands = "DATASET@NAME TAG",
         .summary = "keep a snapshot from being removed",
         .min = 2,
         .max = 2,
         .run = run_hold},
	{.name = "snapshot release",
         .operands = "DATASET@NAME TAG",
         .summary = "end a hold",
         .min = 2,
         .max = 2,
         .run = run_release},
	{.name = "rollback",
         .operands = "DATASET@NAME",
         .summary = "set a dataset back to a snapshot",
         .details = rollback_details,
         .min = 1,
         .max = 1,
         .options = rollback_options,
         .run = cmd_rollback},
	{.name = "clone",
         .operands = "DATASET@NAME NEW",
         .summary = "make a dataset from a snapshot",
         .min = 2,
         .max = 2,
         .run = run_clone},
	{NULL},
};
