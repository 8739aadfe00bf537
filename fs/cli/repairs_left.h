/*
 * The databases that repairs have left in a store. What such a repair gave up may have named whole files, and nothing is left that misses them; what
 * something still names, `corpusfs check` misses.
 */
#ifndef CORPUSFS_CLI_REPAIRS_LEFT_H
#define CORPUSFS_CLI_REPAIRS_LEFT_H

#include <jansson.h>

#include "fs/cli/command.h"

/* Adds their names. Errors: those of finding and listing the store. */
WARN_UNUSED int repairs_left(const struct cli *cli, json_t *names, struct error *err);

#endif
