#include "fs/cli/json_rows.h"

#include <stdio.h>

static void begin(const struct json_rows *rows)
{
	if (rows->name)
		printf("{\"%s\": [", rows->name);
	else
		printf("[");
}

void json_rows_add(struct json_rows *rows, const json_t *row)
{
	if (rows->count++ == 0)
		begin(rows);
	else
		printf(",");
	printf("\n  ");
	json_dumpf(row, stdout, 0);
}

void json_rows_end(struct json_rows *rows, const json_t *result)
{
	const char *key;
	json_t *value;

	if (rows->count == 0)
		begin(rows);
	printf(rows->count > 0 ? "\n]" : "]");
	if (rows->name) {
		json_object_foreach ((json_t *)result, key, value) {
			printf(",\n\"%s\": ", key);
			json_dumpf(value, stdout, JSON_ENCODE_ANY);
		}
		printf("}");
	}
	printf("\n");
}

void json_print(const json_t *value)
{
	json_dumpf(value, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
	printf("\n");
}
