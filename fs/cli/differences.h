/* The result of operation "diff", printed for people or programs. */
#ifndef CORPUSFS_CLI_DIFFERENCES_H
#define CORPUSFS_CLI_DIFFERENCES_H

#include <jansson.h>

#include "fs/cli/command.h"

/* As JSON with option --json, as one line of sums with --stat, else one line for each difference. */
void differences_print(const struct cli *cli, const json_t *result);
bool differences_any(const json_t *result);

#endif
