/* `corpusfs repair --from` and `--undo`: content that is healed from elsewhere. */
#ifndef CORPUSFS_CLI_CMD_REPAIR_CONTENT_H
#define CORPUSFS_CLI_CMD_REPAIR_CONTENT_H

#include "fs/cli/command.h"

int repair_content(struct cli *cli);
int repair_undo_content(struct cli *cli);

#endif
