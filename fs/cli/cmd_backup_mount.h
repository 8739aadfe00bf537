/* Mounts of what is in a repository, for the two commands that make them. */
#ifndef CORPUSFS_CLI_CMD_BACKUP_MOUNT_H
#define CORPUSFS_CLI_CMD_BACKUP_MOUNT_H

#include "fs/cli/command.h"

/* The operands are a repository, or what was published in a remote, and the mountpoint. Returns the exit code. */
int backup_mount_run(struct cli *cli);

#endif
