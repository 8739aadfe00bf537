/* Backups of a repository as a table, from rows of backup.list and backup.forget. */
#ifndef CORPUSFS_CLI_BACKUP_ROWS_H
#define CORPUSFS_CLI_BACKUP_ROWS_H

#include <jansson.h>

#include "fs/cli/command.h"

/* As a table, or as JSON. The rows get members more. */
void backup_rows_print(struct cli *cli, json_t *rows);

/* Tells of those whose file is damaged. Returns the exit code. */
int backup_rows_damaged(const char *place, const json_t *rows);

#endif
