#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fs/cli/acl_note.h"
#include "fs/cli/command.h"
#include "fs/cli/exit.h"
#include "fs/cli/hint.h"
#include "fs/cli/interrupt.h"
#include "fs/cli/outside.h"
#include "fs/cli/password.h"
#include "fs/cli/place.h"
#include "fs/cli/repository.h"
#include "fs/cli/remote_mount.h"
#include "fs/cli/remote_warm.h"
#include "fs/cli/remotes.h"
#include "fs/cli/run.h"
#include "fs/cli/say.h"
#include "fs/cli/table.h"
#include "fs/cli/units.h"
#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/base/escape.h"
#include "lib/ops/json.h"

/* A place as two arguments: KEY, and "path". */
static int set_place(struct cli *cli, json_t *args, const char *key, const char *text, unsigned takes, struct error *err)
{
	AUTO_PLACE place = {0};
	int result = place_find(cli, text, takes, &place, err);

	if (result < 0)
		return result;
	AUTO_FREE char *view = place_view(&place);
	json_object_set_new(args, key, json_from_bytes(view));
	json_object_set_new(args, "path", json_from_bytes(place.path));
	return 0;
}

static int print_problems(const json_t *result)
{
	json_t *problems = json_object_get(result, "problems"), *notes = json_object_get(result, "notes"), *row;
	json_int_t more = json_integer_value(json_object_get(result, "problems_not_named"));
	size_t i;

	json_array_foreach (problems, i, row) {
		AUTO_FREE char *path = escape_text(json_string_value(json_object_get(row, "path")), ESCAPE_CONTROL);
		AUTO_FREE char *text = escape_text(json_string_value(json_object_get(row, "text")), ESCAPE_CONTROL);
		fprintf(stderr, "corpusfs: %s: %s\n", path, text);
	}
	if (more > 0)
		fprintf(stderr, "corpusfs: and %lld more\n", (long long)more);
	json_array_foreach (notes, i, row) {
		AUTO_FREE char *text = escape_text(json_string_value(row), ESCAPE_CONTROL);
		fprintf(stderr, "corpusfs: note: %s\n", text);
	}
	return json_array_size(problems) > 0 ? EXIT_FAILED : EXIT_OK;
}

static int print_failure(const struct cli *cli, const json_t *result)
{
	const json_t *failure = json_object_get(result, "failure");
	struct error err = {0};

	if (!json_is_object(failure))
		return EXIT_OK;
	json_to_error(failure, &err);
	hint_name_store(&err, cli->store);
	return exit_with(&err);
}

static json_int_t number(const json_t *result, const char *key)
{
	return json_integer_value(json_object_get(result, key));
}

static void print_summary(FILE *out, const char *begin, const char *verb, const json_t *result, double seconds)
{
	char bytes[UNITS_MAX], rate[UNITS_MAX], files[UNITS_MAX], directories[UNITS_MAX], links[UNITS_MAX];

	units_size((uint64_t)number(result, "bytes"), bytes);
	units_size((uint64_t)((double)number(result, "bytes") / MAX(seconds, 0.001)), rate);
	units_count(number(result, "files"), "file", "files", files);
	units_count(number(result, "directories"), "directory", "directories", directories);
	units_count(number(result, "links"), "hard link", "hard links", links);
	say_to(out, "%s%s %s, %s, %s in %.1f s (%s/s)", begin, verb, files, directories, bytes, seconds, rate);
	if (number(result, "links"))
		say_to(out, ", %s", links);
	if (number(result, "skipped"))
		say_to(out, ", %lld were there already", (long long)number(result, "skipped"));
	if (number(result, "problem_count"))
		say_to(out, ", %lld problem%s", (long long)number(result, "problem_count"), number(result, "problem_count") == 1 ? "" : "s");
	say_to(out, "\n");
}

/* `keeps`: what came over before a failure stays. */
static int report(struct cli *cli, const char *verb, json_t *result, double seconds, FILE *out, bool keeps)
{
	int problems, failed;

	if (cli_option(cli, "json")) {
		json_object_set_new(result, "seconds", json_real(seconds));
		json_dumpf(result, out, JSON_INDENT(2));
		say_to(out, "\n");
	}
	problems = print_problems(result);
	acl_note(result);
	failed = print_failure(cli, result);
	if (!cli_option(cli, "json") && (failed == EXIT_OK || (keeps && number(result, "files") > 0)))
		print_summary(failed == EXIT_OK ? out : stderr, failed == EXIT_OK ? "" : "corpusfs: until then ", verb, result, seconds);
	json_decref(result);
	return failed != EXIT_OK ? failed : problems;
}

static void set_flags(struct cli *cli, json_t *args)
{
	json_object_set_new(args, "strict", json_boolean(cli_option(cli, "strict") != NULL));
	json_object_set_new(args, "count", json_boolean(isatty(STDERR_FILENO)));
}

/* What an interrupted command has left, and how to go on. A signal that came too late stops nothing. */
static void end_interrupted(int r, const json_t *result, const char *text)
{
	if (r < 0 || !json_is_null(json_object_get(result, "failure")))
		interrupt_end_with(text);
}

#define RESTIC "restic:"

/* Options that only a repository has a meaning for. */
static const struct {
	const char *option, *key;
} restic_options[] = {{"path", "from"}, {"host", "host"}, {"tag", "tag"}, {"password-file", NULL}, {"password-command", NULL}};

/* restic:REPO[@BACKUP]: opens the directory, and sets what import.restic wants. */
static int set_restic(struct cli *cli, json_t *args, char *place, int *ret_fd, struct error *err)
{
	CLEANUP(repository_name_clear) struct repository_name name = repository_name_of(place);
	int r = repository_open_place(cli, name.place, false, ret_fd, err);

	if (r == 0 && name.is_published)
		r = error_set(err, -EINVAL, "%s is what was published, and comes with corpusfs restore", place);
	repository_name_set(&name, args);
	for (size_t i = 0; i < sizeof(restic_options) / sizeof(restic_options[0]); i++) {
		const char *value = cli_option(cli, restic_options[i].option);

		if (value && restic_options[i].key)
			json_object_set_new(args, restic_options[i].key, json_from_bytes(value));
	}
	return r == 0 ? password_set(cli, args, false, err) : r;
}

static int set_outside(struct cli *cli, json_t *args, int *ret_fd, struct error *err)
{
	const char *source = cli->argv[0];

	for (size_t i = 0; i < sizeof(restic_options) / sizeof(restic_options[0]); i++) {
		if (!cli_option(cli, restic_options[i].option))
			continue;
		(void)error_set(err, -EINVAL, "--%s goes with a repository only", restic_options[i].option);
		error_hint(err, "a repository of restic is " RESTIC "REPO or " RESTIC "REPO@SNAPSHOT");
		return -EINVAL;
	}
	json_object_set_new(args, "source", json_from_bytes(strcmp(source, "-") == 0 ? "standard input" : source));
	return outside_open_source(source, ret_fd, err);
}

static void tell_backup(const json_t *result)
{
	const char *backup = json_string_value(json_object_get(result, "backup")), *newer = json_string_value(json_object_get(result, "passed_over"));

	if (newer)
		fprintf(stderr, "corpusfs: note: backup %.8s is newer, but incomplete: backup %.8s was taken instead\n", newer, backup);
	if (json_is_true(json_object_get(result, "incomplete")))
		fprintf(stderr, "corpusfs: note: backup %.8s is incomplete: what could not be read when it was made is not in it\n", backup);
}

static int run_import(struct cli *cli)
{
	const bool is_restic = strncmp(cli->argv[0], RESTIC, strlen(RESTIC)) == 0;
	AUTO_FREE char *store = NULL, *repository = is_restic ? xstrdup(cli->argv[0] + strlen(RESTIC)) : NULL;
	AUTO_CLOSE int fd = -1;
	struct error err = {0};
	json_t *args = json_object(), *result = NULL;
	uint64_t started = clock_ms();
	int r = set_place(cli, args, "dataset", cli->argv[1], PLACE_MAY_PATH | PLACE_MAY_BE_NEW, &err);

	if (r == 0)
		r = run_find_store(cli, &store, &err);
	set_flags(cli, args);
	json_object_set_new(args, "all", json_boolean(cli_option(cli, "all") != NULL));
	if (r == 0)
		r = is_restic ? set_restic(cli, args, repository, &fd, &err) : set_outside(cli, args, &fd, &err);
	interrupt_watch();
	if (r == 0)
		r = run_op_with(store, is_restic ? "import.restic" : "import", args, fd, "import", &result, &err);
	else
		json_decref(args);
	end_interrupted(r, result, "what came in is complete; run the same command again to go on");
	if (r < 0 && is_restic) {
		CLEANUP(repository_name_clear) struct repository_name name = repository_name_of(repository);

		return repository_exit(name.place, &err, NULL);
	}
	if (r < 0)
		return exit_with(&err);
	tell_backup(result);
	return report(cli, "imported", result, (double)(clock_ms() - started) / 1e3, stdout, true);
}

/* The target is whole, or as it was before. Takes over args. */
static int export_into(struct cli *cli, const char *store, json_t *args, struct outside *target, json_t **ret_result, struct error *err)
{
	json_t *result = NULL;
	int r;

	set_flags(cli, args);
	json_object_set_new(args, "format", json_string(target->format));
	json_object_set_new(args, "target", json_from_bytes(strcmp(target->path, "-") == 0 ? "standard output" : target->path));
	r = run_op_with(store, "export", args, target->fd, "export", &result, err);
	if (r == 0 && json_is_null(json_object_get(result, "failure")))
		r = outside_keep(target, err);
	if (r < 0)
		json_decref(result);
	else
		*ret_result = result;
	if (r < 0 || !json_is_null(json_object_get(result, "failure")))
		outside_drop(target);
	return r;
}

static int run_export(struct cli *cli)
{
	struct outside target = {.fd = -1, .format = ""};
	AUTO_FREE char *store = NULL;
	struct error err = {0};
	json_t *args = json_object(), *result = NULL;
	uint64_t started = clock_ms();
	int r = set_place(cli, args, "source", cli->argv[0], PLACE_MAY_SNAPSHOT | PLACE_MAY_PATH, &err);

	if (r == 0)
		r = run_find_store(cli, &store, &err);
	interrupt_watch();
	/* A reader that goes away is an error to be told. */
	signal(SIGPIPE, SIG_IGN);
	if (r == 0)
		r = outside_open_target(cli->argv[1], cli_option(cli, "format"), &target, &err);
	if (r == 0)
		r = export_into(cli, store, args, &target, &result, &err);
	else
		json_decref(args);
	outside_close(&target);
	end_interrupted(r, result, strcmp(target.format, "dir") != 0 ? "no archive is left; run the same command again to begin anew"
	                                       : "run the same command again to go on");
	if (r < 0)
		return exit_with(&err);
	return report(cli, "exported", result, (double)(clock_ms() - started) / 1e3, target.is_stream ? stderr : stdout,
		      strcmp(target.format, "dir") == 0);
}

static int run_warm(struct cli *cli)
{
	json_t *args = json_object(), *result;
	char bytes[UNITS_MAX], rate[UNITS_MAX];
	struct error err = {0};
	double seconds;
	int code;

	if (remote_mount_has(cli->argv[0])) {
		json_decref(args);
		return remote_warm(cli, cli->argv[0]);
	}
	code = remote_find(cli->argv[0], NULL, NULL, &err);
	if (code > 0) {
		json_decref(args);
		return remote_warm_unmounted(cli);
	}
	if (code == 0 && (cli_option(cli, "follow-order") || cli_option(cli, "ahead")))
		code = error_set(&err, -EINVAL, "--follow-order and --ahead are for paths in mounts of remotes only");
	if (code == 0 && (cli_option(cli, "o") || cli_option(cli, "pin")))
		code = error_set(&err, -EINVAL, "-o and --pin are for what is in a remote only");
	if (code == 0)
		code = set_place(cli, args, "source", cli->argv[0], PLACE_MAY_SNAPSHOT | PLACE_MAY_PATH, &err);
	if (code < 0) {
		json_decref(args);
		return exit_with(&err);
	}
	code = run_op(cli, "warm", args, "warm", &result);
	if (code != EXIT_OK)
		return code;
	seconds = json_real_value(json_object_get(result, "seconds"));
	units_size((uint64_t)number(result, "bytes"), bytes);
	units_size((uint64_t)((double)number(result, "bytes") / MAX(seconds, 0.001)), rate);
	if (cli_option(cli, "json")) {
		json_dumpf(result, stdout, JSON_INDENT(2));
		say("\n");
	} else {
		say("read %s of %lld file%s in %.1f s (%s/s)\n", bytes, (long long)number(result, "files"), number(result, "files") == 1 ? "" : "s",
		    seconds, rate);
	}
	json_decref(result);
	return EXIT_OK;
}

static const struct option import_options[] = {
	{'a', "all", NULL, "also what is there already with the same size, time and mode"},
	{0, "strict", NULL, "stop at the first file that cannot be imported"},
	{0, "path", "PATH", "of a repository: only this, as it stands in the snapshot"},
	{0, "host", "HOST", "of a repository: only snapshots of this host count"},
	{0, "tag", "TAG", "of a repository: only snapshots with this tag count"},
	OPTIONS_PASSWORD,
	OPTION_JSON,
	OPTIONS_END,
};
static const struct option export_options[] = {
	{0, "format", "FORMAT", "dir, tar, tar.zst, tar.gz or zip, whatever DEST is called"},
	{0, "strict", NULL, "stop at the first file that cannot be exported"},
	OPTION_JSON,
	OPTIONS_END,
};
static const struct option warm_options[] = {OPTIONS_REMOTE_WARM, OPTIONS_PASSWORD, OPTION_JSON, OPTIONS_END};

const struct command transfer_commands[] = {
	{.name = "import",
         .operands = "SRC DATASET[/PATH]",
         .summary = "take in a directory, archive or backup",
         .details = "SRC is a directory, a tar, also a compressed one, a zip, or - for an archive on\n"
                    "standard input, or restic:REPO[@SNAPSHOT], what restic backed up: by its first\n"
                    "digits, or latest. What is in it comes into the dataset, which is made if\n"
                    "needed; a file of the same name is replaced, in one instant. What cannot come in\n"
                    "is listed and the exit code is 1. An import that was interrupted is simply run\n"
                    "again.\n",
         .min = 2,
         .max = 2,
         .options = import_options,
         .run = run_import},
	{.name = "export",
         .operands = "DATASET[@NAME][/PATH] DEST",
         .summary = "give out a directory or an archive",
         .details = "DEST is a directory that is empty or not there yet, an archive if its name ends\n"
                    "in .tar, .tar.zst, .tar.gz or .zip, or - for a tar on standard output. A\n"
                    "directory called like another archive has a slash behind: data.rar/. What DEST\n"
                    "did not take of a file is listed, and the exit code is 1. An export to a\n"
                    "directory that was interrupted is simply run again.\n",
         .min = 2,
         .max = 2,
         .options = export_options,
         .run = run_export},
	{.name = "warm",
         .operands = "DATASET[@NAME][/PATH]",
         .summary = "load into memory what will be read",
         .details = "Reads what the files consist of into the page cache, in the order of the disk.\n"
                    "Of a path in the mount of a remote: fetches it into the cache of the mount, in\n"
                    "the order in which it lies there. Of REMOTE:DATASET[@NAME][/PATH] with -o cache=\n"
                    "the same without a mount, for one that will use this cache. The exit code is 1\n"
                    "if something could not be had. What is there already is not fetched again, and\n"
                    "with --pin nothing of it goes to make room for other content.\n",
         .min = 1,
         .max = 1,
         .options = warm_options,
         .run = run_warm},
	{NULL},
};
