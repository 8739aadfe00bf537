/* Seeing whether backups come back. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fs/cli/command.h"
#include "fs/cli/exit.h"
#include "fs/cli/password.h"
#include "fs/cli/repository.h"
#include "fs/cli/run.h"
#include "fs/cli/table.h"
#include "lib/base/buf.h"
#include "lib/ops/json.h"

static const struct column drill_columns[] = {
	{"short", "BACKUP", COLUMN_TEXT}, {"dataset", "DATASET", COLUMN_TEXT}, {"files", "FILES", COLUMN_NUMBER}, {"bytes", "SIZE", COLUMN_BYTES},
	{"took", "TOOK", COLUMN_TEXT},    {"result", "IDENTITY", COLUMN_TEXT}, {NULL, NULL, COLUMN_TEXT},
};

static void note_drill(struct cli *cli, const json_t *rows, const char *failure)
{
	json_t *verified = repository_verified(rows), *row;
	double seconds = 0;
	size_t i;

	json_array_foreach(rows, i, row)
		seconds = MAX(seconds, json_real_value(json_object_get(row, "seconds")));
	repository_note(cli, "drill", seconds, verified, failure);
	json_decref(verified);
}

/* For people. */
static void describe_drill(json_t *row)
{
	AUTO_FREE char *took = xasprintf("%.1f s", json_real_value(json_object_get(row, "seconds")));
	const char *result = json_is_true(json_object_get(row, "same")) ? "the same" : "not known";

	repository_add_short(row);
	json_object_set_new(row, "took", json_string(took));
	json_object_set_new(row, "result", json_string(json_is_true(json_object_get(row, "incomplete")) ? "incomplete" : result));
}

/* Of a drill that failed. What says nothing of the backups, a wrong password for example, is not kept. */
static int drill_failed(struct cli *cli, struct error *err)
{
	CLEANUP(repository_name_clear) struct repository_name name = repository_name_of(cli->argv[0]);

	if (err->code == -EBADMSG || err->code == -EILSEQ || err->code == -EIO)
		repository_note(cli, "drill", 0, NULL, err->text);
	return repository_exit(name.place, err, NULL);
}

/* It need not be there any more: then it is called as status does. */
static int forget(struct cli *cli)
{
	CLEANUP(repository_name_clear) struct repository_name name = repository_name_of(cli->argv[0]);
	AUTO_FREE char *absolute = repository_absolute(name.place);

	return run_op(cli, "backup.drill.forget", json_pack("{s:o}", "repository", json_from_bytes(absolute ? absolute : name.place)), NULL, NULL);
}

static int run_drill(struct cli *cli)
{
	const char *scratch = cli_option(cli, "scratch"), *temporary = getenv("TMPDIR");
	json_t *args, *result, *rows, *row;
	struct error err = {0};
	int code = EXIT_OK;
	size_t i;

	if (scratch && cli_option(cli, "memory")) {
		(void)error_set(&err, -EINVAL, "--memory writes nothing, so it goes without --scratch");
		return exit_with(&err);
	}
	if (cli_option(cli, "forget")) {
		if (!scratch && !cli_option(cli, "memory"))
			return forget(cli);
		(void)error_set(&err, -EINVAL, "--forget restores nothing, so it goes without --scratch and --memory");
		return exit_with(&err);
	}
	args = json_pack("{s:b}", "count", isatty(STDERR_FILENO));
	if (!cli_option(cli, "memory"))
		json_object_set_new(args, "scratch", json_from_bytes(scratch ? scratch : temporary && *temporary ? temporary : "/var/tmp"));
	if (repository_try(cli, "backup.drill", args, "drill", &result, &err) < 0)
		return drill_failed(cli, &err);
	rows = json_object_get(result, "backups");
	json_array_foreach(rows, i, row) {
		const bool incomplete = json_is_true(json_object_get(row, "incomplete"));

		if (!cli_option(cli, "json"))
			describe_drill(row);
		if (!incomplete)
			continue;
		fprintf(stderr, "corpusfs: backup %.8s is incomplete: what could not be read when it was made is not in it\n",
		        json_string_value(json_object_get(row, "backup")));
		code = EXIT_FAILED;
	}
	table_print(cli, drill_columns, rows);
	note_drill(cli, rows, code == EXIT_OK ? NULL : "a backup is incomplete");
	json_decref(result);
	return code;
}

static const struct option drill_options[] = {
	{0, "scratch", "DIR", "where there is room for what is restored; else $TMPDIR or /var/tmp"},
	{0, "memory", NULL, "piece by piece into memory, for which no room is needed"},
	{0, "forget", NULL, "only tell no more how drills of it went"},
	OPTIONS_PASSWORD,
	OPTION_JSON,
	OPTIONS_END,
};

const struct command drill_commands[] = {
	{.name = "backup drill",
         .operands = "REPO[@BACKUP]",
         .summary = "see whether backups come back",
         .details = "Restores the newest backup and one at random, or the one that is named, into a\n"
                    "new store that goes again, compares their identities and says how long it took.\n"
                    "With --memory all is read and checked the same way, and written nowhere.\n"
                    "`corpusfs status` tells how the last one went; of a repository that is gone,\n"
                    "--forget ends that.\n",
         .min = 1,
         .max = 1,
         .options = drill_options,
         .run = run_drill},
	{NULL},
};
