/*
 * What a command is: an entry of a table, from which parsing and help are made (commands.h has all tables). A command reads its operands and
 * options from the struct cli that it is given and returns an exit code; errors are printed once, by exit_with.
 */
#ifndef CORPUSFS_CLI_COMMAND_H
#define CORPUSFS_CLI_COMMAND_H

#include <stdbool.h>

#include "lib/base/error.h"

struct option {
	char letter;       /* 0: none */
	const char *name;  /* "note" for --note; NULL: the letter only */
	const char *value; /* what help calls its value; NULL: a flag */
	const char *help;
};

#define OPTIONS_END                                                                                                              \
	{                                                                                                                        \
		0, NULL, NULL, NULL                                                                                              \
	}
#define OPTIONS_MAX 16
#define OPTION_JSON                                                                                                              \
	{                                                                                                                        \
		0, "json", NULL, "print JSON for programs"                                                                       \
	}

struct cli;

struct command {
	const char *name;             /* one to three words: "dataset create" */
	const char *operands;         /* for help: "DATASET NEW" */
	const char *summary;          /* one line */
	const char *details;          /* more for `help NAME`; lines of at most 80 columns, may be NULL */
	int min, max;                 /* number of operands; max -1: any */
	const struct option *options; /* ends with OPTIONS_END; may be NULL */
	int (*run)(struct cli *cli);
};

struct given {
	const struct option *option;
	const char *value;
};

struct command_group {
	const char *title;
	const struct command *commands; /* ends with an entry whose name is NULL */
};

struct cli {
	const struct command_group *groups; /* all commands there are; ends with a NULL title */
	const char *store;                  /* -s, or that of a mount in which a path lies (place.h); NULL: none is named */
	char *found_store;                  /* owned: the latter */
	bool as_owner;                      /* --as-owner */
	struct json_t *remote;              /* owned: of the repository that was opened last (remotes.h); NULL: it has no name */
	bool quiet;                         /* called by mount(8): success is not told */
	const struct command *command;
	int argc; /* operands */
	char **argv;
	struct given given[OPTIONS_MAX * 2];
	int given_count;
};

/* The command named by the first words; ret_words says how many they are. NULL: none. */
const struct command *command_find(const struct command_group *groups, int count, char *const *words, int *ret_words);
bool command_is_prefix(const struct command_group *groups, const char *word); /* "dataset" */

/*
 * The value of an option (the last one given), "" for a flag, NULL when it was not given. `name` is the long name, or
 * the letter.
 */
const char *cli_option(const struct cli *cli, const char *name);

/* -EINVAL with a text. argv holds what follows the command's name; operands are gathered at its start. */
WARN_UNUSED int cli_parse(struct cli *cli, int argc, char **argv, bool *ret_help, struct error *err);

#endif
