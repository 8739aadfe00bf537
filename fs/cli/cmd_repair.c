#include <stdio.h>

#include "fs/cli/command.h"
#include "fs/cli/exit.h"
#include "fs/cli/run.h"
#include "fs/cli/table.h"
#include "lib/ops/json.h"
#include "lib/store/mend.h"

static const struct column repair_columns[] = {
	{"lost", "lost", COLUMN_TEXT},
	{"kept", "kept", COLUMN_TEXT},
	{NULL, NULL, COLUMN_TEXT},
};

static int run_repair(struct cli *cli)
{
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
	{'\0', "apply", NULL, "do it; without this, only say what would be done"},
	OPTION_JSON,
	OPTIONS_END,
};

const struct command repair_commands[] = {
	{.name = "repair",
         .operands = "",
         .summary = "open a store again whose log is damaged",
         .details = "The store becomes what it was before the damage. The database as it is now is\n"
                    "kept in the store's directory before-repair-TIME, and nothing is removed; to\n"
                    "undo, put that directory in the place of db.\n",
         .options = repair_options,
         .run = run_repair},
	{NULL},
};
