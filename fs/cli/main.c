/* corpusfs [-s STORE] COMMAND ... : finds the command in the tables, parses what follows by its options, runs it. */
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/cli/commands.h"
#include "fs/cli/exit.h"
#include "fs/cli/help.h"
#include "fs/daemon/serve/daemon.h"
#include "fs/supervise/supervisor.h"
#include "lib/base/buf.h"
#include "lib/base/similar.h"

static int fail_usage(const char *text, const char *word)
{
	struct error err = {0};

	error_set(&err, -EINVAL, text, word);
	error_hint(&err, "corpusfs -h lists the commands");
	return exit_with(&err);
}

/* A command's second word alone stands for it, too. */
static int no_command(const struct cli *cli, const char *text, const char *list)
{
	struct similar similar = {.wanted = text};
	struct error err = {0};

	for (const struct command_group *group = cli->groups; group->title; group++)
		for (const struct command *command = group->commands; command->name; command++) {
			const char *space = strchr(command->name, ' ');
			similar_try(&similar, command->name);
			if (space && !strchr(text, ' ')) {
				AUTO_FREE char *first = xasprintf("%.*s", (int)(space - command->name), command->name);
				similar_try(&similar, first);
			}
			if (space)
				similar_try_as(&similar, space + 1, command->name);
		}
	error_set(&err, -EINVAL, "there is no command \"%s\"", text);
	if (similar.best[0])
		error_hint(&err, "did you mean \"%s\"? corpusfs %s lists them", similar.best, list);
	else
		error_hint(&err, "corpusfs %s lists them", list);
	return exit_with(&err);
}

/* The first word of several commands, without one of their second words. */
static int incomplete_command(const struct cli *cli, int argc, char **argv)
{
	AUTO_FREE char *list = xasprintf("%s -h", argv[0]);
	AUTO_FREE char *text = argc > 1 ? xasprintf("%s %s", argv[0], argv[1]) : NULL;
	struct error err = {0};

	if (text && argv[1][0] != '-')
		return no_command(cli, text, list);
	error_set(&err, -EINVAL, "%s: what is to be done is missing", argv[0]);
	error_hint(&err, "corpusfs %s lists what can be", list);
	return exit_with(&err);
}

/*
 * Options before the command; returns the index of the first word that is none, or -1 with *ret_code when there is
 * nothing to run.
 */
static int global_options(struct cli *cli, int argc, char **argv, int *ret_code)
{
	int i = 1;

	*ret_code = EXIT_OK;
	for (; i < argc && argv[i][0] == '-'; i++) {
		bool separate = strcmp(argv[i], "-s") == 0 || strcmp(argv[i], "--store") == 0;
		if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0) {
			help_overview(cli->groups);
			return -1;
		}
		if (strcmp(argv[i], "--version") == 0) {
			printf("corpusfs %s\n", CORPUSFS_VERSION);
			return -1;
		}
		if (strcmp(argv[i], "--as-owner") == 0) {
			cli->as_owner = true;
		} else if (separate && i + 1 < argc) {
			cli->store = argv[++i];
		} else if (strncmp(argv[i], "--store=", 8) == 0) {
			cli->store = argv[i] + 8;
		} else {
			*ret_code = fail_usage(separate ? "option %s needs a value" : "unknown option %s", argv[i]);
			return -1;
		}
	}
	if (i < argc)
		return i;
	*ret_code = fail_usage("%s", "no command is given");
	return -1;
}

static int run_command(struct cli *cli, int argc, char **argv)
{
	struct error err = {0};
	bool help = false;
	int words = 0;

	cli->command = command_find(cli->groups, argc, argv, &words);
	if (!cli->command && command_is_prefix(cli->groups, argv[0])) {
		if (argc == 2 && (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0)) {
			help_prefix(cli->groups, argv[0]);
			return EXIT_OK;
		}
		return incomplete_command(cli, argc, argv);
	}
	if (!cli->command)
		return no_command(cli, argv[0], "-h");
	if (cli_parse(cli, argc - words, argv + words, &help, &err) < 0)
		return exit_with(&err);
	if (help) {
		help_command(cli->command);
		return EXIT_OK;
	}
	return cli->command->run(cli);
}

/*
 * mount(8) and so /etc/fstab hand over "SOURCE MOUNTPOINT -o OPTIONS", for `mount -t fuse corpusfs#SOURCE MOUNTPOINT` and
 * `mount -t fuse.corpusfs SOURCE MOUNTPOINT`. A source is a path or in a remote, and no command has a slash or a colon.
 */
static bool is_from_mount8(int argc, char **argv)
{
	return argc >= 2 && strpbrk(argv[0], "/:") && argv[1][0] != '-';
}

static int run_from_mount8(struct cli *cli, int argc, char **argv)
{
	AUTO_FREE char **words = xcalloc((size_t)argc + 2, sizeof(*words));
	char mount[] = "mount";

	words[0] = mount;
	memcpy(words + 1, argv, (size_t)argc * sizeof(*words));
	cli->quiet = true;
	return run_command(cli, argc + 1, words);
}

/*
 * Of what the caller has closed (>&-) the number would go to the next file that is opened, a store's perhaps, and messages into that. So
 * something is there that cannot be read or written, as what is closed cannot.
 */
static bool open_standard(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
			return false;
	return true;
}

int main(int argc, char **argv)
{
	struct cli cli = {.groups = command_groups};
	int code, first;

	if (!open_standard())
		return EXIT_FAILED;
	if (argc == 6 && strcmp(argv[1], SUPERVISOR_ARGUMENT) == 0)
		return daemon_supervised(argv + 2);
	if (!setlocale(LC_CTYPE, "") || MB_CUR_MAX == 1)
		setlocale(LC_CTYPE, "C.UTF-8");
	/* The store's directory keeps others out; files in it must stay readable to its owner when root opens the store. */
	umask(022);
	first = global_options(&cli, argc, argv, &code);
	if (first >= 0 && is_from_mount8(argc - first, argv + first))
		code = run_from_mount8(&cli, argc - first, argv + first);
	else if (first >= 0)
		code = run_command(&cli, argc - first, argv + first);
	free(cli.found_store);
	json_decref(cli.remote);
	/* Of what was written before the last flush, only ferror() still knows. */
	errno = 0;
	if ((fflush(stdout) != 0 || ferror(stdout)) && code == EXIT_OK) {
		fprintf(stderr, "corpusfs: the output could not be written%s%s\n", errno ? ": " : "", errno ? strerror(errno) : "");
		code = EXIT_FAILED;
	}
	return code;
}
