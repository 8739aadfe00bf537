#include "fs/cli/backup_rows.h"

#include <stdio.h>

#include "fs/cli/exit.h"
#include "fs/cli/repository.h"
#include "fs/cli/table.h"

static const struct column list_columns[] = {
	{"short", "BACKUP", COLUMN_TEXT},      {"taken", "TAKEN", COLUMN_TIME}, {"dataset", "DATASET", COLUMN_TEXT},
	{"snapshot", "SNAPSHOT", COLUMN_TEXT}, {"type", "TYPE", COLUMN_TEXT},   {"base_short", "BASE", COLUMN_TEXT},
	{"state", "STATE", COLUMN_TEXT},       {"holds", "HELD BY", COLUMN_LIST},
	{NULL, NULL, COLUMN_TEXT},
};

static bool is_damaged(const json_t *row)
{
	return json_is_true(json_object_get(row, "damaged"));
}

static const char *state_of(const json_t *row)
{
	return is_damaged(row) ? "damaged" : json_is_true(json_object_get(row, "incomplete")) ? "incomplete" : "complete";
}

void backup_rows_print(struct cli *cli, json_t *rows)
{
	json_t *row;
	size_t i;

	json_array_foreach(rows, i, row) {
		const char *base = json_string_value(json_object_get(row, "base"));

		if (cli_option(cli, "json"))
			break;
		repository_add_short(row);
		json_object_set_new(row, "state", json_string(state_of(row)));
		if (base)
			json_object_set_new(row, "base_short", json_stringn(base, 8));
	}
	table_print(cli, list_columns, rows);
}

int backup_rows_damaged(const char *place, const json_t *rows)
{
	const json_t *row;
	int code = EXIT_OK;
	size_t i;

	json_array_foreach(rows, i, row) {
		if (!is_damaged(row))
			continue;
		fprintf(stderr, "corpusfs: snapshot file %.8s is damaged, and its backup lost; corpusfs backup forget %s %.8s removes it\n",
			json_string_value(json_object_get(row, "backup")), place, json_string_value(json_object_get(row, "backup")));
		code = EXIT_DAMAGED;
	}
	return code;
}
