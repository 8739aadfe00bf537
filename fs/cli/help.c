#include "fs/cli/help.h"

#include <stdio.h>
#include <string.h>

#define SUMMARY_COLUMN 34
#define OPTION_COLUMN 26

static void print_pair(const char *left, const char *right, int column)
{
	if ((int)strlen(left) + 2 > column)
		printf("%s\n%*s%s\n", left, column, "", right);
	else
		printf("%-*s%s\n", column, left, right);
}

static void print_line(const struct command *command)
{
	char left[128];

	snprintf(left, sizeof(left), "  %s%s%s", command->name, command->operands[0] ? " " : "", command->operands);
	print_pair(left, command->summary, SUMMARY_COLUMN);
}

void help_overview(const struct command_group *groups)
{
	printf("usage: corpusfs [-s STORE] COMMAND [ARGUMENTS]\n\n"
	       "Data sets in a store with instant snapshots, mounted as a filesystem.\n");
	for (const struct command_group *group = groups; group->title; group++) {
		if (group->title[0])
			printf("\n%s\n", group->title);
		for (const struct command *command = group->commands; command->name; command++)
			print_line(command);
	}
	printf("\nThe store is that of -s STORE, of $CORPUSFS_STORE, or the one whose mount the\n"
	       "current directory stands in. Root opens a store that others can write only with\n"
	       "--as-owner, and is its owner then. `corpusfs help COMMAND` says more about one.\n");
}

void help_prefix(const struct command_group *groups, const char *word)
{
	size_t len = strlen(word);

	printf("usage: corpusfs %s COMMAND [ARGUMENTS]\n\n", word);
	for (const struct command_group *group = groups; group->title; group++)
		for (const struct command *command = group->commands; command->name; command++)
			if (strncmp(command->name, word, len) == 0 && command->name[len] == ' ')
				print_line(command);
}

static void print_option(const struct option *option)
{
	char left[64], letter[8] = "";

	if (option->letter)
		snprintf(letter, sizeof(letter), "-%c%s", option->letter, option->name ? ", " : "");
	snprintf(left, sizeof(left), "  %s%s%s%s%s", letter, option->name ? "--" : "", option->name ? option->name : "",
	         option->value ? " " : "", option->value ? option->value : "");
	print_pair(left, option->help, OPTION_COLUMN);
}

void help_command(const struct command *command)
{
	const struct option *option = command->options;
	bool any = option && (option->name || option->letter);

	printf("usage: corpusfs %s%s%s%s\n\n%s\n", command->name, any ? " [OPTIONS]" : "", command->operands[0] ? " " : "",
	       command->operands, command->summary);
	if (command->details)
		printf("\n%s", command->details);
	if (any)
		printf("\n");
	for (; option && (option->name || option->letter); option++)
		print_option(option);
}
