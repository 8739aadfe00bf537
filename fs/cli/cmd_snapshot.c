#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fs/cli/cmd_rollback.h"
#include "fs/cli/command.h"
#include "fs/cli/exit.h"
#include "fs/cli/hint.h"
#include "fs/cli/place.h"
#include "fs/cli/run.h"
#include "fs/cli/table.h"
#include "lib/base/buf.h"
#include "lib/base/shell.h"
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

/* {"name": the snapshot that the first operand names}; NULL with a text. */
static json_t *snapshot_args(struct cli *cli, struct error *err)
{
	AUTO_PLACE place = {0};

	if (place_find(cli, cli->argv[0], PLACE_MUST_SNAPSHOT, &place, err) < 0)
		return NULL;
	AUTO_FREE char *view = place_view(&place);
	return json_pack("{s:o}", "name", json_from_bytes(view));
}

/* Adds the snapshot that a word names; `name` is for a dataset without one, or NULL. */
static int add_target(struct cli *cli, json_t *targets, const char *word, const char *name, struct error *err)
{
	AUTO_PLACE place = {0};
	int result = place_find(cli, word, name ? PLACE_MAY_SNAPSHOT : PLACE_MUST_SNAPSHOT, &place, err);

	if (result < 0)
		return result;
	if (!place.snapshot && name)
		place.snapshot = xstrdup(name);
	AUTO_FREE char *view = place_view(&place);
	json_array_append_new(targets, json_from_bytes(view));
	return 0;
}

static int name_is_missing(struct cli *cli, const char *word, struct error *err)
{
	AUTO_PLACE place = {0};
	int result = place_find(cli, word, PLACE_MAY_SNAPSHOT, &place, err);

	if (result < 0 || place.snapshot)
		return result;
	(void)error_set(err, -EINVAL, "the new snapshot of \"%s\" needs a name", word);
	error_hint_shell(err, "corpusfs snapshot create %s@NAME", word);
	hint_name_store(err, cli->store);
	return -EINVAL;
}

/* "a b c@v1": a dataset without a name takes that of the next one which has one. */
static json_t *create_targets(struct cli *cli, struct error *err)
{
	json_t *targets = json_array();
	int result = 0;

	for (int i = 0; i < cli->argc && result == 0; i++) {
		const char *at = NULL;
		for (int next = i; next < cli->argc && !at; next++)
			at = strrchr(cli->argv[next], '@');
		if (!at)
			result = name_is_missing(cli, cli->argv[i], err);
		if (result == 0)
			result = add_target(cli, targets, cli->argv[i], at ? at + 1 : NULL, err);
	}
	if (result == 0)
		return targets;
	json_decref(targets);
	return NULL;
}

static json_t *destroy_targets(struct cli *cli, struct error *err)
{
	json_t *targets = json_array();
	int result = 0;

	for (int i = 0; i < cli->argc && result == 0; i++)
		result = add_target(cli, targets, cli->argv[i], NULL, err);
	if (result == 0)
		return targets;
	json_decref(targets);
	return NULL;
}

static int run_create(struct cli *cli)
{
	const char *note = cli_option(cli, "note");
	struct error err = {0};
	json_t *targets = create_targets(cli, &err);

	if (!targets)
		return exit_with(&err);
	return run_op(cli, "snapshot.create", json_pack("{s:o, s:o}", "targets", targets, "note", json_from_bytes(note ? note : "")), NULL,
	              NULL);
}

static int run_list(struct cli *cli)
{
	AUTO_PLACE place = {0};
	struct error err = {0};

	if (cli->argc > 0 && place_find(cli, cli->argv[0], 0, &place, &err) < 0)
		return exit_with(&err);
	return table_run(cli, list_columns, "snapshot.list", json_pack("{s:o*}", "dataset", json_from_bytes(place.dataset)));
}

/* One that is not computed yet is computed now. */
static int add_identity(struct cli *cli, json_t *snapshot, json_t *args)
{
	json_t *value;

	if (json_object_get(snapshot, "identity"))
		return EXIT_OK;
	int code = run_op(cli, "snapshot.identity", json_incref(args), NULL, &value);
	if (code == EXIT_OK) {
		json_object_update(snapshot, value);
		json_decref(value);
	}
	return code;
}

static int run_show(struct cli *cli)
{
	struct error err = {0};
	json_t *value, *args = snapshot_args(cli, &err);
	int code = args ? run_op(cli, "snapshot.show", json_incref(args), NULL, &value) : exit_with(&err);

	if (code == EXIT_OK) {
		code = add_identity(cli, value, args);
		if (code == EXIT_OK)
			table_print_object(cli, show_columns, value);
		json_decref(value);
	}
	json_decref(args);
	return code;
}

static int run_rename(struct cli *cli)
{
	AUTO_PLACE old = {0};
	const char *new_name = cli->argv[1];
	struct error err = {0};

	if (place_find(cli, cli->argv[0], PLACE_MUST_SNAPSHOT, &old, &err) < 0)
		return exit_with(&err);
	/* DATASET@NAME is understood as the new name, too, as long as the dataset is the same. */
	size_t len = strlen(old.dataset);
	if (strncmp(old.dataset, new_name, len) == 0 && new_name[len] == '@')
		new_name += len + 1;
	if (strchr(new_name, '@')) {
		error_set(&err, -EINVAL, "a snapshot of \"%s\" stays one, so it cannot be called \"%s\"", old.dataset, new_name);
		error_hint_shell(&err, "a dataset that starts as the snapshot is made by: corpusfs clone %s NEW", cli->argv[0]);
		hint_name_store(&err, cli->store);
		return exit_with(&err);
	}
	AUTO_FREE char *view = place_view(&old);
	return run_op(cli, "snapshot.rename", json_pack("{s:o, s:o}", "name", json_from_bytes(view), "new_name", json_from_bytes(new_name)),
	              NULL, NULL);
}

static int run_destroy(struct cli *cli)
{
	bool dry_run = cli_option(cli, "dry-run") != NULL;
	struct error err = {0};
	json_t *targets = destroy_targets(cli, &err), *args;

	if (!targets)
		return exit_with(&err);
	args = json_pack("{s:o, s:b}", "targets", targets, "dry_run", dry_run);
	if (dry_run || cli_option(cli, "json"))
		return table_run(cli, list_columns, "snapshot.destroy", args);
	return run_op(cli, "snapshot.destroy", args, NULL, NULL);
}

/* An operation on the snapshot of the first operand, with the second one as another argument. */
static int run_with(struct cli *cli, const char *op, const char *key)
{
	struct error err = {0};
	json_t *args = snapshot_args(cli, &err);

	if (!args)
		return exit_with(&err);
	json_object_set_new(args, key, json_from_bytes(cli->argv[1]));
	return run_op(cli, op, args, NULL, NULL);
}

static int run_hold(struct cli *cli)
{
	return run_with(cli, "snapshot.hold", "tag");
}

static int run_release(struct cli *cli)
{
	return run_with(cli, "snapshot.release", "tag");
}

static int run_clone(struct cli *cli)
{
	return run_with(cli, "dataset.clone", "new_name");
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
         .details = "TAG says why, and ends the hold: corpusfs snapshot release DATASET@NAME TAG.\n"
                    "A snapshot may have several.\n",
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
         .details = "NEW starts as the snapshot and shares its data; both live on independently.\n",
         .min = 2,
         .max = 2,
         .run = run_clone},
	{NULL},
};
