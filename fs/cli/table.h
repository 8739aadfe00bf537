/*
 * Results for people: rows of JSON objects as a table, or one object as lines; the same as JSON for programs, with option --json.
 *
 *   table_begin -> table_row ... -> table_end or table_clear
 *
 * Rows are printed while they come. As many as fill some screens decide how wide the columns are; what comes after them and is wider is
 * printed as it is.
 */
#ifndef CORPUSFS_CLI_TABLE_H
#define CORPUSFS_CLI_TABLE_H

#include <jansson.h>

#include "fs/cli/json_rows.h"
#include "fs/cli/command.h"
#include "lib/base/array.h"

enum column_kind { COLUMN_TEXT, COLUMN_NUMBER, COLUMN_BYTES, COLUMN_TIME, COLUMN_FLAG, COLUMN_LIST };

/* Tables of columns end with a NULL key. */
struct column {
	const char *key, *title;
	enum column_kind kind;
};

#define TABLE_COLUMNS_MAX 16

struct table {
	const struct column *columns;
	bool as_json;
	struct json_rows json;
	ARRAY(json_t *) waiting; /* rows, until the widths are known */
	bool begun;
	int widths[TABLE_COLUMNS_MAX];
};

/* `name`: what the rows are called in the JSON object; NULL: the JSON is an array. */
struct table table_begin(const struct cli *cli, const struct column *columns, const char *name);
int table_row(void *table, json_t *row);                       /* always 0; for run_op_rows */
void table_end(struct table *table, const json_t *result);     /* prints the rest, and clears */
void table_clear(struct table *table);                         /* after a failure: what came is printed, an end is not */

/* Runs an operation and prints its rows as they come, with option --json as an array. Returns the exit code. Takes over `args`. */
int table_run(const struct cli *cli, const struct column *columns, const char *op, json_t *args);

void table_print(const struct cli *cli, const struct column *columns, const json_t *rows); /* all at once */
void table_print_object(const struct cli *cli, const struct column *columns, const json_t *object);

#endif
