#include "fs/cli/cmd_rollback.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fs/cli/differences.h"
#include "fs/cli/exit.h"
#include "fs/cli/place.h"
#include "fs/cli/run.h"
#include "fs/cli/say.h"
#include "lib/base/buf.h"
#include "lib/base/escape.h"
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
	"With a path, DATASET@NAME/PATH or by --path, which is relative to the dataset,\n"
	"only that file or directory is set back, in the running dataset and without a\n"
	"guard; nothing else changes.\n";

/* The differences from the head to the snapshot. */
static int dry_run(struct cli *cli, const struct place *place, const char *view)
{
	struct differences differences = differences_begin(cli);
	json_t *value, *args = json_pack("{s:o, s:o, s:o, s:b}", "a", json_from_bytes(place->dataset), "b", json_from_bytes(view), "path",
					 json_from_bytes(place->path), "stat", cli_option(cli, "stat") != NULL);
	int code = run_op_rows(cli, "diff", args, differences_row, &differences, &value);

	if (code != EXIT_OK)
		return code;
	differences_end(&differences, value);
	json_decref(value);
	return EXIT_OK;
}

static int restore(struct cli *cli, const struct place *place, const char *view)
{
	json_t *value, *args = json_pack("{s:o, s:o}", "name", json_from_bytes(view), "path", json_from_bytes(place->path));
	int code = run_op(cli, "dataset.restore", args, NULL, &value);
	long long files;

	if (code != EXIT_OK)
		return code;
	files = json_integer_value(json_object_get(value, "files"));
	if (cli_option(cli, "json")) {
		json_print(value);
	} else {
		AUTO_FREE char *path = escape_text(place->path, ESCAPE_BYTES | ESCAPE_CONTROL);
		say("%s is as in %s: %lld file%s\n", path, view, files, files == 1 ? "" : "s");
	}
	json_decref(value);
	return EXIT_OK;
}

static int rollback(struct cli *cli, const struct place *place, const char *view)
{
	bool no_guard = cli_option(cli, "no-guard") != NULL;
	json_t *value, *args = json_pack("{s:o, s:b}", "name", json_from_bytes(view), "no_guard", no_guard);
	int code = run_op(cli, "dataset.rollback", args, NULL, &value);
	const char *guard;

	if (code != EXIT_OK)
		return code;
	guard = json_string_value(json_object_get(value, "guard"));
	if (cli_option(cli, "json"))
		json_print(value);
	else if (guard && *guard)
		say("rolled back to %s; what was there before is kept as %s@%s\n", view, place->dataset, guard);
	else
		say("rolled back to %s\n", view);
	json_decref(value);
	return EXIT_OK;
}

int cmd_rollback(struct cli *cli)
{
	const char *path = cli_option(cli, "path");
	AUTO_PLACE place = {0};
	struct error err = {0};
	int result = place_find(cli, cli->argv[0], PLACE_MUST_SNAPSHOT | PLACE_MAY_PATH, &place, &err);

	if (result == 0)
		result = place_add_path(cli, &place, path, &err);
	if (result < 0)
		return exit_with(&err);
	AUTO_FREE char *view = place_view(&place);
	if (cli_option(cli, "dry-run"))
		return dry_run(cli, &place, view);
	if (cli_option(cli, "stat")) {
		error_set(&err, -EINVAL, "--stat goes with --dry-run; nothing was changed");
		return exit_with(&err);
	}
	return path || *place.path ? restore(cli, &place, view) : rollback(cli, &place, view);
}
