#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/cli/acl_note.h"
#include "fs/cli/command.h"
#include "fs/cli/differences.h"
#include "fs/cli/exit.h"
#include "fs/cli/interrupt.h"
#include "fs/cli/password.h"
#include "fs/cli/place.h"
#include "fs/cli/repository.h"
#include "fs/cli/run.h"
#include "fs/cli/say.h"
#include "fs/cli/table.h"
#include "fs/cli/units.h"
#include "fs/cli/where.h"
#include "lib/base/buf.h"
#include "lib/base/escape.h"
#include "lib/base/shell.h"
#include "lib/ops/json.h"

static json_int_t number(const json_t *result, const char *key)
{
	return json_integer_value(json_object_get(result, key));
}

/* What could not be done, a line each. EXIT_OK: nothing. */
static int print_problems(const json_t *result, const char *repository)
{
	const json_t *failure = json_object_get(result, "failure"), *row;
	struct error err = {0};
	size_t i;

	json_array_foreach(json_object_get(result, "problems"), i, row) {
		AUTO_FREE char *path = escape_text(json_string_value(json_object_get(row, "path")), ESCAPE_CONTROL);
		AUTO_FREE char *text = escape_text(json_string_value(json_object_get(row, "text")), ESCAPE_CONTROL);
		fprintf(stderr, "corpusfs: %s: %s\n", path, text);
	}
	if (json_is_object(failure)) {
		json_to_error(failure, &err);
		return repository_exit(repository, &err, NULL);
	}
	return number(result, "problem_count") > 0 ? EXIT_FAILED : EXIT_OK;
}

/* --- backup --- */

static const struct column run_columns[] = {
	{"dataset", "DATASET", COLUMN_TEXT}, {"snapshot", "SNAPSHOT", COLUMN_TEXT},       {"type", "TYPE", COLUMN_TEXT},   {"short", "BACKUP", COLUMN_TEXT},
	{"files", "FILES", COLUMN_NUMBER},   {"unchanged", "UNCHANGED", COLUMN_NUMBER}, {"added", "ADDED", COLUMN_BYTES}, {"stored", "STORED", COLUMN_BYTES},
	{NULL, NULL, COLUMN_TEXT},
};

static int add_source(struct cli *cli, json_t *sources, const char *text, struct error *err)
{
	AUTO_PLACE place = {0};
	int r = place_find(cli, text, PLACE_MAY_SNAPSHOT, &place, err);

	if (r == -EINVAL && !err->hint[0])
		error_hint(err, "the repository comes last: corpusfs backup DATASET REPO");
	if (r < 0)
		return r;
	AUTO_FREE char *view = place_view(&place);
	json_array_append_new(sources, json_from_bytes(view));
	return 0;
}

/* A clock was wrong. */
static void warn_of_time(const json_t *row)
{
	const char *misdated = json_string_value(json_object_get(row, "misdated"));

	if (misdated)
		fprintf(stderr, "corpusfs: backup %.8s, of an earlier snapshot, has a later time: by it, that one is the newest, and not %.8s\n", misdated,
		        json_string_value(json_object_get(row, "backup")));
}

/* Nobody knows what it was of: it may have been the newest one of the dataset. */
static void warn_of_damage(const json_t *row, const char *repository)
{
	const char *damaged = json_string_value(json_object_get(row, "damaged"));

	if (damaged)
		fprintf(stderr, "corpusfs: snapshot file %.8s in %s is damaged, and its backup lost; corpusfs backup forget %s %.8s removes it\n", damaged,
		        repository, repository, damaged);
}

/* It took longer than people may expect. */
static void tell_doubt(const json_t *row)
{
	const char *doubt = json_string_value(json_object_get(row, "doubt"));

	if (doubt)
		fprintf(stderr, "corpusfs: all of %s was looked at, and nothing taken over unseen from backup %.8s, the base: %s\n",
		        json_string_value(json_object_get(row, "dataset")), json_string_value(json_object_get(row, "base")), doubt);
}

static int print_backups(struct cli *cli, json_t *backups, const char *repository)
{
	int code = EXIT_OK, problems;
	json_t *row;
	size_t i;

	json_array_foreach(backups, i, row) {
		problems = print_problems(row, repository);
		code = problems != EXIT_OK ? problems : code;
		warn_of_time(row);
		tell_doubt(row);
		if (!cli_option(cli, "json"))
			repository_add_short(row);
		if (problems != EXIT_OK)
			fprintf(stderr, "corpusfs: backup %.8s of %s is incomplete: that is not in it\n", json_string_value(json_object_get(row, "backup")),
			        json_string_value(json_object_get(row, "dataset")));
	}
	warn_of_damage(json_array_get(backups, 0), repository);
	table_print(cli, run_columns, backups);
	return code;
}

static int take_row(void *arg, json_t *row)
{
	return json_array_append(arg, row) < 0 ? -ENOMEM : 0;
}

static int run_backup(struct cli *cli)
{
	const char *type = cli_option(cli, "type"), *repository = cli->argv[cli->argc - 1];
	AUTO_CLOSE int fd = -1;
	AUTO_FREE char *store = NULL, *absolute = repository_absolute(repository);
	json_t *sources = json_array(), *rows = json_array();
	json_t *args = json_pack("{s:o, s:o, s:s, s:b, s:b}", "sources", sources, "place", json_from_bytes(repository), "type", type ? type : "full",
	                         "share", cli_option(cli, "share") != NULL, "count", isatty(STDERR_FILENO));
	struct error err = {0};
	int r = 0, code = EXIT_OK;

	if (absolute)
		json_object_set_new(args, "repository", json_from_bytes(absolute));
	for (int i = 0; i + 1 < cli->argc && r == 0; i++)
		r = add_source(cli, sources, cli->argv[i], &err);
	if (r == 0)
		r = run_find_store(cli, &store, &err);
	if (r == 0)
		r = repository_open_place(cli, repository, false, &fd, &err);
	if (r == 0)
		r = password_set(cli, args, false, &err);
	interrupt_watch();
	if (r == 0)
		r = run_op_rows_with(store, "backup.run", args, fd, "backup", take_row, rows, &err);
	else
		json_decref(args);
	/* Those that are done are done, whatever became of the next. */
	if (r == 0 || json_array_size(rows) > 0)
		code = print_backups(cli, rows, repository);
	json_decref(rows);
	return r < 0 ? repository_exit(repository, &err, "what is shown is backed up; run the same command again for the rest") : code;
}

/* --- diff --- */

static int run_diff(struct cli *cli)
{
	struct differences differences = differences_begin(cli);
	const char *path = cli_option(cli, "path");
	json_t *args = json_pack("{s:o, s:o, s:o, s:b}", "a", json_from_bytes(cli->argv[1]), "b", json_from_bytes(cli->argv[2]), "path",
	                         json_from_bytes(path ? path : ""), "stat", cli_option(cli, "stat") != NULL),
	       *result = NULL;
	AUTO_CLOSE int fd = -1;
	struct error err = {0};
	int r = repository_open_place(cli, cli->argv[0], false, &fd, &err), code;

	if (r == 0)
		r = password_set(cli, args, false, &err);
	interrupt_watch();
	if (r == 0)
		r = run_op_alone_rows("backup.diff", args, fd, differences_row, &differences, &result, &err);
	else
		json_decref(args);
	if (r < 0)
		return repository_exit(cli->argv[0], &err, NULL);
	differences_end(&differences, result);
	code = cli_option(cli, "exit-code") && differences_any(result) ? EXIT_DIFFERENT : EXIT_OK;
	json_decref(result);
	return code;
}

/* --- restore --- */

static void print_restored(const json_t *result, const char *target)
{
	char bytes[UNITS_MAX], files[UNITS_MAX], directories[UNITS_MAX];
	const char *identity = json_string_value(json_object_get(result, "identity")), *guard = json_string_value(json_object_get(result, "guard"));

	units_size((uint64_t)number(result, "bytes"), bytes);
	units_count(number(result, "files"), "file", "files", files);
	units_count(number(result, "directories"), "directory", "directories", directories);
	say("restored %s from backup %.8s: %s, %s, %s", target, json_string_value(json_object_get(result, "backup")), files, directories, bytes);
	if (number(result, "skipped") > 0)
		say(", %lld were there already", (long long)number(result, "skipped"));
	say("\n");
	if (guard)
		say("what was there before is %s@%s\n", target, guard);
	if (json_object_get(result, "snapshot"))
		say("what is published of it from now on comes after %s@%s\n", target, json_string_value(json_object_get(result, "snapshot")));
	if (identity)
		say("what was restored has the identity of the backup: %s\n", identity);
	else if (json_object_get(result, "uncompared"))
		say("its identity was not compared: %s\n", json_string_value(json_object_get(result, "uncompared")));
}

/* Whether what came back is what was there when the backup was made. */
static int tell_incomplete(const json_t *result)
{
	const char *backup = json_string_value(json_object_get(result, "backup")), *newer = json_string_value(json_object_get(result, "passed_over"));
	const char *later = json_string_value(json_object_get(result, "later"));

	if (later)
		fprintf(stderr, "corpusfs: backup %.8s, of a later snapshot, has an earlier time than backup %.8s, which was taken\n", later, backup);
	if (newer)
		fprintf(stderr, "corpusfs: backup %.8s is newer, but incomplete: backup %.8s was taken instead\n", newer, backup);
	if (!json_is_true(json_object_get(result, "incomplete")))
		return EXIT_OK;
	fprintf(stderr, "corpusfs: backup %.8s is incomplete: what could not be read when it was made is not in it\n", backup);
	return EXIT_FAILED;
}

/* The dataset is neither what it was nor what was backed up. */
static void tell_guard(const json_t *result, const char *target, const char *store)
{
	const char *guard = json_string_value(json_object_get(result, "guard"));
	const char *code = json_string_value(json_object_get(json_object_get(result, "failure"), "code"));
	const bool is_damaged = code && strcmp(code, strerrorname_np(EBADMSG)) == 0;
	AUTO_FREE char *name = NULL, *command = NULL;

	if (guard) {
		name = xasprintf("%s@%s", target, guard);
		command = shell_text("corpusfs -s %s rollback %s", store, name);
		fprintf(stderr, "corpusfs: %s is restored in part; what was there before is %s; %s\n", target, name, command);
		return;
	}
	command = shell_text("corpusfs -s %s dataset destroy %s", store, target);
	fprintf(stderr, "corpusfs: %s is restored in part; the same command with --over%s goes on, %s removes it\n", target,
		is_damaged ? " --keep-going" : "", command);
}

/* What is left when somebody has pressed Ctrl-C. */
static char *interrupted_text(struct cli *cli, const char *store, const struct error *err)
{
	if (!store)
		return xstrdup("run the same command again to go on");
	if (!cli_option(cli, "over"))
		return xasprintf("if there is a dataset %s now, it is restored in part; the same command with --over goes on", cli->argv[1]);
	if (err->hint[0])
		return xasprintf("%s is restored in part; run the same command again to go on; %s", cli->argv[1], err->hint);
	return xasprintf("%s may be restored in part; run the same command again to go on; its newest snapshot before-restore-... is what was "
	                 "there before", cli->argv[1]);
}

static void tell_clamped(const json_t *result, const char *target)
{
	const long long count = number(result, "clamped");
	AUTO_FREE char *names = count > 0 ? escape_text(json_string_value(json_object_get(result, "clamped_first")), ESCAPE_CONTROL) : NULL;

	if (count == 1)
		fprintf(stderr, "corpusfs: note: the times of %s are too early or too late for the filesystem of %s, and are others there\n", names, target);
	else if (count > 1)
		fprintf(stderr, "corpusfs: note: the times of %lld files or directories are too early or too late for the filesystem of %s, and are others there; "
		        "the first: %s\n", count, target, names);
}

static int report(struct cli *cli, json_t *result, const char *repository, const char *target, const char *store)
{
	const bool failed = json_is_object(json_object_get(result, "failure"));
	int code, incomplete;

	if (cli_option(cli, "json"))
		repository_print_json(result);
	code = print_problems(result, repository);
	incomplete = tell_incomplete(result);
	acl_note(result);
	tell_clamped(result, target);
	if (failed && store)
		tell_guard(result, target, store);
	else if (!failed && !cli_option(cli, "json"))
		print_restored(result, target);
	json_decref(result);
	return code != EXIT_OK ? code : incomplete;
}

/* A word is a dataset, whatever is in the current directory; but what a mount shows there may be that dataset. */
static void tell_meant(const char *word)
{
	AUTO_FREE char *path = where_absolute(word);
	struct where_inside inside = {0};
	struct stat st;

	if (path && stat(path, &st) == 0 && S_ISDIR(st.st_mode) && !where_inside(path, &inside))
		fprintf(stderr, "corpusfs: note: the dataset %s is meant; the directory is ./%s\n", word, word);
	where_inside_clear(&inside);
}

static int restore_dataset(struct cli *cli, json_t *args, int fd, char **ret_store, json_t **ret_result, struct error *err)
{
	int r = run_find_store(cli, ret_store, err);

	json_object_set_new(args, "dataset", json_from_bytes(cli->argv[1]));
	json_object_set_new(args, "over", json_boolean(cli_option(cli, "over") != NULL));
	if (r < 0) {
		json_decref(args);
		return r;
	}
	tell_meant(cli->argv[1]);
	return run_op_with(*ret_store, "restore", args, fd, "restore", ret_result, err);
}

static bool has_entries(const char *path)
{
	DIR *dir = opendir(path);
	bool found = false;

	for (const struct dirent *entry; dir && !found && (entry = readdir(dir));)
		found = strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
	if (dir)
		(void)closedir(dir);
	return found;
}

static int restore_directory(struct cli *cli, json_t *args, int fd, json_t **ret_result, struct error *err)
{
	AUTO_CLOSE int target = -1;
	int r = mkdir(cli->argv[1], 0700) < 0 && errno != EEXIST ? -errno : 0;
	const bool was_filled = r == 0 && has_entries(cli->argv[1]);

	if (r == 0) {
		target = open(cli->argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		r = target < 0 ? -errno : 0;
	}
	if (r < 0) {
		json_decref(args);
		return error_set(err, r, "%s: %s", cli->argv[1], error_text(r));
	}
	if (was_filled)
		fprintf(stderr, "corpusfs: note: %s is not empty: the backup's files take the place of those of their names, others stay\n", cli->argv[1]);
	json_object_set_new(args, "target", json_from_bytes(cli->argv[1]));
	r = run_op_alone("restore.directory", args, fd, target, "restore", ret_result, err);
	if (r == 0 && was_filled)
		json_object_set_new(*ret_result, "was_filled", json_true());
	return r;
}

static int run_restore(struct cli *cli)
{
	CLEANUP(repository_name_clear) struct repository_name name = repository_name_of(cli->argv[0]);
	const char *path = cli_option(cli, "path"), *repository = name.place;
	json_t *args = json_pack("{s:o, s:b, s:b}", "path", json_from_bytes(path ? path : ""), "keep_going", cli_option(cli, "keep-going") != NULL,
	                         "count", isatty(STDERR_FILENO)),
	       *result = NULL;
	AUTO_FREE char *store = NULL;
	AUTO_CLOSE int fd = -1;
	struct error err = {0};
	int r = repository_open_place(cli, repository, false, &fd, &err);

	repository_name_set(&name, args);
	if (r == 0)
		r = password_set(cli, args, false, &err);
	interrupt_watch();
	if (r < 0)
		json_decref(args);
	else if (strchr(cli->argv[1], '/') || strcmp(cli->argv[1], ".") == 0)
		r = restore_directory(cli, args, fd, &result, &err);
	else
		r = restore_dataset(cli, args, fd, &store, &result, &err);
	if (r == 0)
		return report(cli, result, repository, cli->argv[1], store);
	AUTO_FREE char *interrupted = interrupted_text(cli, store, &err);
	return repository_exit(repository, &err, interrupted);
}

static const struct option run_options[] = {
	{0, "type", "TYPE", "full (default), differential or incremental"},
	{0, "share", NULL, "a full backup uses what the repository has already"},
	OPTIONS_PASSWORD,
	OPTION_JSON,
	OPTIONS_END,
};
static const struct option diff_options[] = {
	{0, "path", "PATH", "only this file or directory, relative to what was backed up"},
	{0, "stat", NULL, "sums only"},
	{0, "exit-code", NULL, "exit with 1 when there are differences"},
	OPTIONS_PASSWORD,
	OPTION_JSON,
	OPTIONS_END,
};
static const struct option restore_options[] = {
	{0, "path", "PATH", "only this file or directory: its path in what was backed up"},
	{0, "over", NULL, "over a dataset that is there; a guard snapshot is taken first"},
	{0, "keep-going", NULL, "leave out what is damaged in the repository, and list it"},
	OPTION_STALE_OK,
	OPTIONS_PASSWORD,
	OPTION_JSON,
	OPTIONS_END,
};

const struct command backup_commands[] = {
	{.name = "backup",
         .operands = "DATASET[@NAME]... REPO",
         .summary = "back datasets up to a repository",
         .details = "Without @NAME a snapshot is taken, of all datasets at one instant. A full backup\n"
                    "reads everything and shares nothing with earlier ones; a differential one shares\n"
                    "what the last full one wrote; an incremental one whatever is there. The\n"
                    "repository is restic's: restic can list, check, mount and restore it.\n",
         .min = 2,
         .max = -1,
         .options = run_options,
         .run = run_backup},
	{.name = "backup diff",
         .operands = "REPO BACKUP BACKUP",
         .summary = "what differs between two backups",
         .details = "BACKUP as for restore. Reads the directories that differ only. A file is compared\n"
                    "by its blobs, and by its bytes where another program cut it elsewhere. A renamed\n"
                    "file is removed and added.\n",
         .min = 3,
         .max = 3,
         .options = diff_options,
         .run = run_diff},
	{.name = "restore",
         .operands = "REPO[@BACKUP] TARGET",
         .summary = "bring a backup back",
         .details = "REMOTE:DATASET[@NAME] is what was published. BACKUP is what backup list shows,\n"
                    "the name of a dataset (its newest backup), or DATASET@NAME. TARGET is a dataset,\n"
                    "which is made, or a directory if it has a slash in it. At the end the identity\n"
                    "of what came back is compared with that of the backup. What restic backed up\n"
                    "comes back the same way. An incomplete backup is taken only if it is named, or\n"
                    "if there is no other; the exit code is then 1.\n",
         .min = 2,
         .max = 2,
         .options = restore_options,
         .run = run_restore},
	{NULL},
};
