/* Holds on backups. */
#include <errno.h>

#include "fs/cli/command.h"
#include "fs/cli/exit.h"
#include "fs/cli/password.h"
#include "fs/cli/repository.h"
#include "fs/cli/say.h"
#include "lib/ops/json.h"

static int change(struct cli *cli, const char *op, const char *done)
{
	json_t *result;
	int code = repository_ask(cli, op, json_pack("{s:o}", "tag", json_from_bytes(cli->argv[1])), NULL, &result);

	if (code != EXIT_OK)
		return code;
	if (cli_option(cli, "json"))
		repository_print_json(result);
	else
		say("backup %.8s is %s \"%s\"\n", json_string_value(json_object_get(result, "backup")), done, cli->argv[1]);
	json_decref(result);
	return EXIT_OK;
}

static int run_hold(struct cli *cli)
{
	return change(cli, "backup.hold", "held by");
}

static int run_release(struct cli *cli)
{
	return change(cli, "backup.release", "no more held by");
}

static const struct option hold_options[] = {OPTIONS_PASSWORD, OPTION_JSON, OPTIONS_END};

const struct command backup_hold_commands[] = {
	{.name = "backup hold",
         .operands = "REPO@BACKUP TAG",
         .summary = "keep a backup from being let go",
         .details = "TAG says why, and ends the hold: corpusfs backup release REPO@BACKUP TAG. Until\n"
                    "then backup forget refuses the backup, and rules with --keep-... leave it. A\n"
                    "backup may have several. Restic knows no holds.\n",
         .min = 2,
         .max = 2,
         .options = hold_options,
         .run = run_hold},
	{.name = "backup release",
         .operands = "REPO@BACKUP TAG",
         .summary = "end a hold of a backup",
         .min = 2,
         .max = 2,
         .options = hold_options,
         .run = run_release},
	{NULL},
};
