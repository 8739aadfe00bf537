#include <stdio.h>

#include "fs/cli/command.h"
#include "fs/cli/exit.h"
#include "fs/cli/run.h"
#include "fs/cli/say.h"
#include "fs/cli/table.h"
#include "lib/ops/json.h"

static const struct column gc_columns[] = {
	{"versions", "versions", COLUMN_NUMBER},
	{"chunks", "chunks", COLUMN_NUMBER},
	{"bytes", "space", COLUMN_BYTES},
	{NULL, NULL, COLUMN_TEXT},
};

static const struct column why_columns[] = {
	{"dataset", "DATASET", COLUMN_TEXT}, {"snapshot", "SNAPSHOT", COLUMN_TEXT},
	{"offset", "OFFSET", COLUMN_NUMBER}, {"path", "PATH", COLUMN_TEXT},
	{NULL, NULL, COLUMN_TEXT},
};

static int run_gc(struct cli *cli)
{
	bool dry_run = cli_option(cli, "dry-run") != NULL;
	const char *interrupted = dry_run ? "nothing was removed" : "what was removed is gone; run the same command again to go on";
	json_t *value;
	int code = run_op_interruptible(cli, "gc.run", json_pack("{s:b}", "dry_run", dry_run), "gc", interrupted, &value);

	if (code != EXIT_OK)
		return code;
	if (!cli_option(cli, "json"))
		say(dry_run ? "would be removed:\n" : "removed:\n");
	table_print_object(cli, gc_columns, value);
	if (!cli_option(cli, "json") && json_is_true(json_object_get(value, "no_room")))
		say("the disk is too full to give back all of that; make some room on it, and run the same command again\n");
	json_decref(value);
	return code;
}

static int run_why(struct cli *cli)
{
	return table_run(cli, why_columns, "gc.why", json_pack("{s:o}", "chunk", json_from_bytes(cli->argv[0])));
}

static const struct option gc_options[] = {{'n', "dry-run", NULL, "only count what would be removed"}, OPTION_JSON, OPTIONS_END};
static const struct option json_options[] = {OPTION_JSON, OPTIONS_END};

const struct command gc_commands[] = {
	{.name = "gc",
         .operands = "",
         .summary = "remove what nothing needs any more",
         .details = "The daemon does so by itself, slowly; this does it now.\n",
         .options = gc_options,
         .run = run_gc},
	{.name = "why",
         .operands = "CHUNK",
         .summary = "say who keeps a chunk alive",
         .min = 1,
         .max = 1,
         .options = json_options,
         .run = run_why},
	{NULL},
};
