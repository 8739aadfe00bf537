#include "fs/cli/cmd_rollback.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fs/cli/differences.h"
#include "fs/cli/exit.h"
#include "fs/cli/run.h"
#include "lib/base/buf.h"
#include "lib/ops/json.h"

const struct option rollback_options[] = {
	{0, "path", "PATH", "only this file or directory"},
	{'n', "dry-run", NULL, "only show what would change"},
	{0, "stat", NULL, "with --dry-run: sums only"},
	{0, "no-guard", NULL, "do not keep the state that is left"},
	OPTION_JSON,
	OPTIONS_END,
};

const char rollback_details[] =
	"The state that is left is kept as a snapshot before-rollback-TIME.\n"
	"With --path, which is relative to the dataset, only that file or directory is\n"
	"set back, in the running dataset and without a guard; nothing else changes.\n";

/* The differences from the head to the snapshot. */
static int dry_run(struct cli *cli)
{
	const char *target = cli->argv[0], *path = cli_option(cli, "path");
	AUTO_FREE char *dataset = xstrdup(target);
	struct differences differences = differences_begin(cli);
	json_t *value, *args;
	int code;

	if (!strchr(target, '@')) {
		struct error err = {0};
		error_set(&err, -EINVAL, "\"%s\" does not name a snapshot", target);
		error_hint(&err, "snapshots are named DATASET@NAME");
		return exit_with(&err);
	}
	dataset[strcspn(dataset, "@")] = '\0';
	args = json_pack("{s:o, s:o, s:o*, s:b}", "a", json_from_bytes(dataset), "b", json_from_bytes(target), "path", json_from_bytes(path),
			 "stat", cli_option(cli, "stat") != NULL);
	code = run_op_rows(cli, "diff", args, differences_row, &differences, &value);
	if (code != EXIT_OK)
		return code;
	differences_end(&differences, value);
	json_decref(value);
	return EXIT_OK;
}

static int restore(struct cli *cli, const char *path)
{
	json_t *value, *args = json_pack("{s:o, s:o}", "name", json_from_bytes(cli->argv[0]), "path", json_from_bytes(path));
	int code = run_op(cli, "dataset.restore", args, NULL, &value);
	long long files;

	if (code != EXIT_OK)
		return code;
	files = json_integer_value(json_object_get(value, "files"));
	if (cli_option(cli, "json")) {
		json_print(value);
	} else {
		printf("%s is as in %s: %lld file%s\n", path, cli->argv[0], files, files == 1 ? "" : "s");
	}
	json_decref(value);
	return EXIT_OK;
}

static int rollback(struct cli *cli)
{
	bool no_guard = cli_option(cli, "no-guard") != NULL;
	json_t *value, *args = json_pack("{s:o, s:b}", "name", json_from_bytes(cli->argv[0]), "no_guard", no_guard);
	int code = run_op(cli, "dataset.rollback", args, NULL, &value);
	const char *guard;

	if (code != EXIT_OK)
		return code;
	guard = json_string_value(json_object_get(value, "guard"));
	if (cli_option(cli, "json")) {
		json_print(value);
	} else if (guard && *guard) {
		printf("rolled back to %s; what was there before is kept as %.*s@%s\n", cli->argv[0],
		       (int)strcspn(cli->argv[0], "@"), cli->argv[0], guard);
	} else {
		printf("rolled back to %s\n", cli->argv[0]);
	}
	json_decref(value);
	return EXIT_OK;
}

int cmd_rollback(struct cli *cli)
{
	const char *path = cli_option(cli, "path");

	if (cli_option(cli, "dry-run"))
		return dry_run(cli);
	return path ? restore(cli, path) : rollback(cli);
}
