/* Names for repositories: made, looked at, tried out, forgotten. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "fs/cli/command.h"
#include "fs/cli/exit.h"
#include "fs/cli/password.h"
#include "fs/cli/remotes.h"
#include "fs/cli/repository.h"
#include "fs/cli/say.h"
#include "fs/cli/table.h"
#include "lib/base/buf.h"
#include "lib/ops/json.h"
#include "lib/repository/etcd_members.h"
#include "lib/repository/objects_open.h"

static const char *text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

/* --- adding and removing --- */

/* A file that is not there yet may come: how it is called is known. */
static char *absolute(const char *path)
{
	AUTO_FREE char *here = NULL;
	char *found = realpath(path, NULL);

	if (found || path[0] == '/')
		return found ? found : xstrdup(path);
	here = realpath(".", NULL);
	return here ? xasprintf("%s/%s", here, path) : NULL;
}

static int set(json_t *remote, const char *key, const char *value, bool is_path, struct error *err)
{
	AUTO_FREE char *found = is_path ? absolute(value) : xstrdup(value);
	json_t *text = found ? json_string(found) : NULL;

	if (!text)
		return error_set(err, -EINVAL, "%s is no UTF-8, or its place is not known", value);
	json_object_set_new(remote, key, text);
	return 0;
}

static int check_etcd(struct cli *cli, struct error *err)
{
	if (cli_option(cli, "etcd-credentials-file") && cli_option(cli, "etcd-credentials-command"))
		return error_set(err, -EINVAL, "credentials come from a file or from a command, not from both");
	if (cli_option(cli, "etcd"))
		return etcd_members_check(cli_option(cli, "etcd"), err);
	for (const struct remote_setting *setting = remote_settings; setting->key; setting++)
		if (strncmp(setting->key, "etcd_", strlen("etcd_")) == 0 && cli_option(cli, setting->option))
			return error_set(err, -EINVAL, "--%s has no meaning without --etcd", setting->option);
	return 0;
}

static int check_options(struct cli *cli, const char *url, struct error *err)
{
	const bool is_url = objects_is_url(url);

	if (cli_option(cli, "password-file") && cli_option(cli, "password-command"))
		return error_set(err, -EINVAL, "the password comes from a file or from a command, not from both");
	if (cli_option(cli, "credentials-file") && cli_option(cli, "credentials-command"))
		return error_set(err, -EINVAL, "credentials come from a file or from a command, not from both");
	for (const struct remote_setting *setting = remote_settings; setting->key && !is_url; setting++)
		if (strncmp(setting->key, "password", strlen("password")) != 0 && cli_option(cli, setting->option))
			return error_set(err, -EINVAL, "--%s has no meaning for a directory", setting->option);
	if (check_etcd(cli, err) < 0)
		return err->code;
	return repository_name_check(url, err);
}

/* What a user asks etcd with. */
static void note_clear(struct cli *cli)
{
	const char *members = cli_option(cli, "etcd");

	if (members && (cli_option(cli, "etcd-credentials-file") || cli_option(cli, "etcd-credentials-command")) &&
	    etcd_members_in_clear(members, cli_option(cli, "etcd-ca-file") || cli_option(cli, "etcd-client-file")))
		fprintf(stderr, "corpusfs: note: the password for etcd goes over the network in the clear; --etcd-ca-file, or https:// before its names, has "
				"it go with TLS\n");
}

static int run_add(struct cli *cli)
{
	const char *url = cli->argv[1];
	json_t *remote = json_object();
	struct error err = {0};
	int r = check_options(cli, url, &err);

	if (r == 0)
		r = set(remote, "url", url, !objects_is_url(url), &err);
	for (const struct remote_setting *setting = remote_settings; setting->key && r == 0; setting++)
		if (cli_option(cli, setting->option))
			r = set(remote, setting->key, cli_option(cli, setting->option), setting->is_path, &err);
	if (r == 0 && cli_option(cli, "single-writer"))
		json_object_set_new(remote, "single_writer", json_true());
	if (r == 0)
		r = remotes_change(cli->argv[0], json_incref(remote), &err);
	json_decref(remote);
	if (r < 0)
		return exit_with(&err);
	say("added remote %s; corpusfs remote test %s tries it out\n", cli->argv[0], cli->argv[0]);
	note_clear(cli);
	return EXIT_OK;
}

static int run_remove(struct cli *cli)
{
	struct error err = {0};

	if (remotes_change(cli->argv[0], NULL, &err) < 0)
		return exit_with(&err);
	say("forgot remote %s; what is stored there stays\n", cli->argv[0]);
	return EXIT_OK;
}

/* --- looking --- */

static const struct column list_columns[] = {{"name", "NAME", COLUMN_TEXT}, {"url", "URL", COLUMN_TEXT}, {NULL, NULL, COLUMN_TEXT}};
static const struct column show_columns[] = {
	{"name", "name", COLUMN_TEXT}, {"url", "url", COLUMN_TEXT}, {"password", "password", COLUMN_TEXT},
	{"credentials", "credentials", COLUMN_TEXT}, {"profile", "profile", COLUMN_TEXT}, {"region", "region", COLUMN_TEXT},
	{"ca_file", "certificates", COLUMN_TEXT}, {"etcd", "etcd", COLUMN_TEXT}, {"etcd_credentials", "its credentials", COLUMN_TEXT},
	{"etcd_ca_file", "its certificates", COLUMN_TEXT}, {"etcd_client_file", "ours for it", COLUMN_TEXT},
	{"single_writer", "single writer", COLUMN_FLAG}, {NULL, NULL, COLUMN_TEXT},
};

static const struct column version_columns[] = {
	{"dataset", "DATASET", COLUMN_TEXT}, {"number", "VERSION", COLUMN_NUMBER}, {"name", "NAME", COLUMN_TEXT}, {"state", "STATE", COLUMN_TEXT},
	{"published", "PUBLISHED", COLUMN_TIME}, {"user", "USER", COLUMN_TEXT}, {"host", "HOST", COLUMN_TEXT}, {"added", "NEW", COLUMN_BYTES},
	{"stored", "SENT", COLUMN_BYTES}, {"short", "BACKUP", COLUMN_TEXT}, {NULL, NULL, COLUMN_TEXT},
};

static const struct column writer_columns[] = {
	{"dataset", "WRITER OF", COLUMN_TEXT}, {"host", "HOST", COLUMN_TEXT}, {"user", "USER", COLUMN_TEXT}, {"term", "TERM", COLUMN_NUMBER},
	{"since", "SINCE", COLUMN_TIME}, {"until", "UNTIL", COLUMN_TIME}, {NULL, NULL, COLUMN_TEXT},
};

static bool is_so(const json_t *row, const char *key)
{
	return json_is_true(json_object_get(row, key));
}

/* For people: who the writers are, where there are some. */
static void print_writers(struct cli *cli, const json_t *versions)
{
	json_t *rows = json_array(), *version;
	size_t i;

	json_array_foreach((json_t *)versions, i, version) {
		json_t *row = json_copy(json_object_get(version, "writer"));

		if (row)
			json_object_set(row, "dataset", json_object_get(version, "dataset"));
		if (row)
			json_array_append_new(rows, row);
	}
	if (json_array_size(rows) > 0) {
		say("\n");
		table_print(cli, writer_columns, rows);
	}
	json_decref(rows);
}

static const char *state_of(const json_t *row)
{
	if (!json_object_get(row, "number") && !is_so(row, "damaged"))
		return "not yet";
	return is_so(row, "damaged") ? "damaged" : is_so(row, "gone") ? "gone" : is_so(row, "head") ? "head" : "";
}

/* What was published in a remote. */
static int list_versions(struct cli *cli)
{
	json_t *result, *rows, *row;
	int code = repository_ask(cli, "remote.versions", json_object(), NULL, &result);
	size_t i;

	if (code != EXIT_OK)
		return code;
	rows = json_object_get(result, "versions");
	json_array_foreach(rows, i, row) {
		if (cli_option(cli, "json"))
			break;
		json_object_set_new(row, "state", json_string(state_of(row)));
		repository_add_short(row);
	}
	table_print(cli, version_columns, rows);
	json_array_foreach(rows, i, row)
		if (text_of(row, "why"))
			fprintf(stderr, "corpusfs: %s\n", text_of(row, "why"));
	if (!cli_option(cli, "json"))
		print_writers(cli, rows);
	if (text_of(result, "writers_unknown"))
		fprintf(stderr, "corpusfs: note: who may publish is not shown: %s\n", text_of(result, "writers_unknown"));
	json_decref(result);
	return EXIT_OK;
}

/* The operand that commands on repositories take: the name of a remote alone is one here. -ENOENT */
static int name_remote(struct cli *cli, char **operand, struct error *err)
{
	json_t *remote = NULL;

	/* A path is as good. */
	if (strpbrk(cli->argv[0], ":/"))
		return 0;
	if (remote_get(cli->argv[0], &remote, err) < 0)
		return err->code;
	json_decref(remote);
	*operand = xasprintf("%s:", cli->argv[0]);
	cli->argv[0] = *operand;
	return 0;
}

static int run_list(struct cli *cli)
{
	AUTO_FREE char *operand = NULL;
	json_t *remotes, *rows = json_array(), *remote;
	struct error err = {0};
	const char *name;
	int r = cli->argc > 0 ? name_remote(cli, &operand, &err) : remotes_read(&remotes, &err);

	if (r < 0 || cli->argc > 0) {
		json_decref(rows);
		return r < 0 ? exit_with(&err) : list_versions(cli);
	}
	json_object_foreach(remotes, name, remote)
		json_array_append_new(rows, json_pack("{s:s, s:O}", "name", name, "url", json_object_get(remote, "url")));
	table_print(cli, list_columns, rows);
	json_decref(rows);
	json_decref(remotes);
	return EXIT_OK;
}

/* For people: where something comes from, in words. */
static void describe(json_t *remote, const char *what, const char *otherwise)
{
	AUTO_FREE char *file_key = xasprintf("%s_file", what), *command_key = xasprintf("%s_command", what);
	const char *file = text_of(remote, file_key), *command = text_of(remote, command_key);
	AUTO_FREE char *text = file ? xasprintf("the file %s", file) : command ? xasprintf("the command %s", command) : xstrdup(otherwise);

	json_object_set_new(remote, what, json_string(text));
}

static int run_show(struct cli *cli)
{
	json_t *remote;
	struct error err = {0};

	if (remote_get(cli->argv[0], &remote, &err) < 0)
		return exit_with(&err);
	json_object_set_new(remote, "name", json_string(cli->argv[0]));
	if (!cli_option(cli, "json")) {
		describe(remote, "password", "the environment, or whoever is asked");
		if (objects_is_url(text_of(remote, "url")))
			describe(remote, "credentials", "the environment");
		if (text_of(remote, "etcd"))
			describe(remote, "etcd_credentials", "none");
	}
	table_print_object(cli, show_columns, remote);
	json_decref(remote);
	return EXIT_OK;
}

/* --- trying --- */

static void print_test(const json_t *result, const char *name)
{
	const json_t *ahead = json_object_get(result, "ahead"), *etcd = json_object_get(result, "etcd");
	const double seconds = json_real_value(ahead);

	say("%s answers: repository %.8s of format %lld, %.1f ms from question to answer\n", name, text_of(result, "id"),
	    (long long)json_integer_value(json_object_get(result, "version")), json_real_value(json_object_get(result, "latency_ms")));
	if (json_is_real(ahead) && seconds == 0)
		say("its clock agrees with this machine's\n");
	else if (json_is_real(ahead))
		say("its clock is %.0f s %s this machine's\n", seconds < 0 ? -seconds : seconds, seconds < 0 ? "behind" : "ahead of");
	if (etcd)
		say("etcd: %lld of %lld answer, within %.1f ms\n", (long long)json_integer_value(json_object_get(etcd, "answering")),
		    (long long)json_integer_value(json_object_get(etcd, "members")), json_real_value(json_object_get(etcd, "latency_ms")));
	if (!json_is_true(json_object_get(result, "writes")))
		say("nothing may be written there: it can be read and mounted\n");
	else if (etcd && !is_so(etcd, "writes"))
		say("etcd does not permit to publish there\n");
	else if (etcd)
		say("of several who publish at once etcd lets a single one through\n");
	else if (json_is_true(json_object_get(result, "conditional")))
		say("of several who write at once it lets a single one through\n");
	else
		say("it does not keep writers apart: only one machine should write there\n");
	if (json_is_true(json_object_get(result, "leases")))
		say("etcd gives the lease of a writer (publish --lease, mount -o lease)\n");
	else if (json_is_true(json_object_get(result, "writes")) && !etcd)
		say("there are no leases of writers (publish --lease, mount -o lease): only etcd gives them, see remote add --etcd\n");
}

static int run_test(struct cli *cli)
{
	AUTO_FREE char *operand = NULL;
	const char *called = cli->argv[0];
	struct error err = {0};
	json_t *result;
	int code;

	if (name_remote(cli, &operand, &err) < 0)
		return exit_with(&err);
	code = repository_ask(cli, "remote.test", json_object(), NULL, &result);
	if (code != EXIT_OK)
		return code;
	if (cli_option(cli, "json"))
		repository_print_json(result);
	else
		print_test(result, called);
	json_decref(result);
	return EXIT_OK;
}

static const struct option add_options[] = {
	OPTIONS_PASSWORD,
	{0, "credentials-file", "FILE", "key and secret, or user and password, of who asks"},
	{0, "credentials-command", "COMMAND", "prints what such a file has"},
	{0, "profile", "NAME", "the section of the file; else [default]"},
	{0, "region", "NAME", "of S3"},
	{0, "ca-file", "FILE", "certificates of the server's authorities, PEM"},
	{0, "single-writer", NULL, "one machine writes there: the place need not keep writers apart"},
	{0, "etcd", "HOST:PORT,...", "etcd says which version of a dataset is the newest"},
	{0, "etcd-ca-file", "FILE", "certificates of the authorities of etcd, PEM"},
	{0, "etcd-client-file", "FILE", "certificate and key for etcd, PEM"},
	{0, "etcd-credentials-file", "FILE", "user and password for etcd"},
	{0, "etcd-credentials-command", "COMMAND", "prints what such a file has"},
	OPTIONS_END,
};
static const struct option list_options[] = {OPTION_JSON, OPTIONS_END};
static const struct option test_options[] = {OPTIONS_PASSWORD, OPTION_JSON, OPTIONS_END};
static const struct option versions_options[] = {OPTION_STALE_OK, OPTIONS_PASSWORD, OPTION_JSON, OPTIONS_END};

const struct command remote_commands[] = {
	{.name = "remote add",
         .operands = "NAME URL",
         .summary = "give a repository a name",
         .details = "URL is s3:..., rest:... or a directory. NAME: then stands for the repository in\n"
                    "every command that takes one, with its password and credentials: only where they\n"
                    "come from is kept, in ~/.config/corpusfs/remotes. A profile without a file is one\n"
                    "of ~/.aws/credentials. Nothing is made there: corpusfs backup init NAME: does.\n"
                    "With --etcd, several machines may publish wherever the repository is; all of\n"
                    "them, and all who read, name the same etcd.\n",
         .min = 2,
         .max = 2,
         .options = add_options,
         .run = run_add},
	{.name = "remote list",
         .operands = "[REMOTE]",
         .summary = "list remotes, or what was published in one",
         .details = "Of each dataset all versions, the oldest first; the head is what readers get who\n"
                    "name none. Gone is one whose backup was forgotten. Below them, which datasets have\n"
                    "a writer, with a lease until when.\n",
         .min = 0,
         .max = 1,
         .options = versions_options,
         .run = run_list},
	{.name = "remote show",
         .operands = "NAME",
         .summary = "show a remote, and where its secrets come from",
         .min = 1,
         .max = 1,
         .options = list_options,
         .run = run_show},
	{.name = "remote test",
         .operands = "NAME",
         .summary = "see whether a remote works, and what it can do",
         .details = "Opens the repository, and says how fast it answers, whether its clock agrees, and\n"
                    "whether of several who write one object at once a single one gets through. That\n"
                    "is tried with an object which is removed again. Of etcd, how many members answer,\n"
                    "and whether it permits to publish.\n",
         .min = 1,
         .max = 1,
         .options = test_options,
         .run = run_test},
	{.name = "remote remove",
         .operands = "NAME",
         .summary = "forget a remote",
         .min = 1,
         .max = 1,
         .run = run_remove},
	{NULL},
};
