/* Backups and drills that are late or failed, told by commands that look at a repository. */
#ifndef CORPUSFS_CLI_LATE_H
#define CORPUSFS_CLI_LATE_H

#include <jansson.h>

#include "fs/cli/command.h"

/*
 * What backup.status says of the store; NULL: of the one that is named. The caller's; NULL where none is named, or another command uses it just now: nobody
 * waits for what is only a note.
 */
json_t *late_ask(const struct cli *cli, const char *store);

/*
 * A line on standard error for each backup or drill that is planned in the repository, as repository_absolute() has it, or of the dataset; the other is
 * NULL. `status` may be NULL.
 */
void late_tell(const json_t *status, const char *repository, const char *dataset);
/* The same if the last drill of the repository by hand failed. */
void late_tell_drill(const json_t *status, const char *repository);

#endif
