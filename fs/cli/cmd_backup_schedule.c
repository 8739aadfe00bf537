/* Backups by the clock: planning them, and making those that are due. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fs/cli/cmd_backup_schedule.h"
#include "fs/cli/command.h"
#include "fs/cli/exit.h"
#include "fs/cli/heal_tick.h"
#include "fs/cli/interrupt.h"
#include "fs/cli/keep.h"
#include "fs/cli/password.h"
#include "fs/cli/place.h"
#include "fs/cli/remotes.h"
#include "fs/cli/repository.h"
#include "fs/cli/run.h"
#include "fs/cli/say.h"
#include "fs/cli/table.h"
#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/ops/json.h"
#include "lib/repository/objects_open.h"

static const char *const kinds[] = {"full", "differential", "incremental", "drill"};

/* --- planning --- */

static void print_schedule(const json_t *entry)
{
	const json_t *every = json_object_get(entry, "every"), *keep = json_object_get(entry, "keep"), *number;
	const char *name;

	if (!json_object_get(entry, "repository")) {
		say("no backups are made by the clock\n");
		return;
	}
	say("repository     %s\n", json_string_value(json_object_get(entry, "repository")));
	if (json_object_get(entry, "password_file"))
		say("password file  %s\n", json_string_value(json_object_get(entry, "password_file")));
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (json_object_get(every, kinds[i]))
			say("%-14s %s%s\n", kinds[i], json_string_value(json_object_get(every, kinds[i])),
			    strcmp(kinds[i], "drill") == 0 && json_is_true(json_object_get(entry, "memory")) ? ", into memory" : "");
	json_object_foreach((json_t *)keep, name, number)
		say("keep %-9s %lld\n", name, (long long)json_integer_value(number));
}

static int show(struct cli *cli, const char *dataset)
{
	json_t *entry;
	int code = run_op(cli, "backup.schedule.get", json_pack("{s:o}", "dataset", json_from_bytes(dataset)), NULL, &entry);

	if (code != EXIT_OK)
		return code;
	if (cli_option(cli, "json"))
		repository_print_json(entry);
	else
		print_schedule(entry);
	json_decref(entry);
	return EXIT_OK;
}

static int absolute(json_t *args, const char *key, const char *path, struct error *err)
{
	char *found = repository_absolute(path);

	if (!found)
		return error_set(err, -errno, "%s: %s", path, strerror(errno));
	json_object_set_new(args, key, json_from_bytes(found));
	free(found);
	return 0;
}

/* {dataset_id: {type: when the newest complete one was taken}} */
static json_t *newest_of_each(const json_t *rows)
{
	json_t *all = json_object(), *row;
	size_t i;

	json_array_foreach(rows, i, row) {
		const char *of = json_string_value(json_object_get(row, "dataset_id")), *type = json_string_value(json_object_get(row, "type"));
		json_t *taken = json_object_get(row, "taken"), *types = of ? json_object_get(all, of) : NULL;

		if (!of || json_is_true(json_object_get(row, "incomplete")))
			continue;
		if (!types) {
			types = json_object();
			json_object_set_new(all, of, types);
		}
		if (json_number_value(taken) > json_number_value(json_object_get(types, type)))
			json_object_set(types, type, taken);
	}
	return all;
}

/* What cannot be opened now would be found in the night. Adds the backups that are there to `plan`: they count. */
static int look_at_repository(struct cli *cli, const char *path, json_t *plan, struct error *err)
{
	json_t *args = json_object(), *result = NULL;
	AUTO_CLOSE int fd = -1;
	int r = repository_open_place(cli, path, false, &fd, err);

	if (r == 0)
		r = password_set(cli, args, false, err);
	if (r == 0)
		r = run_op_alone("backup.list", args, fd, -1, NULL, &result, err);
	else
		json_decref(args);
	if (r == 0)
		json_object_set_new(plan, "made", newest_of_each(json_object_get(result, "backups")));
	json_decref(result);
	return r;
}

/* A store must not decide where data goes: what is on the network is named by its user. */
static int check_no_url(const char *repository, struct error *err)
{
	if (!objects_is_url(repository))
		return repository_name_check(repository, err);
	(void)error_set(err, -EINVAL, "backups by the clock go to a directory or to a remote, and %.*s... is neither", (int)strcspn(repository, ":") + 1,
	                repository);
	error_hint(err, "corpusfs remote add NAME URL gives it a name, and NAME: stands for it");
	return -EINVAL;
}

static int plan(struct cli *cli, json_t *args, struct error *err)
{
	json_t *every = json_object();
	const char *file = cli_option(cli, "password-file");
	int r;

	json_object_set_new(args, "every", every);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (cli_option(cli, kinds[i]))
			json_object_set_new(every, kinds[i], json_from_bytes(cli_option(cli, kinds[i])));
	if (cli_option(cli, "memory"))
		json_object_set_new(args, "memory", json_true());
	r = keep_set(cli, args, err);
	if (r == 0)
		r = check_no_url(cli->argv[1], err);
	if (r == 0 && !file && !remote_has_password(cli->argv[1])) {
		r = error_set(err, -EINVAL, "no password file is named, and nobody is there to ask when a backup is due");
		error_hint(err, "--password-file FILE, which only you can read");
	}
	if (r == 0 && file)
		r = absolute(args, "password_file", file, err);
	if (r == 0)
		r = absolute(args, "repository", cli->argv[1], err);
	return r == 0 ? look_at_repository(cli, cli->argv[1], args, err) : r;
}

static int run_schedule(struct cli *cli)
{
	AUTO_PLACE place = {0};
	struct error err = {0};
	json_t *args;
	int r = place_find(cli, cli->argv[0], 0, &place, &err);

	if (r == 0 && cli->argc == 1 && !cli_option(cli, "off"))
		return show(cli, place.dataset);
	args = json_pack("{s:o*}", "dataset", json_from_bytes(place.dataset));
	if (r == 0 && cli_option(cli, "off") && cli->argc > 1)
		r = error_set(&err, -EINVAL, "--off makes no backups, so it goes without a repository");
	if (r == 0 && !cli_option(cli, "off"))
		r = plan(cli, args, &err);
	if (r < 0) {
		json_decref(args);
		return exit_with(&err);
	}
	return run_op(cli, "backup.schedule.set", args, NULL, NULL);
}

/* --- making those that are due --- */

struct due {
	struct cli *cli;
	const char *store;
	json_t *row;
	const char *dataset, *kind, *repository;
	int fd;
	char *password;
	json_t *verified; /* by a drill; owned */
};

static int run_backup(const struct due *due, struct error *err)
{
	json_t *args = json_pack("{s:[O], s:O, s:s, s:b, s:s}", "sources", json_object_get(due->row, "dataset"), "place",
	                         json_object_get(due->row, "repository"), "type", due->kind, "share", 0, "password", due->password),
	       *result = NULL;
	const json_t *rows;
	int r = run_op_with(due->store, "backup.run", args, due->fd, NULL, &result, err);

	rows = json_object_get(result, "backups");
	if (r == 0 && json_integer_value(json_object_get(json_array_get(rows, 0), "problem_count")) > 0)
		r = error_set(err, -EIO, "files could not be read: corpusfs backup %s %s names them", due->dataset, due->repository);
	json_decref(result);
	return r;
}

static int run_drill(struct due *due, struct error *err)
{
	const char *scratch = getenv("TMPDIR");
	json_t *args = json_pack("{s:O, s:s, s:s}", "place", json_object_get(due->row, "repository"), "dataset_id",
	                         json_string_value(json_object_get(due->row, "dataset_id")), "password", due->password),
	       *result = NULL, *row;
	size_t i;
	int r;

	if (!json_is_true(json_object_get(due->row, "memory")))
		json_object_set_new(args, "scratch", json_from_bytes(scratch && *scratch ? scratch : "/var/tmp"));
	r = run_op_alone("backup.drill", args, due->fd, -1, NULL, &result, err);

	json_array_foreach(json_object_get(result, "backups"), i, row) {
		const bool incomplete = json_is_true(json_object_get(row, "incomplete"));

		if (r == 0 && (incomplete || (json_object_get(row, "identity") && !json_is_true(json_object_get(row, "same")))))
			r = error_set(err, -EIO, "backup %.8s %s", json_string_value(json_object_get(row, "backup")),
			              incomplete ? "is incomplete" : "did not come back as it was");
	}
	due->verified = repository_verified(json_object_get(result, "backups"));
	json_decref(result);
	return r;
}

/* What the rules let go, and after a full one, which is seldom, its room. */
static int let_go(const struct due *due, struct error *err)
{
	json_t *keep = json_object_get(due->row, "keep"), *result = NULL;
	int r;

	if (json_object_size(keep) == 0)
		return 0;
	r = run_op_alone("backup.forget", json_pack("{s:O, s:O, s:s}", "keep", keep, "dataset_id", json_object_get(due->row, "dataset_id"), "password",
	                                            due->password), due->fd, -1, NULL, &result, err);
	json_decref(result);
	result = NULL;
	if (r == 0 && strcmp(due->kind, "full") == 0)
		r = run_op_alone("backup.prune", json_pack("{s:s}", "password", due->password), due->fd, -1, NULL, &result, err);
	if (r == 0 && json_is_true(json_object_get(result, "no_room"))) {
		r = error_set(err, -ENOSPC, "there was no room to write packs anew that are named in part");
		error_hint(err, "make room, then: corpusfs backup prune REPOSITORY");
	}
	json_decref(result);
	if (r < 0) {
		struct error why = *err;
		(void)error_set(err, r, "the backup was made, but older ones could not be let go with all their room: %s", why.text);
		error_hint(err, "%s", why.hint);
	}
	return r;
}

static int run_due(struct due *due, struct error *err)
{
	const char *file = json_string_value(json_object_get(due->row, "password_file"));
	int r = repository_open_place(due->cli, due->repository, false, &due->fd, err);

	if (r == 0)
		r = file ? password_read_file(file, &due->password, err) : password_get(due->cli, false, &due->password, err);
	if (r == 0)
		r = strcmp(due->kind, "drill") == 0 ? run_drill(due, err) : run_backup(due, err);
	return r;
}

static json_t *note_args(const struct due *due)
{
	return json_pack("{s:O, s:s, s:s}", "dataset", json_object_get(due->row, "dataset"), "kind", due->kind, "repository", due->repository);
}

/* Should it be cut off, status tells of it. What cannot be noted now is told of at the end. */
static void note_begin(const struct due *due)
{
	json_t *args = note_args(due), *result = NULL;
	struct error ignored = {0};

	json_object_set_new(args, "begins", json_integer(getpid()));
	(void)!run_op_at(due->store, "backup.note", args, NULL, &result, &ignored);
	json_decref(result);
}

/* `failure`: what went wrong, or NULL. */
static void note(const struct due *due, const char *failure, uint64_t begun)
{
	json_t *args = note_args(due), *result = NULL;
	struct error err = {0};

	json_object_set_new(args, "seconds", json_real((double)(clock_ms() - begun) / 1000));
	if (failure)
		json_object_set_new(args, "failure", json_from_bytes(failure));
	if (due->verified)
		json_object_set(args, "verified", due->verified);
	if (run_op_at(due->store, "backup.note", args, NULL, &result, &err) < 0)
		fprintf(stderr, "corpusfs: how it went could not be kept: %s\n", err.text);
	json_decref(result);
}

/* Does one, and notes how it went. */
static int do_one(struct cli *cli, const char *store, json_t *row)
{
	AUTO_CLOSE int fd = -1;
	struct due due = {.cli = cli, .store = store, .row = row, .dataset = json_string_value(json_object_get(row, "dataset")), .fd = -1,
	                  .kind = json_string_value(json_object_get(row, "kind")), .repository = json_string_value(json_object_get(row, "repository"))};
	const uint64_t begun = clock_ms();
	const bool is_drill = strcmp(due.kind, "drill") == 0;
	struct error err = {0};
	int r;

	note_begin(&due);
	r = run_due(&due, &err);
	fd = due.fd;
	if (r == 0 || !interrupt_came())
		note(&due, r < 0 ? err.text : NULL, begun);
	/* The backup stands, whatever becomes of this: were it noted as failed, another one would be made instead. */
	if (r == 0 && !is_drill && !interrupt_came()) {
		r = let_go(&due, &err);
		if (r < 0 && !interrupt_came())
			note(&due, err.text, begun);
	}
	password_free(due.password);
	json_decref(due.verified);
	if (interrupt_came())
		return EXIT_FAILED;
	if (r < 0) {
		fprintf(stderr, "corpusfs: %s %s of %s to %s:\n", is_drill ? "the" : "the backup,", due.kind, due.dataset, due.repository);
		return repository_exit(due.repository, &err, NULL);
	}
	say("%s %s of %s in %s\n", is_drill ? "drilled" : "made the", is_drill ? "the backups" : due.kind, due.dataset, due.repository);
	return EXIT_OK;
}

int backup_tick(struct cli *cli)
{
	AUTO_FREE char *store = NULL;
	struct error err = {0};
	json_t *result = NULL, *row;
	int code = EXIT_OK, r;
	size_t i;

	if (run_is_daemon(getppid()))
		interrupt_with_parent();
	r = run_find_store(cli, &store, &err);
	if (r < 0)
		return exit_with(&err);
	interrupt_watch();
	code = heal_tick(cli, store); /* first: a backup then finds whole what was damaged */
	if (!interrupt_came())
		r = run_op_at(store, "backup.due", json_object(), NULL, &result, &err);
	if (r < 0)
		return exit_with(&err);
	json_array_foreach(json_object_get(result, "due"), i, row) {
		const int one = interrupt_came() ? EXIT_FAILED : do_one(cli, store, row);

		code = one != EXIT_OK ? one : code;
	}
	json_decref(result);
	interrupt_end();
	return code;
}

static const struct option schedule_options[] = {
	{0, "full", "PERIOD", "full backups: hourly, daily, weekly or monthly"},
	{0, "differential", "PERIOD", "differential ones"},
	{0, "incremental", "PERIOD", "incremental ones"},
	{0, "drill", "PERIOD", "restore to scratch space and compare"},
	{0, "memory", NULL, "drills go into memory, and need no room"},
	OPTIONS_KEEP,
	{0, "password-file", "FILE", "the password is the first line of the file"},
	{0, "off", NULL, "make no more; what there is stays"},
	OPTION_JSON,
	OPTIONS_END,
};

const struct command backup_schedule_commands[] = {
	{.name = "backup schedule",
         .operands = "DATASET [REPO]",
         .summary = "make backups by the clock",
         .details = "The daemon makes what is due while the store is mounted; `corpusfs tick` does so\n"
                    "at any time. The first backup is full, and a full one counts for the others; so do\n"
                    "backups that the repository has already. With --keep-... those that the rules do\n"
                    "not name are forgotten, and after a full one their room is given back. What is\n"
                    "interrupted is made at the next tick. `corpusfs status` shows how it went. Without\n"
                    "REPO: shows what is set.\n",
         .min = 1,
         .max = 2,
         .options = schedule_options,
         .run = run_schedule},
	{NULL},
};
