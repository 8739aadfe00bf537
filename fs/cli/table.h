/* Results for people: rows of JSON objects as a table, or one object as lines; the same rows as JSON for programs. */
#ifndef CORPUSFS_CLI_TABLE_H
#define CORPUSFS_CLI_TABLE_H

#include <jansson.h>

#include "fs/cli/command.h"

enum column_kind { COLUMN_TEXT, COLUMN_NUMBER, COLUMN_BYTES, COLUMN_TIME, COLUMN_FLAG, COLUMN_LIST };

struct column {
	const char *key, *title;
	enum column_kind kind;
};

/* Tables of columns end with a NULL key. With option --json the rows are printed as they are. */
void table_print(const struct cli *cli, const struct column *columns, const json_t *rows);
void table_print_object(const struct cli *cli, const struct column *columns, const json_t *object);

#endif
