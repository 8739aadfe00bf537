/* Help, made from the tables of commands; lines of at most 80 columns, to standard output. */
#ifndef CORPUSFS_CLI_HELP_H
#define CORPUSFS_CLI_HELP_H

#include "fs/cli/command.h"

void help_overview(const struct command_group *groups);
void help_prefix(const struct command_group *groups, const char *word); /* the commands that begin with the word */
void help_command(const struct command *command);

#endif
