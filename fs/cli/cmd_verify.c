#include <errno.h>
#include <stdio.h>

#include "fs/cli/command.h"
#include "fs/cli/exit.h"
#include "fs/cli/hint.h"
#include "fs/cli/json_rows.h"
#include "fs/cli/repairs_left.h"
#include "fs/cli/run.h"
#include "fs/cli/say.h"
#include "fs/cli/table.h"
#include "fs/cli/units.h"
#include "lib/base/buf.h"
#include "lib/ops/json.h"

static const struct column scrub_columns[] = {
	{"chunks", "chunks", COLUMN_NUMBER},
	{"bytes", "read", COLUMN_BYTES},
	{"damaged", "damaged", COLUMN_NUMBER},
	{NULL, NULL, COLUMN_TEXT},
};

static int run_scrub(struct cli *cli)
{
	const char *rate_text = cli_option(cli, "rate");
	struct error err = {0};
	uint64_t rate = 0;
	json_int_t damaged;
	json_t *value;
	int code;

	if (rate_text && units_parse_size(rate_text, &rate) < 0) {
		(void)error_set(&err, -EINVAL, "--rate %s: that is not a size", rate_text);
		return exit_with(&err);
	}
	code = run_op_interruptible(cli, "scrub.run", json_pack("{s:b, s:I}", "restart", cli_option(cli, "restart") != NULL, "rate", (json_int_t)rate),
				    "scrub", "the next corpusfs scrub goes on from here", &value);
	if (code != EXIT_OK)
		return code;
	table_print_object(cli, scrub_columns, value);
	damaged = json_integer_value(json_object_get(value, "damaged"));
	json_decref(value);
	if (damaged == 0)
		return EXIT_OK;
	(void)error_set(&err, -EBADMSG, "%lld damaged", (long long)damaged);
	error_hint(&err, "`corpusfs damage` says what is hurt");
	hint_name_store(&err, cli->store);
	return exit_with(&err);
}

static int run_schedule(struct cli *cli)
{
	json_t *value, *args = cli->argc > 0 ? json_pack("{s:o}", "every", json_from_bytes(cli->argv[0])) : json_object();
	int code = run_op(cli, "scrub.schedule", args, NULL, &value);

	if (code != EXIT_OK)
		return code;
	if (cli_option(cli, "json"))
		json_print(value);
	else
		say("%s\n", json_string_value(json_object_get(value, "every")));
	json_decref(value);
	return EXIT_OK;
}

static const struct column damage_columns[] = {
	{"dataset", "DATASET", COLUMN_TEXT}, {"snapshot", "SNAPSHOT", COLUMN_TEXT}, {"lost", "LOST", COLUMN_TEXT}, {"offset", "OFFSET", COLUMN_NUMBER},
	{"length", "LENGTH", COLUMN_NUMBER}, {"path", "PATH", COLUMN_TEXT},         {"command", "BROUGHT BACK BY", COLUMN_TEXT},
	{NULL, NULL, COLUMN_TEXT},
};

static const struct column table_columns[] = {
	{"table", "TABLE", COLUMN_TEXT},     {"holds", "HOLDS", COLUMN_TEXT}, {"state", "STATE", COLUMN_TEXT},
	{"blocks", "BLOCKS", COLUMN_NUMBER}, {"lost", "LOST", COLUMN_NUMBER}, {NULL, NULL, COLUMN_TEXT},
};

/* For people the same part of a file in many snapshots is one row: "v1, v2 and 556 more". */
struct places {
	struct table table;
	json_t *row;      /* a copy of the one that waits, with the text of its snapshots so far; NULL: none does */
	size_t snapshots; /* of it */
};

#define SNAPSHOTS_NAMED 2

static bool is_same_part(const json_t *one, const json_t *other)
{
	static const char *const keys[] = {"dataset", "path", "lost", "offset", "length", "chunk"};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (!json_equal(json_object_get(one, keys[i]), json_object_get(other, keys[i])))
			return false;
	return json_string_length(json_object_get(one, "snapshot")) > 0 && json_string_length(json_object_get(other, "snapshot")) > 0;
}

static void print_waiting(struct places *places)
{
	json_t *row = steal_ptr(places->row);

	if (row && places->snapshots > SNAPSHOTS_NAMED) {
		AUTO_FREE char *text = xasprintf("%s and %zu more", json_string_value(json_object_get(row, "snapshot")), places->snapshots - SNAPSHOTS_NAMED);
		json_object_set_new(row, "snapshot", json_from_bytes(text));
	}
	if (row)
		(void)table_row(&places->table, row);
	json_decref(row);
}

static int place_row(void *arg, json_t *row)
{
	struct places *places = arg;

	if (places->table.as_json)
		return table_row(&places->table, row);
	if (!places->row || !is_same_part(places->row, row)) {
		print_waiting(places);
		places->row = json_copy(row);
		places->snapshots = 1;
		return 0;
	}
	if (++places->snapshots <= SNAPSHOTS_NAMED) {
		AUTO_FREE char *text = xasprintf("%s, %s", json_string_value(json_object_get(places->row, "snapshot")),
		                                 json_string_value(json_object_get(row, "snapshot")));
		json_object_set_new(places->row, "snapshot", json_from_bytes(text));
	}
	return 0;
}

/* Beside the places: they are in the object already where that is printed as it is. */
static void print_tables(struct cli *cli, const json_t *tables)
{
	if (json_array_size(tables) == 0 || cli_option(cli, "json"))
		return;
	table_print(cli, table_columns, tables);
	say("\n");
}

/* What was given up is in the list as far as it is content of its own; names, and content of small files, stand in records, which are gone. */
static int print_repairs_left(const struct cli *cli, bool any_place)
{
	json_t *repairs = json_array();
	struct error err = {0};
	const int result = repairs_left(cli, repairs, &err);
	const json_t *name;
	size_t i;

	if (result == 0 && !any_place && json_array_size(repairs) == 0)
		say("no damage is known; corpusfs scrub and corpusfs check look for it\n");
	json_array_foreach (repairs, i, name)
		say("names and small files that the repair that left %s gave up are not listed here: corpusfs check names those that are missed\n",
		    json_string_value(name));
	json_decref(repairs);
	return result < 0 ? exit_with(&err) : EXIT_OK;
}

static int run_damage(struct cli *cli)
{
	struct places places = {.table = table_begin(cli, damage_columns, "places")};
	json_t *value;
	json_int_t count;
	bool all;
	int code = run_op_rows(cli, "damage.list", json_object(), place_row, &places, &value);

	print_waiting(&places);
	if (code != EXIT_OK) {
		table_clear(&places.table);
		return code;
	}
	print_tables(cli, json_object_get(value, "tables"));
	count = json_integer_value(json_object_get(value, "count"));
	count += (json_int_t)json_array_size(json_object_get(value, "tables"));
	all = json_is_true(json_object_get(value, "all"));
	table_end(&places.table, value);
	if (json_integer_value(json_object_get(value, "chunks")) > 0 && !cli_option(cli, "json"))
		say("\ncorpusfs repair --from DIRECTORY, ARCHIVE, STORE or REPOSITORY looks there for the content that is lost, and heals it in all of these\n");
	if (!cli_option(cli, "json"))
		code = print_repairs_left(cli, count > 0);
	if (!all)
		fprintf(stderr, "corpusfs: there are more places than these\n");
	json_decref(value);
	if (code != EXIT_OK)
		return code;
	return count > 0 ? EXIT_DAMAGED : EXIT_OK;
}

static const struct option scrub_options[] = {
	{0, "restart", NULL, "from the beginning, although one was stopped half-way"},
	{0, "rate", "SIZE", "read at most so much a second"},
	OPTION_JSON,
	OPTIONS_END,
};
static const struct option json_options[] = {OPTION_JSON, OPTIONS_END};

const struct command verify_commands[] = {
	{.name = "scrub",
	 .operands = "",
	 .summary = "read everything, and find what is damaged",
	 .details = "Reads all tables and hashes all content that files refer to. Others who want the\n"
		    "disk come first. It can be stopped; the next one goes on from there. What is\n"
		    "damaged stays listed: see `corpusfs damage`. Exit code 7: something is.\n",
	 .options = scrub_options,
	 .run = run_scrub},
	{.name = "scrub schedule",
	 .operands = "[daily|weekly|monthly|off]",
	 .summary = "scrub by the clock",
	 .details = "The daemon scrubs while the store is mounted, slowly. Without an operand: shows\n"
		    "what is set.\n",
	 .max = 1,
	 .options = json_options,
	 .run = run_schedule},
	{.name = "damage",
	 .operands = "",
	 .summary = "which files are hurt by known damage",
	 .details = "Lists the parts of files, in all datasets and snapshots, that cannot be read, and\n"
		    "what brings a file of a dataset back where a snapshot or a clone has it whole.\n"
		    "The same part in many snapshots is one line; with --json each is there.\n"
		    "What was not read since it was damaged is found by `corpusfs scrub`. Exit code 7:\n"
		    "something is hurt.\n",
	 .options = json_options,
	 .run = run_damage},
	{NULL},
};
