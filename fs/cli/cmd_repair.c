#include <stdio.h>
#include <unistd.h>

#include "fs/cli/command.h"
#include "fs/cli/exit.h"
#include "fs/cli/outside.h"
#include "fs/cli/run.h"
#include "fs/cli/table.h"
#include "lib/ops/json.h"
#include "lib/store/mend.h"

static const struct column repair_columns[] = {
	{"lost", "lost", COLUMN_TEXT},
	{"kept", "kept", COLUMN_TEXT},
	{NULL, NULL, COLUMN_TEXT},
};

static const struct column content_columns[] = {
	{"files", "files read", COLUMN_NUMBER},
	{"healed", "chunks found", COLUMN_NUMBER},
	{"healed_bytes", "bytes found", COLUMN_BYTES},
	{"left", "chunks left", COLUMN_NUMBER},
	{"unread", "not readable", COLUMN_NUMBER},
	{NULL, NULL, COLUMN_TEXT},
};

static int repair_content(struct cli *cli, const char *source)
{
	const bool apply = cli_option(cli, "apply") != NULL;
	AUTO_FREE char *store = NULL;
	struct error err = {0};
	json_t *value = NULL;
	json_int_t left;
	int fd = -1, result = run_find_store(cli, &store, &err);

	if (result == 0)
		result = outside_open_source(source, &fd, &err);
	if (result == 0)
		result = run_op_with(store, "repair.content", json_pack("{s:b}", "apply", apply), fd, "repair", &value, &err);
	if (fd >= 0)
		close(fd);
	if (result < 0)
		return exit_with(&err);
	table_print_object(cli, content_columns, value);
	left = json_integer_value(json_object_get(value, "left"));
	if (!cli_option(cli, "json") && !apply)
		printf("nothing was changed; with --apply what was found is stored\n");
	json_decref(value);
	return left > 0 ? EXIT_DAMAGED : EXIT_OK;
}

static int run_repair(struct cli *cli)
{
	if (cli_option(cli, "from"))
		return repair_content(cli, cli_option(cli, "from"));
	const bool apply = cli_option(cli, "apply") != NULL;
	struct store_mended mended = {0};
	AUTO_FREE char *store = NULL;
	struct error err = {0};
	int result = run_find_store(cli, &store, &err);

	if (result == 0)
		result = store_mend(store, apply, &mended, &err);
	if (result < 0)
		return exit_with(&err);
	json_t *value = json_pack("{s:o, s:o}", "lost", json_from_bytes(mended.lost ? mended.lost : ""), "kept",
				  json_from_bytes(mended.kept ? mended.kept : ""));
	if (cli_option(cli, "json"))
		table_print_object(cli, repair_columns, value);
	else if (!mended.lost)
		printf("nothing is to be repaired: no log is damaged\n");
	else if (!mended.kept)
		printf("%s\nnothing was changed; with --apply these changes are given up, and the store can be written again\n", mended.lost);
	else
		printf("%s\nthese changes were given up; the database as it was is kept in %s\n", mended.lost, mended.kept);
	json_decref(value);
	store_mended_clear(&mended);
	return EXIT_OK;
}

static const struct option repair_options[] = {
	{'\0', "from", "SOURCE", "heal content from the files of a directory, or from a file"},
	{'\0', "apply", NULL, "do it; without this, only say what would be done"},
	OPTION_JSON,
	OPTIONS_END,
};

const struct command repair_commands[] = {
	{.name = "repair",
         .operands = "",
         .summary = "mend a damaged log, or damaged content",
         .details = "The store becomes what it was before the damage. The database as it is now is\n"
                    "kept in the store's directory before-repair-TIME, and nothing is removed; to\n"
                    "undo, put that directory in the place of db.\n"
                    "With --from, damaged content (`corpusfs damage`) is looked for in files outside,\n"
                    "under any name: what has the same SHA-256 is stored and read instead, in all\n"
                    "snapshots. Exit code 7: some was not found.\n",
         .options = repair_options,
         .run = run_repair},
	{NULL},
};
