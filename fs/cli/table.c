#include "fs/cli/table.h"

#include <stdio.h>
#include <string.h>
#include <wchar.h>

#include "fs/cli/exit.h"
#include "fs/cli/run.h"
#include "fs/cli/units.h"
#include "lib/base/escape.h"

/* Columns that text takes on a terminal: characters of other scripts may be wide. */
static int text_width(const char *text)
{
	size_t len = mbstowcs(NULL, text, 0);
	AUTO_FREE wchar_t *wide = NULL;
	int width;

	if (len == (size_t)-1)
		return (int)strlen(text);
	wide = xcalloc(len + 1, sizeof(*wide));
	mbstowcs(wide, text, len + 1);
	width = wcswidth(wide, len);
	return width < 0 ? (int)strlen(text) : width;
}

static char *list_text(const json_t *list)
{
	AUTO_BUF text = BUF_INIT;
	json_t *item;
	size_t i;

	buf_addf(&text, "%s", "");
	json_array_foreach (list, i, item)
		buf_addf(&text, "%s%s", i > 0 ? ", " : "", json_string_value(item) ? json_string_value(item) : "");
	return escape_text((const char *)text.data, ESCAPE_CONTROL);
}

static char *cell_text(const struct column *column, const json_t *row)
{
	const json_t *value = json_object_get(row, column->key);
	char text[UNITS_MAX];

	if (!value || json_is_null(value))
		return xstrdup("-");
	switch (column->kind) {
	case COLUMN_BYTES: units_size((uint64_t)json_integer_value(value), text); return xstrdup(text);
	case COLUMN_TIME: units_time(json_number_value(value), text); return xstrdup(text);
	case COLUMN_NUMBER: return xasprintf("%lld", (long long)json_integer_value(value));
	case COLUMN_FLAG: return xstrdup(json_is_true(value) ? "yes" : "no");
	case COLUMN_LIST: return list_text(value);
	case COLUMN_TEXT: break;
	}
	return json_is_string(value) ? escape_text(json_string_value(value), ESCAPE_CONTROL)
	                             : json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
}

static bool right_aligned(const struct column *column)
{
	return column->kind == COLUMN_NUMBER || column->kind == COLUMN_BYTES;
}

static void print_cell(const struct column *column, const char *text, int width)
{
	int pad = width - text_width(text);
	bool last = !column[1].key;

	if (right_aligned(column))
		printf("%*s%s", pad, "", text);
	else
		printf("%s%*s", text, last ? 0 : pad, "");
	printf(last ? "\n" : "  ");
}

/* --- a table --- */

#define FIT_ROWS 200 /* that decide about the widths */

struct table table_begin(const struct cli *cli, const struct column *columns, const char *name)
{
	return (struct table){.columns = columns, .as_json = cli_option(cli, "json") != NULL, .json = {.name = name}};
}

static void fit(struct table *table, const json_t *row)
{
	for (size_t i = 0; table->columns[i].key; i++) {
		AUTO_FREE char *text = row ? cell_text(&table->columns[i], row) : xstrdup(table->columns[i].title);
		table->widths[i] = MAX(table->widths[i], text_width(text));
	}
}

static void print_row(const struct table *table, const json_t *row)
{
	for (size_t i = 0; table->columns[i].key; i++) {
		AUTO_FREE char *text = row ? cell_text(&table->columns[i], row) : xstrdup(table->columns[i].title);
		print_cell(&table->columns[i], text, table->widths[i]);
	}
}

static void print_waiting(struct table *table)
{
	if (table->begun || table->waiting.count == 0)
		return;
	table->begun = true;
	fit(table, NULL);
	for (size_t i = 0; i < table->waiting.count; i++)
		fit(table, table->waiting.items[i]);
	print_row(table, NULL);
	for (size_t i = 0; i < table->waiting.count; i++)
		print_row(table, table->waiting.items[i]);
}

int table_row(void *arg, json_t *row)
{
	struct table *table = arg;

	if (table->as_json) {
		json_rows_add(&table->json, row);
	} else if (table->begun) {
		print_row(table, row);
	} else {
		array_add(&table->waiting, json_incref(row));
		if (table->waiting.count == FIT_ROWS)
			print_waiting(table);
	}
	return 0;
}

void table_clear(struct table *table)
{
	if (!table->as_json)
		print_waiting(table);
	for (size_t i = 0; i < table->waiting.count; i++)
		json_decref(table->waiting.items[i]);
	array_clear(&table->waiting);
}

void table_end(struct table *table, const json_t *result)
{
	if (table->as_json)
		json_rows_end(&table->json, result);
	table_clear(table);
}

int table_run(const struct cli *cli, const struct column *columns, const char *op, json_t *args)
{
	struct table table = table_begin(cli, columns, NULL);
	int code = run_op_rows(cli, op, args, table_row, &table, NULL);

	if (code == EXIT_OK)
		table_end(&table, NULL);
	else
		table_clear(&table);
	return code;
}

void table_print(const struct cli *cli, const struct column *columns, const json_t *rows)
{
	struct table table = table_begin(cli, columns, NULL);
	json_t *row;
	size_t i;

	json_array_foreach ((json_t *)rows, i, row)
		table_row(&table, row);
	table_end(&table, NULL);
}

void table_print_object(const struct cli *cli, const struct column *columns, const json_t *object)
{
	int width = 0;

	if (cli_option(cli, "json")) {
		json_print(object);
		return;
	}
	for (const struct column *column = columns; column->key; column++)
		width = MAX(width, text_width(column->title));
	for (const struct column *column = columns; column->key; column++) {
		AUTO_FREE char *text = cell_text(column, object);
		printf("%-*s  %s\n", width, column->title, text);
	}
}
