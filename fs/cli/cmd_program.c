#include <errno.h>
#include <stdio.h>

#include "fs/cli/command.h"
#include "fs/cli/exit.h"
#include "fs/cli/help.h"
#include "fs/cli/say.h"
#include "lib/base/buf.h"

static int run_version(struct cli *cli)
{
	say("corpusfs %s\n", CORPUSFS_VERSION);
	return EXIT_OK;
}

static int run_help(struct cli *cli)
{
	struct error err = {0};
	int words = 0;
	const struct command *command = command_find(cli->groups, cli->argc, cli->argv, &words);

	if (cli->argc == 0) {
		help_overview(cli->groups);
	} else if (command && words == cli->argc) {
		help_command(command);
	} else if (cli->argc == 1 && command_is_prefix(cli->groups, cli->argv[0])) {
		help_prefix(cli->groups, cli->argv[0]);
	} else {
		AUTO_BUF words_text = BUF_INIT;
		for (int i = 0; i < cli->argc; i++)
			buf_addf(&words_text, "%s%s", i > 0 ? " " : "", cli->argv[i]);
		error_set(&err, -EINVAL, "there is no command \"%.*s\"", (int)words_text.len, (const char *)words_text.data);
		error_hint(&err, "corpusfs -h lists them");
		return exit_with(&err);
	}
	return EXIT_OK;
}

const struct command program_commands[] = {
	{.name = "version", .operands = "", .summary = "print the version", .run = run_version},
	{.name = "help", .operands = "[COMMAND]", .summary = "explain a command", .max = 3, .run = run_help},
	{NULL},
};
