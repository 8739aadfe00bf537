#include "fs/cli/table.h"

#include <stdio.h>
#include <string.h>
#include <wchar.h>

#include "fs/cli/units.h"
#include "lib/base/buf.h"

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
	return xstrdup((const char *)text.data);
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
	return json_is_string(value) ? xstrdup(json_string_value(value)) : json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
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

static bool print_json(const struct cli *cli, const json_t *value)
{
	if (!cli_option(cli, "json"))
		return false;
	json_dumpf(value, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
	printf("\n");
	return true;
}

void table_print(const struct cli *cli, const struct column *columns, const json_t *rows)
{
	size_t count = json_array_size(rows), width_count = 0;
	AUTO_FREE int *widths = NULL;

	if (print_json(cli, rows) || count == 0)
		return;
	while (columns[width_count].key)
		width_count++;
	widths = xcalloc(width_count, sizeof(*widths));
	for (size_t c = 0; c < width_count; c++) {
		widths[c] = text_width(columns[c].title);
		for (size_t i = 0; i < count; i++) {
			AUTO_FREE char *text = cell_text(&columns[c], json_array_get(rows, i));
			widths[c] = MAX(widths[c], text_width(text));
		}
	}
	for (size_t c = 0; c < width_count; c++)
		print_cell(&columns[c], columns[c].title, widths[c]);
	for (size_t i = 0; i < count; i++)
		for (size_t c = 0; c < width_count; c++) {
			AUTO_FREE char *text = cell_text(&columns[c], json_array_get(rows, i));
			print_cell(&columns[c], text, widths[c]);
		}
}

void table_print_object(const struct cli *cli, const struct column *columns, const json_t *object)
{
	int width = 0;

	if (print_json(cli, object))
		return;
	for (const struct column *column = columns; column->key; column++)
		width = MAX(width, text_width(column->title));
	for (const struct column *column = columns; column->key; column++) {
		AUTO_FREE char *text = cell_text(column, object);
		printf("%-*s  %s\n", width, column->title, text);
	}
}
