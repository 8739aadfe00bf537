/* Healing, and making the backups and drills that are due, for `corpusfs tick`. */
#ifndef CORPUSFS_CLI_CMD_BACKUP_SCHEDULE_H
#define CORPUSFS_CLI_CMD_BACKUP_SCHEDULE_H

#include "fs/cli/command.h"

/* Does so one after the other, notes in the store how each went, and prints it. The exit code; EXIT_OK if nothing was due. */
int backup_tick(struct cli *cli);

#endif
