#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fs/cli/backup_rows.h"
#include "fs/cli/command.h"
#include "fs/cli/exit.h"
#include "fs/cli/keep.h"
#include "fs/cli/late.h"
#include "fs/cli/password.h"
#include "fs/cli/repository.h"
#include "fs/cli/run.h"
#include "fs/cli/say.h"
#include "fs/cli/table.h"
#include "fs/cli/units.h"
#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/base/escape.h"
#include "lib/ops/json.h"

static json_int_t number(const json_t *result, const char *key)
{
	return json_integer_value(json_object_get(result, key));
}

static int run_init(struct cli *cli)
{
	json_t *result;
	int code = repository_ask(cli, "backup.init", json_object(), NULL, &result);

	if (code != EXIT_OK)
		return code;
	if (cli_option(cli, "json"))
		repository_print_json(result);
	else
		say("made a repository in %s\nkeep the password: without it nobody reads the backups\n", cli->argv[0]);
	json_decref(result);
	return EXIT_OK;
}

/* --- looking --- */

static const struct column show_columns[] = {
	{"backup", "backup", COLUMN_TEXT}, {"taken", "taken", COLUMN_TIME}, {"dataset", "dataset", COLUMN_TEXT},
	{"snapshot", "snapshot", COLUMN_TEXT}, {"type", "type", COLUMN_TEXT}, {"base", "base", COLUMN_TEXT},
	{"identity", "identity", COLUMN_TEXT}, {"incomplete", "incomplete", COLUMN_FLAG}, {"files", "files", COLUMN_NUMBER},
	{"directories", "directories", COLUMN_NUMBER}, {"unchanged", "unchanged", COLUMN_NUMBER}, {"bytes", "bytes", COLUMN_BYTES},
	{"left_out", "left out", COLUMN_NUMBER}, {"host", "host", COLUMN_TEXT},
	{"user", "user", COLUMN_TEXT}, {"tags", "tags", COLUMN_LIST}, {"holds", "held by", COLUMN_LIST}, {NULL, NULL, COLUMN_TEXT},
};

/* What restic has forgotten is gone, whoever holds it. */
static void tell_gone(const json_t *result)
{
	const char *problem = json_string_value(json_object_get(result, "problem"));
	const json_t *row;
	size_t i;

	if (problem)
		fprintf(stderr, "corpusfs: it is not known what is held: %s\n", problem);
	json_array_foreach(json_object_get(result, "gone"), i, row)
		fprintf(stderr, "corpusfs: backup %.8s, which \"%s\" holds, is gone\n", json_string_value(json_object_get(row, "backup")),
		        json_string_value(json_object_get(row, "tag")));
}

/* If a store is named that knows of the repository. */
static void tell_late(const struct cli *cli)
{
	AUTO_FREE char *absolute = repository_absolute(cli->argv[0]);
	json_t *status = absolute ? late_ask(cli, NULL) : NULL;

	late_tell(status, absolute, NULL);
	late_tell_drill(status, absolute);
	json_decref(status);
}

static int run_list(struct cli *cli)
{
	json_t *args = json_pack("{s:b}", "with_damaged", true), *result;
	int code;

	if (cli->argc > 1)
		json_object_set_new(args, "dataset", json_from_bytes(cli->argv[1]));
	code = repository_ask(cli, "backup.list", args, NULL, &result);
	if (code != EXIT_OK)
		return code;
	if (json_array_size(json_object_get(result, "backups")) == 0 && cli->argc > 1)
		fprintf(stderr, "corpusfs: note: there is no backup of \"%s\" in %s\n", cli->argv[1], cli->argv[0]);
	backup_rows_print(cli, json_object_get(result, "backups"));
	tell_gone(result);
	tell_late(cli);
	code = backup_rows_damaged(cli->argv[0], json_object_get(result, "backups"));
	json_decref(result);
	return code;
}

static int run_show(struct cli *cli)
{
	json_t *result;
	int code = repository_ask(cli, "backup.show", json_object(), NULL, &result);

	if (code != EXIT_OK)
		return code;
	table_print_object(cli, show_columns, result);
	json_decref(result);
	return EXIT_OK;
}

static void print_problems(const json_t *result)
{
	const json_t *row;
	size_t i;

	json_array_foreach(json_object_get(result, "problems"), i, row) {
		AUTO_FREE char *path = escape_text(json_string_value(json_object_get(row, "path")), ESCAPE_CONTROL);
		AUTO_FREE char *text = escape_text(json_string_value(json_object_get(row, "text")), ESCAPE_CONTROL);
		fprintf(stderr, "corpusfs: %s: %s\n", path, text);
	}
}

/* In the order in which it is done. */
static void print_cures(const char *place, const json_t *result)
{
	if (json_is_true(json_object_get(result, "bad_index")))
		fprintf(stderr, "corpusfs: corpusfs backup rebuild-index %s makes the index anew: the packs say what is in them\n", place);
	if (number(result, "damaged_snapshots") > 0)
		fprintf(stderr, "corpusfs: corpusfs backup forget %s BACKUP removes a snapshot file that is damaged\n", place);
	if (json_is_true(json_object_get(result, "bad_packs")))
		fprintf(stderr, "corpusfs: a new full backup brings back what the dataset still has, also for the backups before it\n");
	if (number(result, "hurt") > 0)
		fprintf(stderr, "corpusfs: of a backup that stays hurt, corpusfs restore %s@BACKUP TARGET --keep-going brings the rest\n", place);
}

static void print_verified(const json_t *result, bool data)
{
	char bytes[UNITS_MAX], backups[UNITS_MAX], directories[UNITS_MAX], blobs[UNITS_MAX], packs[UNITS_MAX], packs_read[UNITS_MAX];

	print_problems(result);
	units_size((uint64_t)number(result, "bytes_read"), bytes);
	units_count(number(result, "snapshots"), "backup", "backups", backups);
	units_count(number(result, "trees"), "directory", "directories", directories);
	units_count(number(result, "blobs"), "blob", "blobs", blobs);
	units_count(number(result, "packs"), "pack", "packs", packs);
	units_count(number(result, "packs_read"), "pack", "packs", packs_read);
	say("%s, %s, %s in %s", backups, directories, blobs, packs);
	if (data)
		say(", %s read (%s)", packs_read, bytes);
	if (number(result, "problem_count") == 0)
		say(": undamaged\n");
	else if (number(result, "hurt") == 0)
		say(": damaged, but no backup of those that can be read is hurt by it\n");
	else
		say(": damaged, and %lld backup%s hurt\n", (long long)number(result, "hurt"), number(result, "hurt") == 1 ? " is" : "s are");
}

static int run_verify(struct cli *cli)
{
	const char *sample = cli_option(cli, "sample");
	char *end = NULL;
	unsigned long percent = sample ? strtoul(sample, &end, 10) : 100;
	const uint64_t began = clock_ms();
	json_t *args, *result;
	struct error err = {0};
	int code;

	if (sample && (end == sample || (*end && strcmp(end, "%") != 0) || percent < 1 || percent > 100)) {
		(void)error_set(&err, -EINVAL, "--sample is a percentage, 1 to 100");
		return exit_with(&err);
	}
	args = json_pack("{s:b, s:I}", "data", cli_option(cli, "data") || sample, "sample", (json_int_t)percent);
	code = repository_ask(cli, "backup.verify", args, "verify", &result);
	if (code != EXIT_OK)
		return code;
	if (cli_option(cli, "json")) {
		repository_print_json(result);
	} else {
		print_verified(result, cli_option(cli, "data") || sample);
		print_cures(cli->argv[0], result);
	}
	code = number(result, "problem_count") == 0 ? EXIT_OK : EXIT_FAILED;
	if (cli_option(cli, "data") && percent == 100)
		repository_note(cli, "verify", (double)(clock_ms() - began) / 1000, json_object_get(result, "verified"),
		                code == EXIT_OK ? NULL : "the repository is damaged");
	json_decref(result);
	return code;
}

static int run_rebuild(struct cli *cli)
{
	json_t *args = json_pack("{s:b}", "drop_missing", cli_option(cli, "drop-missing") != NULL), *result;
	int code = repository_ask(cli, "backup.rebuild-index", args, "rebuild", &result);

	if (code != EXIT_OK)
		return code;
	if (cli_option(cli, "json"))
		repository_print_json(result);
	else
		say("the index names %lld blobs in %lld packs\n", (long long)number(result, "blobs"), (long long)number(result, "packs"));
	print_problems(result);
	code = number(result, "problem_count") == 0 ? EXIT_OK : EXIT_FAILED;
	json_decref(result);
	return code;
}

/* --- letting go --- */

static void print_forgotten(struct cli *cli, json_t *rows, const char *next)
{
	const json_t *row;
	size_t i;

	if (!cli_option(cli, "json"))
		say("%s%s:\n", cli_option(cli, "dry-run") ? "would forget" : "forgotten", cli_option(cli, "dry-run") ? "" : next);
	backup_rows_print(cli, rows);
	/* Whoever mounts or restores that version cannot any more. */
	json_array_foreach(rows, i, row)
		if (json_object_get(row, "published") && !cli_option(cli, "json"))
			say("backup %.8s %s published as %s\n", json_string_value(json_object_get(row, "backup")), cli_option(cli, "dry-run") ? "is" : "was",
			    json_string_value(json_object_get(row, "published")));
}

static int run_forget(struct cli *cli)
{
	json_t *names = json_array(), *args = json_pack("{s:o, s:b}", "backups", names, "dry_run", cli_option(cli, "dry-run") != NULL), *result;
	struct error err = {0};
	int code;

	for (int i = 1; i < cli->argc; i++)
		json_array_append_new(names, json_from_bytes(cli->argv[i]));
	if (keep_set(cli, args, &err) < 0) {
		json_decref(args);
		return exit_with(&err);
	}
	code = repository_ask(cli, "backup.forget", args, NULL, &result);
	if (code != EXIT_OK)
		return code;
	print_forgotten(cli, json_object_get(result, "backups"), "; backup prune gives their room back");
	json_decref(result);
	return EXIT_OK;
}

static void print_pruned(const json_t *result, bool dry_run)
{
	const long long removed = number(result, "packs_removed"), rewritten = number(result, "packs_rewritten");
	char bytes[UNITS_MAX];

	units_size((uint64_t)number(result, "bytes_freed"), bytes);
	if (removed + rewritten == 0)
		say("nothing to free: all %lld packs stay as they are\n", (long long)number(result, "packs"));
	else if (dry_run)
		say("of %lld packs, would remove %lld and write %lld anew without what no backup names: about %s would be freed\n",
		    (long long)number(result, "packs"), removed, rewritten, bytes);
	else
		say("of %lld packs, removed %lld and wrote %lld anew without what no backup names: %s freed\n", (long long)number(result, "packs"),
		    removed, rewritten, bytes);
	units_size((uint64_t)number(result, "needed"), bytes);
	if (json_is_true(json_object_get(result, "no_room")))
		fprintf(stderr, "corpusfs: there was no room to write all packs anew that are named in part: make room for %s, then prune again\n", bytes);
	units_size((uint64_t)number(result, "left_bytes"), bytes);
	if (number(result, "left") > 0)
		say("%s %lld files (%s) that writers which died had begun\n", dry_run ? "would remove" : "removed",
		    (long long)number(result, "left"), bytes);
}

static int run_prune(struct cli *cli)
{
	json_t *args = json_pack("{s:b}", "dry_run", cli_option(cli, "dry-run") != NULL), *result, *forgotten;
	struct error err = {0};
	int code;

	if (keep_set(cli, args, &err) < 0) {
		json_decref(args);
		return exit_with(&err);
	}
	code = repository_ask(cli, "backup.prune", args, "prune", &result);
	if (code != EXIT_OK)
		return code;
	forgotten = json_object_get(result, "forgotten");
	if (cli_option(cli, "json")) {
		repository_print_json(result);
	} else {
		if (json_array_size(forgotten) > 0)
			print_forgotten(cli, forgotten, "");
		print_pruned(result, cli_option(cli, "dry-run") != NULL);
	}
	json_decref(result);
	return EXIT_OK;
}

static int run_unlock(struct cli *cli)
{
	json_t *result;
	int code = repository_ask(cli, "backup.unlock", json_pack("{s:b}", "all", cli_option(cli, "all") != NULL), NULL, &result);

	if (code != EXIT_OK)
		return code;
	if (cli_option(cli, "json"))
		repository_print_json(result);
	else
		say("removed %lld lock%s\n", (long long)number(result, "removed"), number(result, "removed") == 1 ? "" : "s");
	json_decref(result);
	return EXIT_OK;
}

static const struct option plain_options[] = {OPTIONS_PASSWORD, OPTION_JSON, OPTIONS_END};
static const struct option verify_options[] = {
	{0, "data", NULL, "read every pack and check all that is in it"},
	{0, "sample", "PERCENT", "the same of a random part of the packs"},
	OPTIONS_PASSWORD,
	OPTION_JSON,
	OPTIONS_END,
};
static const struct option forget_options[] = {
	OPTIONS_KEEP,
	{'n', "dry-run", NULL, "only show what would go"},
	OPTIONS_PASSWORD,
	OPTION_JSON,
	OPTIONS_END,
};
static const struct option prune_options[] = {
	OPTIONS_KEEP,
	{'n', "dry-run", NULL, "only say what it would free"},
	OPTIONS_PASSWORD,
	OPTION_JSON,
	OPTIONS_END,
};
static const struct option rebuild_options[] = {
	{0, "drop-missing", NULL, "packs and folders that are missing are lost for good"},
	OPTIONS_PASSWORD,
	OPTION_JSON,
	OPTIONS_END,
};
static const struct option unlock_options[] = {{0, "all", NULL, "also locks that somebody may hold"}, OPTIONS_PASSWORD, OPTION_JSON, OPTIONS_END};

const struct command repository_commands[] = {
	{.name = "backup init",
         .operands = "REPO",
         .summary = "make a repository for backups",
         .details = "REPO is a directory, or s3:URL, rest:URL, or a remote with a colon. It is a restic\n"
                    "repository of format version 2, encrypted with the password; one that restic made\n"
                    "is used as it is.\n",
         .min = 1,
         .max = 1,
         .options = plain_options,
         .run = run_init},
	{.name = "backup list",
         .operands = "REPO [DATASET]",
         .summary = "list backups",
         .min = 1,
         .max = 2,
         .options = plain_options,
         .run = run_list},
	{.name = "backup show",
         .operands = "REPO[@BACKUP]",
         .summary = "show one backup",
         .min = 1,
         .max = 1,
         .options = plain_options,
         .run = run_show},
	{.name = "backup verify",
         .operands = "REPO",
         .summary = "look whether a repository is undamaged",
         .details = "Reads every index, snapshot and directory, and looks whether all that they name\n"
                    "is there. What is damaged is listed, and what mends it; the exit code is 1.\n",
         .min = 1,
         .max = 1,
         .options = verify_options,
         .run = run_verify},
	{.name = "backup forget",
         .operands = "REPO [BACKUP]...",
         .summary = "let backups go",
         .details = "Either names them, or says with --keep-... which ones stay.\n",
         .min = 1,
         .max = -1,
         .options = forget_options,
         .run = run_forget},
	{.name = "backup prune",
         .operands = "REPO",
         .summary = "give back the room of what no backup names",
         .details = "With --keep-..., backups that the rules do not name are forgotten first, as by\n"
                    "backup forget.\n",
         .min = 1,
         .max = 1,
         .options = prune_options,
         .run = run_prune},
	{.name = "backup unlock",
         .operands = "REPO",
         .summary = "remove locks that nobody holds any more",
         .min = 1,
         .max = 1,
         .options = unlock_options,
         .run = run_unlock},
	{.name = "backup rebuild-index",
         .operands = "REPO",
         .summary = "make the index of a repository anew",
         .details = "For a repository whose index files are lost or damaged: what is in the packs is\n"
                    "read from them. If one that the old index names is missing, or a folder of packs,\n"
                    "the old index stays: mount the disk that it is on. With --drop-missing, what is\n"
                    "missing is listed and not named any more, and the exit code is 1.\n",
         .min = 1,
         .max = 1,
         .options = rebuild_options,
         .run = run_rebuild},
	{NULL},
};
