/* Backups and drills of a store that are late, told by commands that look at a repository. */
#ifndef CORPUSFS_CLI_LATE_H
#define CORPUSFS_CLI_LATE_H

#include "fs/cli/command.h"

/*
 * A line on standard error for each that the store has planned, in the repository (as repository_absolute() has it) and of the dataset; NULL: in any,
 * of any. `store` NULL: the one that is named. Without one, or where it is in use by another command just now, nothing is told.
 */
void late_tell(const struct cli *cli, const char *store, const char *repository, const char *dataset);

#endif
