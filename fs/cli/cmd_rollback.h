/* Command "rollback", which stands in the table of snapshots. */
#ifndef CORPUSFS_CLI_CMD_ROLLBACK_H
#define CORPUSFS_CLI_CMD_ROLLBACK_H

#include "fs/cli/command.h"

extern const struct option rollback_options[];
extern const char rollback_details[];
int cmd_rollback(struct cli *cli);

#endif
