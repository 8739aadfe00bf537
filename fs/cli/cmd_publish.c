#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/cli/command.h"
#include "fs/cli/exit.h"
#include "fs/cli/interrupt.h"
#include "fs/cli/password.h"
#include "fs/cli/place.h"
#include "fs/cli/remotes.h"
#include "fs/cli/repository.h"
#include "fs/cli/run.h"
#include "fs/cli/say.h"
#include "fs/cli/table.h"
#include "fs/cli/units.h"
#include "lib/backup/writer.h"
#include "lib/base/buf.h"
#include "lib/ops/json.h"

static json_int_t number(const json_t *result, const char *key)
{
	return json_integer_value(json_object_get(result, key));
}

static const char *text_of(const json_t *result, const char *key)
{
	const char *text = json_string_value(json_object_get(result, key));

	return text ? text : "";
}

/* It took longer than people may expect. */
static void tell_doubt(const json_t *result)
{
	const char *doubt = json_string_value(json_object_get(result, "doubt"));

	if (doubt)
		fprintf(stderr, "corpusfs: all of %s was looked at, and nothing taken over unseen from what was published before: %s\n",
		        text_of(result, "dataset"), doubt);
}

static void print_published(const json_t *result, const struct place *source, const char *place, bool dry_run)
{
	char added[UNITS_MAX], stored[UNITS_MAX];

	if (json_is_true(json_object_get(result, "was_there")) && !source->snapshot) {
		say("%s is unchanged since version %lld, %s; --unchanged publishes it once more\n", source->dataset, (long long)number(result, "number"),
		    text_of(result, "name"));
		return;
	}
	if (json_is_true(json_object_get(result, "was_there"))) {
		say("%s@%s is version %lld there already\n", text_of(result, "dataset"), text_of(result, "name"), (long long)number(result, "number"));
		return;
	}
	units_size((uint64_t)number(result, "added"), added);
	units_size((uint64_t)number(result, "stored"), stored);
	say("%s %s@%s as version %lld in %.*s", dry_run ? "would publish" : "published", text_of(result, "dataset"), text_of(result, "name"),
	    (long long)number(result, "number"), (int)(strlen(place) - (place[strlen(place) - 1] == ':')), place);
	say(": %lld files looked at, %lld unchanged, %s new, %s %s\n", (long long)number(result, "files"), (long long)number(result, "unchanged"), added,
	    stored, dry_run ? "to send at most" : "sent");
}

/* The name of a remote alone is one here, where nothing else makes sense: a directory has a slash in it. */
static char *find_place(const char *text)
{
	AUTO_FREE char *with_colon = xasprintf("%s:", text);

	return !strpbrk(text, ":/") && remote_find(with_colon, NULL, NULL, NULL) > 0 ? steal_ptr(with_colon) : xstrdup(text);
}

/* The first time. One that is there is as good. The password is asked for once: who publishes next needs the same. */
static int make_repository(struct cli *cli, const char *place, char **ret_password, struct error *err)
{
	json_t *args = json_pack("{s:o}", "place", json_from_bytes(place)), *result = NULL;
	AUTO_CLOSE int fd = -1;
	int r = repository_open_place(cli, place, true, &fd, err);

	if (r == 0)
		r = password_get(cli, true, ret_password, err);
	if (r == 0) {
		json_object_set_new(args, "password", json_from_bytes(*ret_password));
		r = run_op_alone("backup.init", args, fd, -1, NULL, &result, err);
	} else {
		json_decref(args);
	}
	if (r == 0)
		fprintf(stderr, "corpusfs: made a repository in %s; keep its password: without it nobody reads what is in it\n", place);
	json_decref(result);
	return r == -EEXIST ? 0 : r;
}

static int take_row(void *arg, json_t *row)
{
	return json_array_append(arg, row) < 0 ? -ENOMEM : 0;
}

static const struct column between_columns[] = {
	{"number", "VERSION", COLUMN_NUMBER}, {"name", "NAME", COLUMN_TEXT}, {"published", "PUBLISHED", COLUMN_TIME}, {"user", "USER", COLUMN_TEXT},
	{"host", "HOST", COLUMN_TEXT}, {"backup", "BACKUP", COLUMN_TEXT}, {NULL, NULL, COLUMN_TEXT},
};

static int check_lease(struct cli *cli, struct error *err)
{
	const char *text = cli_option(cli, "lease");
	char *end = NULL;
	const unsigned long seconds = text ? strtoul(text, &end, 10) : 0;

	if (!text || (*text >= '0' && *text <= '9' && !*end && seconds >= WRITER_SECONDS_MIN && seconds <= WRITER_SECONDS_MAX))
		return 0;
	return error_set(err, -EINVAL, "--lease %s: that is no number of seconds, %d to %d", text, WRITER_SECONDS_MIN, WRITER_SECONDS_MAX);
}

static json_t *make_args(struct cli *cli, const char *view, const char *place)
{
	const char *as = cli_option(cli, "as"), *lease = cli_option(cli, "lease");

	return json_pack("{s:o, s:o, s:o*, s:I, s:b, s:b, s:b, s:b}", "source", json_from_bytes(view), "place", json_from_bytes(place), "as", json_from_bytes(as),
	                 "lease", (json_int_t)(lease ? strtoul(lease, NULL, 10) : 0), "force", cli_option(cli, "force") != NULL, "dry_run",
	                 cli_option(cli, "dry-run") != NULL, "unchanged", cli_option(cli, "unchanged") != NULL, "single_writer",
	                 cli_option(cli, "single-writer") || json_is_true(json_object_get(cli->remote, "single_writer")));
}

static int publish(struct cli *cli, const char *view, const char *place, json_t *between, json_t **ret_result, struct error *err)
{
	AUTO_FREE char *store = NULL;
	AUTO_CLOSE int fd = -1;
	char *password = NULL;
	json_t *args;
	int r = check_lease(cli, err);

	if (r == 0)
		r = run_find_store(cli, &store, err);
	if (r == 0 && cli_option(cli, "init") && !cli_option(cli, "dry-run"))
		r = make_repository(cli, place, &password, err);
	if (r == 0)
		r = repository_open_place(cli, place, false, &fd, err);
	if (r == 0 && !password)
		r = password_get(cli, false, &password, err);
	interrupt_watch();
	if (r < 0) {
		password_free(password);
		return r;
	}
	args = make_args(cli, view, place);
	json_object_set_new(args, "password", json_from_bytes(password));
	password_free(password);
	return run_op_both_with(store, "publish", args, fd, "publish", (struct rows){take_row, between}, ret_result, err);
}

/* --- the writer's lease --- */

static int check_release(struct cli *cli, const struct place *source, struct error *err)
{
	static const char *const others[] = {"lease", "init", "single-writer", "dry-run", "unchanged"};

	if (source->snapshot)
		return error_set(err, -EINVAL, "--release is of a dataset, not of a snapshot");
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		if (cli_option(cli, others[i]))
			return error_set(err, -EINVAL, "--release publishes nothing, so --%s has no meaning with it", others[i]);
	return 0;
}

static int release(struct cli *cli, const struct place *source, const char *place, json_t **ret_result, struct error *err)
{
	json_t *args = json_pack("{s:o, s:o, s:o*, s:b}", "dataset", json_from_bytes(source->dataset), "place", json_from_bytes(place), "as",
	                         json_from_bytes(cli_option(cli, "as")), "force", cli_option(cli, "force") != NULL);
	AUTO_FREE char *store = NULL;
	AUTO_CLOSE int fd = -1;
	int r = check_release(cli, source, err);

	if (r == 0)
		r = run_find_store(cli, &store, err);
	if (r == 0)
		r = repository_open_place(cli, place, false, &fd, err);
	if (r == 0)
		r = password_set(cli, args, false, err);
	if (r == 0)
		return run_op_with(store, "publish.release", args, fd, NULL, ret_result, err);
	json_decref(args);
	return r;
}

static int run_release(struct cli *cli, const struct place *source, const char *place)
{
	json_t *result = NULL;
	struct error err = {0};

	if (release(cli, source, place, &result, &err) < 0)
		return repository_exit(place, &err, NULL);
	if (cli_option(cli, "json"))
		repository_print_json(result);
	else if (json_is_true(json_object_get(result, "released")))
		say("nobody is the writer of %s any more\n", text_of(result, "dataset"));
	else
		say("nobody was the writer of %s\n", text_of(result, "dataset"));
	json_decref(result);
	return EXIT_OK;
}

static int run_publish(struct cli *cli)
{
	AUTO_PLACE source = {0};
	AUTO_FREE char *place = find_place(cli->argv[1]), *view = NULL;
	json_t *between = json_array(), *result = NULL;
	struct error err = {0};
	int r = place_find(cli, cli->argv[0], PLACE_MAY_SNAPSHOT, &source, &err);

	if (r == 0 && cli_option(cli, "release")) {
		json_decref(between);
		return run_release(cli, &source, place);
	}
	if (r == 0) {
		view = place_view(&source);
		r = publish(cli, view, place, between, &result, &err);
	}
	if (r < 0 && json_array_size(between) > 0)
		table_print(cli, between_columns, between);
	json_decref(between);
	if (r < 0)
		return repository_exit(place, &err, "readers get what they got before; run the same command again");
	tell_doubt(result);
	if (cli_option(cli, "json"))
		repository_print_json(result);
	else
		print_published(result, &source, place, cli_option(cli, "dry-run") != NULL);
	json_decref(result);
	return EXIT_OK;
}

static const struct option publish_options[] = {
	{0, "as", "NAME", "what the dataset is called there"},
	{0, "init", NULL, "make the repository if there is none"},
	{0, "force", NULL, "whatever others have published since, or whoever has the lease"},
	{0, "unchanged", NULL, "a version even if nothing has changed"},
	{0, "single-writer", NULL, "no other machine publishes there"},
	{0, "lease", "SECONDS", "be its writer, until so long after this (etcd)"},
	{0, "release", NULL, "publish nothing: give the lease up"},
	{'n', "dry-run", NULL, "only say what would be published"},
	OPTIONS_PASSWORD,
	OPTION_JSON,
	OPTIONS_END,
};

const struct command publish_commands[] = {
	{.name = "publish",
         .operands = "DATASET[@NAME] REMOTE",
         .summary = "publish a dataset for other machines",
         .details = "An incremental backup, of which readers know when it is whole: REMOTE:DATASET is\n"
                    "the old version until then, and the new one from then on. Without @NAME a\n"
                    "snapshot is taken, and no version is made if nothing has changed since the last.\n"
                    "Each version has a name of its own and never changes. If another machine has\n"
                    "published since, or does so at the same time, it is refused, and what came in\n"
                    "between is listed. REMOTE may also be a repository.\n"
                    "With --release the dataset is its writer no more: another one takes over at once.\n"
                    "With --force also another machine's lease ends, which then cannot publish any more\n"
                    "until it takes one anew.\n",
         .min = 2,
         .max = 2,
         .options = publish_options,
         .run = run_publish},
	{NULL},
};
