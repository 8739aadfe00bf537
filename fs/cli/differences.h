/*
 * The answer of operation "diff", printed for people or programs while it comes.
 *
 *   differences_begin -> differences_row ... -> differences_end
 */
#ifndef CORPUSFS_CLI_DIFFERENCES_H
#define CORPUSFS_CLI_DIFFERENCES_H

#include "fs/cli/command.h"
#include "fs/cli/json_rows.h"

struct differences {
	bool as_json, as_sums;
	struct json_rows json;
};

/* As JSON with option --json, as one line of sums with --stat, else one line for each difference. */
struct differences differences_begin(const struct cli *cli);
int differences_row(void *differences, json_t *row); /* always 0; for run_op_rows */
void differences_end(struct differences *differences, const json_t *result);
bool differences_any(const json_t *result);

#endif
