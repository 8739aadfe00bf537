/* Looking for what is damaged in the store's own backups (lib/verify/heal_plan.h), for `corpusfs tick`. */
#ifndef CORPUSFS_CLI_HEAL_TICK_H
#define CORPUSFS_CLI_HEAL_TICK_H

#include "fs/cli/command.h"

/* Does it if it is due, notes in the store how it went, and prints it. The exit code: EXIT_OK, also of damage that no place can heal. */
int heal_tick(struct cli *cli, const char *store);

#endif
