#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/cli/command.h"
#include "fs/cli/exit.h"
#include "fs/cli/hint.h"
#include "fs/cli/repairs_left.h"
#include "fs/cli/run.h"
#include "fs/cli/say.h"
#include "fs/cli/table.h"
#include "lib/ops/json.h"

static const struct column problem_columns[] = {
	{"rule", "RULE", COLUMN_TEXT},     {"name", "ABOUT", COLUMN_TEXT},   {"dataset", "DATASET", COLUMN_TEXT},
	{"snapshot", "SNAPSHOT", COLUMN_TEXT}, {"inode", "INODE", COLUMN_NUMBER}, {"path", "PATH", COLUMN_TEXT},
	{"text", "WHAT", COLUMN_TEXT},
	{NULL, NULL, COLUMN_TEXT},
};

#define SHOWN 50 /* of each rule: one lost directory may mean a million names */

/* Rules are K0, K1, ... */
#define RULES_MAX 64

struct checking {
	struct table table;
	bool all;
	uint64_t left_out[RULES_MAX], shown[RULES_MAX];
};

static int note_problem(void *arg, json_t *row)
{
	struct checking *checking = arg;
	const char *rule = json_string_value(json_object_get(row, "rule"));
	const unsigned long number = rule && rule[0] == 'K' ? strtoul(rule + 1, NULL, 10) : 0;

	if (!checking->all && number < RULES_MAX && checking->shown[number]++ >= SHOWN) {
		checking->left_out[number]++;
		return 0;
	}
	return table_row(&checking->table, row);
}

static void print_left_out(const struct checking *checking)
{
	bool any = false;

	for (unsigned i = 0; i < RULES_MAX; i++) {
		if (checking->left_out[i] > 0)
			say("and %llu more of rule K%u\n", (unsigned long long)checking->left_out[i], i);
		any |= checking->left_out[i] > 0;
	}
	if (any)
		say("all are listed with --all or --json\n");
}

static void print_repairs(const json_t *names)
{
	const json_t *name;
	size_t i;

	json_array_foreach (names, i, name)
		say("if the repair that left %s gave something up, that is missed here only where something else names it: compare with a backup\n",
		    json_string_value(name));
}

static int run_check(struct cli *cli)
{
	struct checking checking = {.table = table_begin(cli, problem_columns, "problems"), .all = cli_option(cli, "all") || cli_option(cli, "json")};
	struct table *table = &checking.table;
	struct error err = {0};
	json_t *value = NULL;
	int code = run_op_rows(cli, "check.run", json_object(), note_problem, &checking, &value);
	bool unreadable;

	if (code != EXIT_OK) {
		table_clear(table);
		return code;
	}
	const json_int_t problems = json_integer_value(json_object_get(value, "found"));
	json_t *repairs = json_array();
	if (repairs_left(cli, repairs, &err) < 0)
		code = exit_with(&err);
	json_object_set_new(value, "repairs", repairs);
	if (problems > 0 || table->as_json)
		table_end(table, value);
	else
		table_clear(table);
	if (problems == 0 && !table->as_json)
		say("checked %lld inodes in %lld datasets and snapshots: all is as it must be\n",
		    (long long)json_integer_value(json_object_get(value, "inodes")),
		    (long long)json_integer_value(json_object_get(value, "views")));
	print_left_out(&checking);
	if (!table->as_json)
		print_repairs(json_object_get(value, "repairs"));
	unreadable = json_integer_value(json_object_get(value, "unreadable")) > 0;
	json_decref(value);
	if (problems == 0)
		return code;
	(void)error_set(&err, -EBADMSG, "%lld problem%s", (long long)problems, problems == 1 ? "" : "s");
	error_hint(&err, "%s", unreadable ? "corpusfs repair mends damaged tables, when the store is not mounted"
					  : "snapshots without them are whole: corpusfs rollback, or copy from them");
	hint_name_store(&err, cli->store);
	return exit_with(&err);
}

static const struct option check_options[] = {
	{'a', "all", NULL, "every problem, not the first ones of each rule"},
	OPTION_JSON,
	OPTIONS_END,
};

const struct command check_commands[] = {
	{.name = "check",
         .operands = "",
         .summary = "check what must hold of the metadata",
         .details = "Looks at names, links, attributes and the layout of files in every dataset and\n"
                    "snapshot, at what is stored for them, and at the lists and indexes of the store,\n"
                    "mounted or not, and changes nothing. What is wrong with a file in many snapshots\n"
                    "alike is told once; of each rule the first 50 are listed, and how many more\n"
                    "there are. Content is for corpusfs scrub.\n"
                    "Exit code 7: something is not as it must be.\n",
         .options = check_options,
         .run = run_check},
	{NULL},
};
