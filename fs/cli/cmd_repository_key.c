/* The passwords of a repository. */
#include <stdio.h>
#include <string.h>

#include "fs/cli/command.h"
#include "fs/cli/exit.h"
#include "fs/cli/password.h"
#include "fs/cli/repository.h"
#include "fs/cli/say.h"
#include "fs/cli/table.h"
#include "lib/ops/json.h"

static const struct column key_columns[] = {
	{"key", "KEY", COLUMN_TEXT}, {"user", "USER", COLUMN_TEXT}, {"host", "HOST", COLUMN_TEXT}, {"created", "CREATED", COLUMN_TEXT},
	{"current", "THIS PASSWORD", COLUMN_FLAG}, {NULL, NULL, COLUMN_TEXT},
};

/* For people: the first digits say which key is meant, and seconds when it was made. */
static void shorten(json_t *key, const char *name, size_t digits)
{
	const char *text = json_string_value(json_object_get(key, name));

	if (text && strlen(text) > digits)
		json_object_set_new(key, name, json_stringn(text, digits));
}

static int run_key_list(struct cli *cli)
{
	json_t *result, *key;
	size_t i;
	int code = repository_ask(cli, "backup.key.list", json_object(), NULL, &result);

	if (code != EXIT_OK)
		return code;
	if (!cli_option(cli, "json")) {
		json_array_foreach (json_object_get(result, "keys"), i, key) {
			shorten(key, "key", strlen("01234567"));
			shorten(key, "created", strlen("2026-11-29T14:00:00"));
		}
	}
	table_print(cli, key_columns, json_object_get(result, "keys"));
	json_decref(result);
	return EXIT_OK;
}

static int print_key(struct cli *cli, int code, json_t *result, const char *verb)
{
	if (code != EXIT_OK)
		return code;
	if (cli_option(cli, "json"))
		repository_print_json(result);
	else
		say("%s key %.8s\n", verb, json_string_value(json_object_get(result, "key")));
	json_decref(result);
	return EXIT_OK;
}

static int run_key_add(struct cli *cli)
{
	json_t *args = json_object(), *result = NULL;
	struct error err = {0};
	char *password = NULL;
	int r = password_set(cli, args, false, &err);

	if (r == 0)
		r = password_get_new(cli, &password, &err);
	if (r == 0)
		json_object_set_new(args, "new_password", json_from_bytes(password));
	password_free(password);
	if (r < 0) {
		json_decref(args);
		return exit_with(&err);
	}
	int code = repository_ask(cli, "backup.key.add", args, NULL, &result);
	return print_key(cli, code, result, "added");
}

static int run_key_remove(struct cli *cli)
{
	json_t *result = NULL;
	int code = repository_ask(cli, "backup.key.remove", json_pack("{s:o}", "key", json_from_bytes(cli->argv[1])), NULL, &result);

	return print_key(cli, code, result, "removed");
}

static const struct option plain_options[] = {OPTIONS_PASSWORD, OPTION_JSON, OPTIONS_END};
static const struct option key_options[] = {{0, "new-password-file", "FILE", "the new password is the first line of the file"},
                                            OPTIONS_PASSWORD, OPTION_JSON, OPTIONS_END};

const struct command repository_key_commands[] = {
	{.name = "backup key list",
         .operands = "REPO",
         .summary = "list the passwords of a repository",
         .min = 1,
         .max = 1,
         .options = plain_options,
         .run = run_key_list},
	{.name = "backup key add",
         .operands = "REPO",
         .summary = "add a password",
         .min = 1,
         .max = 1,
         .options = key_options,
         .run = run_key_add},
	{.name = "backup key remove",
         .operands = "REPO KEY",
         .summary = "remove a password",
         .min = 2,
         .max = 2,
         .options = plain_options,
         .run = run_key_remove},
	{NULL},
};
