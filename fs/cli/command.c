#include "fs/cli/command.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/similar.h"

const struct command *command_find(const struct command_group *groups, int count, char *const *words, int *ret_words)
{
	char name[64];

	for (int used = MIN(count, 3); used > 0; used--) {
		snprintf(name, sizeof(name), "%s%s%s%s%s", words[0], used > 1 ? " " : "", used > 1 ? words[1] : "", used > 2 ? " " : "",
		         used > 2 ? words[2] : "");
		for (const struct command_group *group = groups; group->title; group++)
			for (const struct command *command = group->commands; command->name; command++)
				if (strcmp(command->name, name) == 0) {
					*ret_words = used;
					return command;
				}
	}
	return NULL;
}

bool command_is_prefix(const struct command_group *groups, const char *word)
{
	size_t len = strlen(word);

	for (const struct command_group *group = groups; group->title; group++)
		for (const struct command *command = group->commands; command->name; command++)
			if (strncmp(command->name, word, len) == 0 && command->name[len] == ' ')
				return true;
	return false;
}

const char *cli_option(const struct cli *cli, const char *name)
{
	for (int i = cli->given_count - 1; i >= 0; i--) {
		const struct option *option = cli->given[i].option;
		bool same = option->name ? strcmp(option->name, name) == 0 : name[0] == option->letter && !name[1];
		if (same)
			return cli->given[i].value;
	}
	return NULL;
}

static int note(struct cli *cli, const struct option *option, const char *value, struct error *err)
{
	if (cli->given_count == OPTIONS_MAX * 2)
		return error_set(err, -EINVAL, "too many options");
	cli->given[cli->given_count++] = (struct given){.option = option, .value = value ? value : ""};
	return 0;
}

static int unknown(const struct cli *cli, const char *text, struct error *err)
{
	AUTO_FREE char *name = xasprintf("%.*s", (int)strcspn(text, "="), text);
	struct similar similar = {.wanted = name};

	for (const struct option *option = cli->command->options; option && (option->name || option->letter); option++) {
		AUTO_FREE char *known = option->name ? xasprintf("--%s", option->name) : NULL;
		if (known && strncmp(text, "--", 2) == 0)
			similar_try(&similar, known);
	}
	error_set(err, -EINVAL, "%s has no option %s", cli->command->name, text);
	if (similar.best[0])
		error_hint(err, "did you mean %s? corpusfs help %s lists them", similar.best, cli->command->name);
	else
		error_hint(err, "corpusfs help %s lists them", cli->command->name);
	return -EINVAL;
}

static const struct option store_option = {'s', "store", "STORE", ""};
static const struct option help_option = {'h', "help", NULL, ""};
static const struct option owner_option = {0, "as-owner", NULL, ""};

static const struct option *find_option(const struct cli *cli, char letter, const char *name, size_t len)
{
	const struct option *common[] = {&store_option, &help_option, &owner_option};

	for (const struct option *option = cli->command->options; option && (option->name || option->letter); option++)
		if (name ? option->name && strlen(option->name) == len && memcmp(option->name, name, len) == 0
		         : option->letter == letter)
			return option;
	for (size_t i = 0; i < ARRAY_SIZE(common); i++)
		if (name ? strlen(common[i]->name) == len && memcmp(common[i]->name, name, len) == 0
		         : common[i]->letter == letter)
			return common[i];
	return NULL;
}

static int parse_long(struct cli *cli, const char *text, const char *next, int *ret_used, struct error *err)
{
	size_t len = strcspn(text + 2, "=");
	const char *value = text[2 + len] ? text + 3 + len : NULL;
	const struct option *option = find_option(cli, 0, text + 2, len);

	if (!option)
		return unknown(cli, text, err);
	if (value && !option->value)
		return error_set(err, -EINVAL, "option --%s takes no value", option->name);
	if (!value && option->value) {
		if (!next)
			return error_set(err, -EINVAL, "option --%s needs a value", option->name);
		value = next;
		*ret_used = 2;
	}
	return note(cli, option, value, err);
}

/* "-f", "-fo ro", "-oro" */
static int parse_letters(struct cli *cli, const char *text, const char *next, int *ret_used, struct error *err)
{
	for (const char *at = text + 1; *at; at++) {
		const struct option *option = find_option(cli, *at, NULL, 0);
		int result;
		if (!option)
			return unknown(cli, text, err);
		if (option->value && at[1])
			return note(cli, option, at + 1, err);
		if (option->value && !next)
			return error_set(err, -EINVAL, "option -%c needs a value", option->letter);
		if (option->value)
			*ret_used = 2;
		result = note(cli, option, option->value ? next : NULL, err);
		if (result < 0)
			return result;
	}
	return 0;
}

static int check_operands(const struct cli *cli, struct error *err)
{
	const struct command *command = cli->command;

	for (int i = 0; i < cli->argc; i++)
		if (!*cli->argv[i])
			return error_set(err, -EINVAL, "%s: an argument is empty", command->name);
	if (cli->argc >= command->min && (command->max < 0 || cli->argc <= command->max))
		return 0;
	error_set(err, -EINVAL, "%s: %s", command->name,
	          cli->argc < command->min ? "something is missing" : "too many arguments");
	error_hint(err, "usage: corpusfs %s %s", command->name, command->operands);
	return -EINVAL;
}

int cli_parse(struct cli *cli, int argc, char **argv, bool *ret_help, struct error *err)
{
	bool options_over = false;

	cli->argv = argv;
	cli->argc = 0;
	for (int i = 0; i < argc;) {
		char *text = argv[i];
		int used = 1, result = 0;
		if (!options_over && strcmp(text, "--") == 0)
			options_over = true;
		else if (!options_over && strncmp(text, "--", 2) == 0)
			result = parse_long(cli, text, argv[i + 1], &used, err);
		else if (!options_over && text[0] == '-' && text[1])
			result = parse_letters(cli, text, argv[i + 1], &used, err);
		else
			argv[cli->argc++] = text;
		if (result < 0)
			return result;
		i += used;
	}
	if (cli_option(cli, "store"))
		cli->store = cli_option(cli, "store");
	if (cli_option(cli, "as-owner"))
		cli->as_owner = true;
	*ret_help = cli_option(cli, "help") != NULL;
	return *ret_help ? 0 : check_operands(cli, err);
}
