#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fs/cli/acl_note.h"
#include "fs/cli/cmd_replicate.h"
#include "fs/cli/command.h"
#include "fs/cli/exit.h"
#include "fs/cli/interrupt.h"
#include "fs/cli/place.h"
#include "fs/cli/run.h"
#include "fs/cli/say.h"
#include "fs/cli/serve_receive.h"
#include "fs/cli/units.h"
#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/base/escape.h"
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

/* "sent d@b since a: 1.2 GiB in 3.0 s (400 MiB/s)" */
static void print_summary(FILE *out, const char *verb, const json_t *result, const char *base, double seconds)
{
	char bytes[UNITS_MAX], rate[UNITS_MAX];

	units_size((uint64_t)number(result, "bytes"), bytes);
	units_size((uint64_t)((double)number(result, "bytes") / MAX(seconds, 0.001)), rate);
	say_to(out, "%s %s@%s", verb, text_of(result, "dataset"), text_of(result, "snapshot"));
	if (*text_of(result, base))
		say_to(out, " since %s", text_of(result, base));
	say_to(out, ": %s in %.1f s (%s/s)\n", bytes, seconds, rate);
}

static void report(struct cli *cli, FILE *out, const char *verb, json_t *result, const char *base, unsigned long long started)
{
	const double seconds = (double)(clock_ms() - started) / 1e3;

	if (cli_option(cli, "json")) {
		json_object_set_new(result, "seconds", json_real(seconds));
		json_dumpf(result, out, JSON_INDENT(2));
		say_to(out, "\n");
	} else {
		print_summary(out, verb, result, base, seconds);
	}
	json_decref(result);
}

/* --- send --- */

/* DATASET@NAME, and the option --from NAME or DATASET@NAME. */
static int send_args(struct cli *cli, json_t *args, struct error *err)
{
	const char *from = cli_option(cli, "from"), *at = from ? strchr(from, '@') : NULL;
	AUTO_PLACE place = {0};
	int r = place_find(cli, cli->argv[0], PLACE_MUST_SNAPSHOT, &place, err);

	if (r < 0)
		return r;
	if (at && (strlen(place.dataset) != (size_t)(at - from) || strncmp(from, place.dataset, (size_t)(at - from)) != 0))
		return error_set(err, -EINVAL, "--from names a snapshot of another dataset than %s", place.dataset);
	json_object_set_new(args, "dataset", json_from_bytes(place.dataset));
	json_object_set_new(args, "snapshot", json_from_bytes(place.snapshot));
	if (from)
		json_object_set_new(args, "from", json_from_bytes(at ? at + 1 : from));
	return 0;
}

static int find_args(struct cli *cli, json_t *args, struct error *err)
{
	const char *token = cli_option(cli, "resume");

	if (token && (cli->argc > 0 || cli_option(cli, "from")))
		return error_set(err, -EINVAL, "the token of --resume says what is sent: name nothing beside it");
	if (!token && cli->argc == 0)
		return error_set(err, -EINVAL, "name the snapshot to send: DATASET@NAME");
	if (!token)
		return send_args(cli, args, err);
	json_object_set_new(args, "token", json_from_bytes(token));
	return 0;
}

static int run_send(struct cli *cli)
{
	const unsigned long long started = clock_ms();
	json_t *args = json_object(), *result = NULL;
	AUTO_FREE char *store = NULL;
	AUTO_CLOSE int fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	struct error err = {0};
	int r = fd < 0 ? error_set(&err, -errno, "standard output: %s", strerror(errno)) : find_args(cli, args, &err);

	if (r == 0 && isatty(fd)) {
		r = error_set(&err, -EINVAL, "a stream is not written to a terminal");
		error_hint(&err, "give it to a file, or to corpusfs receive: corpusfs send ... | ssh HOST corpusfs receive ...");
	}
	if (r == 0)
		r = run_find_store(cli, &store, &err);
	interrupt_watch();
	/* A receiver that goes away is an error to be told. */
	signal(SIGPIPE, SIG_IGN);
	if (r == 0)
		r = run_op_with(store, "stream.send", args, fd, "send", &result, &err);
	else
		json_decref(args);
	if (r < 0)
		interrupt_end_with("the receiver keeps what came; corpusfs receive --token says there where to go on");
	if (r < 0)
		return exit_with(&err);
	report(cli, stderr, "sent", result, "from", started);
	return EXIT_OK;
}

/* --- receive --- */

static int print_token(struct cli *cli, const char *dataset)
{
	json_t *result;
	int code = run_op(cli, "stream.state", json_pack("{s:o}", "dataset", json_from_bytes(dataset)), NULL, &result);
	struct error err = {0};

	if (code != EXIT_OK)
		return code;
	if (*text_of(result, "token"))
		say("%s\n", text_of(result, "token"));
	else
		error_set(&err, -ENOENT, "there is no unfinished stream into \"%s\"", dataset);
	json_decref(result);
	return err.code < 0 ? exit_with(&err) : EXIT_OK;
}

static int drop(struct cli *cli, const char *dataset)
{
	json_t *result;
	int code = run_op(cli, "stream.drop", json_pack("{s:o}", "dataset", json_from_bytes(dataset)), NULL, &result);

	if (code != EXIT_OK)
		return code;
	if (!json_is_true(json_object_get(result, "dropped")))
		say("there was no unfinished stream into \"%s\"\n", dataset);
	json_decref(result);
	return EXIT_OK;
}

static int receive(struct cli *cli, const char *dataset)
{
	const unsigned long long started = clock_ms();
	AUTO_FREE char *store = NULL;
	AUTO_CLOSE int fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	struct error err = {0};
	json_t *result = NULL;
	int r = run_find_store(cli, &store, &err);
	bool has_more;

	if (r == 0 && fd < 0)
		r = error_set(&err, -errno, "standard input: %s", strerror(errno));
	if (r == 0 && isatty(fd))
		r = error_set(&err, -EINVAL, "a stream is not read from a terminal");
	interrupt_watch();
	if (r == 0 && cli_option(cli, "serve"))
		return serve_receive(store, dataset, fd);
	if (r == 0)
		r = run_op_with(store, "stream.receive", json_pack("{s:o}", "dataset", json_from_bytes(dataset)), fd, "receive", &result, &err);
	if (r < 0)
		interrupt_end_with(err.hint[0] ? err.hint : "nothing of the stream is kept");
	if (r < 0)
		return exit_with(&err);
	acl_note(result);
	has_more = json_is_true(json_object_get(result, "more"));
	report(cli, stdout, "received", result, "base", started);
	if (has_more)
		fprintf(stderr, "corpusfs: something follows the end of the stream, and was not read; each stream needs a corpusfs receive of its own\n");
	return has_more ? EXIT_FAILED : EXIT_OK;
}

static int run_receive(struct cli *cli)
{
	AUTO_PLACE place = {0};
	struct error err = {0};

	if (place_find(cli, cli->argv[0], PLACE_MAY_BE_NEW, &place, &err) < 0)
		return exit_with(&err);
	if (cli_option(cli, "token"))
		return print_token(cli, place.dataset);
	return cli_option(cli, "abort") ? drop(cli, place.dataset) : receive(cli, place.dataset);
}

/* --- who may be written --- */

static int run_promote(struct cli *cli)
{
	AUTO_PLACE place = {0};
	struct error err = {0};

	if (place_find(cli, cli->argv[0], 0, &place, &err) < 0)
		return exit_with(&err);
	return run_op(cli, "dataset.promote", json_pack("{s:o}", "name", json_from_bytes(place.dataset)), NULL, NULL);
}

static int run_demote(struct cli *cli)
{
	const char *to = cli_option(cli, "to");
	AUTO_PLACE place = {0};
	struct error err = {0};
	json_t *args, *result;
	int code;

	if (place_find(cli, cli->argv[0], 0, &place, &err) < 0)
		return exit_with(&err);
	args = json_pack("{s:o}", "name", json_from_bytes(place.dataset));
	if (to)
		json_object_set_new(args, "to", json_from_bytes(to));
	code = run_op(cli, "dataset.demote", args, NULL, &result);
	if (code != EXIT_OK)
		return code;
	if (*text_of(result, "kept"))
		say("what was in %s before is kept as %s@%s\n", place.dataset, place.dataset, text_of(result, "kept"));
	json_decref(result);
	return EXIT_OK;
}

static const struct option send_options[] = {
	{0, "from", "NAME", "only what differs from this older snapshot of the dataset"},
	{0, "resume", "TOKEN", "go on where a receiver has stopped, which told the token"},
	OPTION_JSON,
	OPTIONS_END,
};
static const struct option receive_options[] = {
	{0, "token", NULL, "print where an unfinished stream goes on, for send --resume"},
	{0, "abort", NULL, "drop what there is of an unfinished stream"},
	{0, "serve", NULL, "be the other end of corpusfs replicate"},
	OPTION_JSON,
	OPTIONS_END,
};
static const struct option replicate_options[] = {
	{0, "to", "COMMAND", "what runs corpusfs receive DATASET --serve, by ssh for example"},
	{0, "follow", NULL, "wait for new snapshots"},
	OPTIONS_END,
};
static const struct option demote_options[] = {
	{0, "to", "NAME", "go back to this snapshot first; what is there now is kept as another"},
	OPTIONS_END,
};

const struct command stream_commands[] = {
	{.name = "send",
         .operands = "[DATASET@NAME]",
         .summary = "give a snapshot to another store",
         .details = "Writes the snapshot as a stream to standard output, for corpusfs receive there:\n"
                    "all of it, or with --from only what differs from an older snapshot, which the\n"
                    "receiver must have.\n",
         .min = 0,
         .max = 1,
         .options = send_options,
         .run = run_send},
	{.name = "receive",
         .operands = "DATASET",
         .summary = "take a snapshot from another store",
         .details = "Reads a stream from standard input. The dataset is made, or brought from the\n"
                    "stream's base to its snapshot, when all of the stream is there and is right;\n"
                    "until then nothing of it is seen. The dataset is a replica: nothing but streams\n"
                    "changes it until corpusfs promote.\n",
         .min = 1,
         .max = 1,
         .options = receive_options,
         .run = run_receive},
	{.name = "replicate",
         .operands = "DATASET",
         .summary = "keep a second store behind the first",
         .details = "Gives the dataset's snapshots, one by one, to a command for the shell, which runs\n"
                    "corpusfs receive DATASET --serve, until the replica has all of them. After a loss\n"
                    "of the first store, promote the replica; the way back is the same.\n",
         .min = 1,
         .max = 1,
         .options = replicate_options,
         .run = run_replicate},
	{.name = "promote",
         .operands = "DATASET",
         .summary = "let a replica be written",
         .details = "The dataset takes no more streams until corpusfs demote.\n",
         .min = 1,
         .max = 1,
         .run = run_promote},
	{.name = "demote",
         .operands = "DATASET",
         .summary = "make a dataset a replica",
         .details = "Nothing but streams changes the dataset from now on. Those begin at the snapshot\n"
                    "at which the dataset stands; --to brings it back to one that both stores have.\n",
         .min = 1,
         .max = 1,
         .options = demote_options,
         .run = run_demote},
	{NULL},
};
