#include "fs/cli/heal_tick.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fs/cli/exit.h"
#include "fs/cli/interrupt.h"
#include "fs/cli/password.h"
#include "fs/cli/remotes.h"
#include "fs/cli/repair_run.h"
#include "fs/cli/repository.h"
#include "fs/cli/run.h"
#include "fs/cli/say.h"
#include "fs/cli/units.h"
#include "lib/base/buf.h"
#include "lib/ops/json.h"

struct heal_tick {
	struct cli *cli;
	struct repair_run run;
	struct error failure; /* of the first place that could not be looked at */
	const char *failed;   /* that place */
	json_t *from;         /* places that had something, in their order */
};

static json_int_t number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

/* What was published by a user who is asked for the password is no matter of a tick's, nor are remotes that this user has not. */
static bool is_open_to_us(const json_t *place)
{
	return json_object_get(place, "password_file") || remote_has_password(json_string_value(json_object_get(place, "repository")));
}

static int open_place(struct cli *cli, const json_t *place, struct repair_source *source, struct error *err)
{
	const char *file = json_string_value(json_object_get(place, "password_file"));
	char *password = NULL;
	int r = repository_open_place(cli, source->name, false, &source->fd, err);

	if (r == 0)
		r = file ? password_read_file(file, &password, err) : password_get(cli, false, &password, err);
	if (r == 0)
		source->args = json_pack("{s:o, s:o, s:b}", "place", json_from_bytes(source->name), "password", json_from_bytes(password), "blobs_only", 1);
	password_free(password);
	return r;
}

static void note_failure(struct heal_tick *tick, const char *place, int code, const char *text)
{
	if (tick->failure.code == 0) {
		(void)error_set(&tick->failure, code, "%s", text);
		tick->failed = place;
	}
}

/* A place that fails does not keep the others from being looked at. A negative errno: the store fails, or it was interrupted. */
static int look_in(struct heal_tick *tick, const json_t *place, struct error *err)
{
	struct repair_source source = {.name = json_string_value(json_object_get(place, "repository")), .kind = REPAIR_REPOSITORY, .fd = -1};
	struct error why = {0};
	const json_t *row;
	int r = open_place(tick->cli, place, &source, &why);

	if (r < 0) {
		note_failure(tick, source.name, r, why.text);
		repair_source_clear(&source);
		return 0;
	}
	r = repair_run_look(&tick->run, &source, err);
	row = json_array_get(tick->run.rows, json_array_size(tick->run.rows) - 1);
	if (r == 0 && json_object_get(row, "problem"))
		note_failure(tick, source.name, -EIO, json_string_value(json_object_get(row, "problem")));
	else if (r == 0 && number(row, "unread") > 0)
		note_failure(tick, source.name, -EBADMSG, "what it has of the damaged content cannot be read there either");
	if (r == 0 && number(row, "chunks") > 0)
		json_array_append_new(tick->from, json_from_bytes(source.name));
	repair_source_clear(&source);
	return r;
}

/* "A, B": in which something was. */
static char *names_of(const json_t *from)
{
	char *all = xstrdup("");
	const json_t *name;
	size_t i;

	json_array_foreach (from, i, name) {
		char *next = xasprintf("%s%s%s", all, i > 0 ? ", " : "", json_string_value(name));
		free(all);
		all = next;
	}
	return all;
}

static int note(const char *store, json_t *args, struct error *err)
{
	json_t *result = NULL;
	int r = run_op_at(store, "heal.note", args, NULL, &result, err);

	json_decref(result);
	return r;
}

static json_t *outcome(const struct heal_tick *tick, const char *from, int r, const struct error *err)
{
	const struct error *failure = r < 0 ? err : &tick->failure;
	json_t *args = json_pack("{s:b, s:I, s:I, s:s}", "interrupted", interrupt_came(), "chunks", (json_int_t)tick->run.healed, "bytes",
				 (json_int_t)tick->run.healed_bytes, "from", from);

	if (failure->code < 0) {
		AUTO_FREE char *text = xasprintf("%s%s%s", r == 0 ? tick->failed : "", r == 0 ? ": " : "", failure->text);
		json_object_set_new(args, "failure", json_from_bytes(text));
	}
	return args;
}

static void print_healed(const struct repair_run *run, const char *from)
{
	char size[UNITS_MAX];

	units_size(run->healed_bytes, size);
	if (run->healed > 0)
		say("healed %llu of %lld damaged chunks (%s) from %s\n", (unsigned long long)run->healed, (long long)run->hurt, size, from);
}

static int heal(struct heal_tick *tick, const json_t *places)
{
	AUTO_FREE char *from = NULL;
	struct error err = {0}, ignored = {0};
	const json_t *place;
	size_t i;
	int r = note(tick->run.store, json_pack("{s:b}", "begins", 1), &err);

	if (r < 0)
		return exit_with(&err);
	r = repair_run_ask(&tick->run, false, &err);
	json_array_foreach (places, i, place)
		if (r == 0 && !interrupt_came() && is_open_to_us(place))
			r = look_in(tick, place, &err);
	from = names_of(tick->from);
	if (note(tick->run.store, outcome(tick, from, r, &err), &ignored) < 0)
		fprintf(stderr, "corpusfs: how healing went could not be kept: %s\n", ignored.text);
	print_healed(&tick->run, from);
	if (interrupt_came())
		return EXIT_FAILED;
	if (r == 0 && tick->failure.code == 0)
		return EXIT_OK;
	fprintf(stderr, "corpusfs: damaged content could not be looked for%s%s:\n", r == 0 ? " in " : "", r == 0 ? tick->failed : "");
	return r < 0 ? exit_with(&err) : repository_exit(tick->failed, &tick->failure, NULL);
}

int heal_tick(struct cli *cli, const char *store)
{
	struct heal_tick tick = {.cli = cli, .from = json_array()};
	struct error err = {0};
	json_t *result = NULL;
	int r = run_op_at(store, "heal.due", json_object(), NULL, &result, &err), code = EXIT_OK;

	repair_run_init(&tick.run, store, true);
	if (r < 0)
		code = exit_with(&err);
	else if (json_array_size(json_object_get(result, "places")) > 0)
		code = heal(&tick, json_object_get(result, "places"));
	repair_run_clear(&tick.run);
	json_decref(tick.from);
	json_decref(result);
	return code;
}
