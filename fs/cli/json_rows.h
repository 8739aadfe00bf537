/*
 * An answer with rows as JSON on standard output, printed while the rows come: [ROW, ...], or {"NAME": [ROW, ...], ...} with what the
 * result has beside them. An answer that breaks off is left without its end, so that no parser takes it for all.
 *
 *   json_rows_add ... -> json_rows_end
 */
#ifndef CORPUSFS_CLI_JSON_ROWS_H
#define CORPUSFS_CLI_JSON_ROWS_H

#include <jansson.h>

struct json_rows {
	const char *name; /* of the rows in the object that is printed; NULL: there is no object */
	size_t count;
};

void json_rows_add(struct json_rows *rows, const json_t *row);
void json_rows_end(struct json_rows *rows, const json_t *result); /* the members of the result follow */

void json_print(const json_t *value); /* one that has no rows */

#endif
