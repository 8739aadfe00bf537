/*
 * Replication: this process asks the store for streams and gives them to a command, which runs `corpusfs receive DATASET --serve` somewhere. On
 * its output that says, in lines of JSON, what the dataset has there, before each stream and after the last:
 *
 *   {"store", "exists", "replica", "at", "snapshots": [{"name", "id", "received", "ancestor"}], "token"}      as the operation stream.state has it
 *   {"failed": text}                                                          and it ends
 *
 * The replica becomes what the dataset is: what a rollback left here is not sent. If the replica has just that, or nothing yet, it gets what comes
 * after the rollback; of that a snapshot is taken, unless there is one. A replica of a replica waits for what the first one receives.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/cli/cmd_replicate.h"
#include "fs/cli/command.h"
#include "fs/cli/exit.h"
#include "fs/cli/interrupt.h"
#include "fs/cli/place.h"
#include "fs/cli/run.h"
#include "fs/cli/say.h"
#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/base/shell.h"
#include "lib/ops/json.h"

#define LOOK_EVERY_MS 1000
#define READ_SIZE 65536
#define GO_ON "run the same command again to go on"
#define END_MS 1000 /* for the command, when somebody wants us to end */
#define END_STEP_MS 10
#define TOKEN_IDS 11 /* where the numbers of snapshot and base stand in a token */
#define ID_DIGITS 64

struct replication {
	const char *dataset, *command;
	char *store;
	bool follows;
	pid_t pid;
	int to;     /* the command's standard input */
	int from;   /* its standard output */
	struct buf said;
	json_t *here, *there;
	unsigned sent;
	struct error err;
};

static const char *text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

/* --- the command --- */

static void run_command(const char *command, int in, int out)
{
	if (dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0)
		_exit(127);
	signal(SIGPIPE, SIG_DFL);
	execl("/bin/sh", "sh", "-c", command, (char *)NULL);
	_exit(127);
}

static int start(struct replication *replication)
{
	int to[2], from[2];

	if (pipe2(to, O_CLOEXEC) < 0 || pipe2(from, O_CLOEXEC) < 0)
		return error_set(&replication->err, -errno, "no pipe: %s", strerror(errno));
	fflush(NULL);
	replication->pid = fork();
	if (replication->pid < 0)
		return error_set(&replication->err, -errno, "no process: %s", strerror(errno));
	if (replication->pid == 0)
		run_command(replication->command, to[0], from[1]);
	(void)close(to[0]);
	(void)close(from[1]);
	replication->to = to[1];
	replication->from = from[0];
	return 0;
}

/* Waits at most this long; false: the command is still there. */
static bool has_ended(pid_t pid)
{
	for (unsigned waited_ms = 0; waited_ms < END_MS; waited_ms += END_STEP_MS) {
		if (waitpid(pid, NULL, WNOHANG) != 0)
			return true;
		clock_pause_us(1000 * END_STEP_MS);
	}
	return false;
}

/* Lets the command end, and waits for it; not for long, if somebody wants us to end. */
static int finish(struct replication *replication)
{
	int status = 0;

	if (replication->to >= 0)
		(void)close(replication->to);
	if (replication->from >= 0)
		(void)close(replication->from);
	buf_clear(&replication->said);
	if (interrupt_came()) {
		if (replication->pid > 0 && !has_ended(replication->pid) && kill(replication->pid, SIGTERM) == 0)
			(void)has_ended(replication->pid);
		return status;
	}
	while (replication->pid > 0 && waitpid(replication->pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

/* What is asked of it later is there: anything may have been said. */
static bool is_state(const json_t *said)
{
	const json_t *list = json_object_get(said, "snapshots");

	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *id = text_of(json_array_get(list, i), "id");

		if (!id || strlen(id) != ID_DIGITS || !text_of(json_array_get(list, i), "name"))
			return false;
	}
	return json_is_array(list) && json_is_boolean(json_object_get(said, "exists"));
}

/* Waits for the command's next line, or for a signal; NULL: there is none. */
static json_t *read_line(struct replication *replication)
{
	struct buf *said = &replication->said;
	struct pollfd ready = {.fd = replication->from, .events = POLLIN};
	ssize_t count = 1;

	buf_reset(said);
	while (count > 0 && (said->len == 0 || said->data[said->len - 1] != '\n')) {
		char piece[READ_SIZE];

		while (poll(&ready, 1, LOOK_EVERY_MS) <= 0)
			if (interrupt_came())
				return NULL;
		count = read(replication->from, piece, sizeof(piece));
		if (count > 0)
			buf_add(said, piece, (size_t)count);
	}
	return json_loadb((const char *)said->data, said->len, 0, NULL);
}

/* One line of the command's; what the dataset has there. */
static int hear(struct replication *replication)
{
	json_t *said = read_line(replication);

	if (interrupt_came()) {
		json_decref(said);
		return -ECANCELED;
	}
	json_decref(replication->there);
	replication->there = NULL;
	if (text_of(said, "failed")) {
		error_set(&replication->err, -EREMOTEIO, "the receiver: %s", text_of(said, "failed"));
		json_decref(said);
		return -EREMOTEIO;
	}
	if (!is_state(said)) {
		json_decref(said);
		error_set(&replication->err, -EPROTO, "the command has ended or said something else than corpusfs receive --serve does");
		error_hint(&replication->err, "it is: %s; once it is mended, " GO_ON, replication->command);
		return -EPROTO;
	}
	replication->there = said;
	return 0;
}

/* --- what is to be sent --- */

static int look_here(struct replication *replication)
{
	json_decref(replication->here);
	replication->here = NULL;
	return run_op_at(replication->store, "stream.state", json_pack("{s:o}", "dataset", json_from_bytes(replication->dataset)), NULL,
	                 &replication->here, &replication->err);
}

static const json_t *snapshots(const json_t *state)
{
	return json_object_get(state, "snapshots");
}

/* The place of the one whose member `key` is `value`; the count: none. */
static size_t find(const json_t *list, const char *key, const char *value)
{
	size_t at = 0;

	while (at < json_array_size(list) && strcmp(text_of(json_array_get(list, at), key), value) != 0)
		at++;
	return at;
}

static bool is_replica(const json_t *state)
{
	return json_is_true(json_object_get(state, "replica"));
}

/* What a rollback left is none; older versions do not tell. */
static bool is_ancestor(const json_t *snapshot)
{
	return !json_is_false(json_object_get(snapshot, "ancestor"));
}

/* The newest snapshot of there that is here, too, and from which both go on; NULL. */
static const char *find_common(const struct replication *replication)
{
	const json_t *here = snapshots(replication->here), *there = snapshots(replication->there);

	for (size_t i = json_array_size(there); i-- > 0;) {
		const json_t *one = json_array_get(there, i), *ours = json_array_get(here, find(here, "id", text_of(one, "id")));

		if (ours && is_ancestor(ours) && is_ancestor(one))
			return text_of(one, "name");
	}
	return NULL;
}

/* `at`: where the dataset there stands, which is not here. What was taken there says that it was written there; older versions do not tell. */
static int refuse_lost_base(struct replication *replication, const char *at, const char *common, bool is_told)
{
	if (is_told)
		error_set(&replication->err, -ENOENT, "snapshot \"%s\", at which the replica stands, is not here any more", at);
	else
		error_set(&replication->err, -ENOENT, "snapshot \"%s\", at which the dataset there stands, is not here: it was destroyed, or it was taken there",
		          at);
	if (common)
		error_hint_shell(&replication->err, "to go on from \"%s\", which both have, run there: corpusfs demote %s --to %s", common,
		                 replication->dataset, common);
	else
		error_hint(&replication->err, "nothing else is in common: destroy the dataset there, or replicate to another name");
	return -ENOENT;
}

static int refuse_no_base(struct replication *replication, const json_t *stands)
{
	const char *common = find_common(replication), *at = text_of(replication->there, "at");

	if (stands && !json_is_false(json_object_get(stands, "received")))
		return refuse_lost_base(replication, at, common, json_object_get(stands, "received") != NULL);
	if (!common)
		return error_set(&replication->err, -EUCLEAN, "dataset \"%s\" here and the one there have no snapshot in common", replication->dataset);
	error_set(&replication->err, -EUCLEAN, "there is a fork: since snapshot \"%s\", which both have, the dataset there was written%s%s%s", common,
	          at ? ", up to its snapshot \"" : "", at ? at : "", at ? "\"" : "");
	error_hint_shell(&replication->err, "give one side up, there or here: corpusfs demote %s --to %s", replication->dataset, common);
	return -EUCLEAN;
}

static int refuse_no_replica(struct replication *replication)
{
	error_set(&replication->err, -EROFS, "the dataset there is no replica: it was promoted, or never demoted");
	error_hint_shell(&replication->err, "to let only streams change it, run there: corpusfs demote %s", replication->dataset);
	return -EROFS;
}

/* What is here stands at none of the snapshots that could go there. */
static int refuse_nothing_to_send(struct replication *replication, const json_t *base)
{
	const char *common = base ? find_common(replication) : NULL;

	if (!base) {
		error_set(&replication->err, -ENOENT, "dataset \"%s\" has no snapshot that could be sent", replication->dataset);
		if (!is_replica(replication->here))
			error_hint_shell(&replication->err, "take one: corpusfs snapshot create %s@NAME", replication->dataset);
		return -ENOENT;
	}
	error_set(&replication->err, -ENOENT, "the replica stands at \"%s\", from which the dataset here went back, and nothing newer has come here",
	          text_of(base, "name"));
	if (common)
		error_hint_shell(&replication->err, "to go back there, too, run there: corpusfs demote %s --to %s", replication->dataset, common);
	return -ENOENT;
}

/* The next snapshot to send, and its base; *ret_next NULL: there is none. */
static int plan(struct replication *replication, const json_t **ret_next, const json_t **ret_base)
{
	const json_t *here = snapshots(replication->here), *there = snapshots(replication->there);
	const char *at = text_of(replication->there, "at");
	size_t next = 0;

	*ret_base = NULL;
	if (json_is_true(json_object_get(replication->there, "exists"))) {
		const json_t *stands = at ? json_array_get(there, find(there, "name", at)) : NULL;

		next = stands ? find(here, "id", text_of(stands, "id")) : json_array_size(here);
		if (next == json_array_size(here))
			return refuse_no_base(replication, stands);
		if (!is_replica(replication->there))
			return refuse_no_replica(replication);
		*ret_base = json_array_get(here, next++);
	}
	while (next < json_array_size(here) && !is_ancestor(json_array_get(here, next)))
		next++;
	*ret_next = json_array_get(here, next);
	return 0;
}

/* Whether the receiver has begun with just this. */
static bool is_of_token(const char *token, const json_t *next, const json_t *base)
{
	char none[ID_DIGITS + 1];

	memset(none, '0', ID_DIGITS);
	none[ID_DIGITS] = '\0';
	return token && strlen(token) > TOKEN_IDS + 2 * ID_DIGITS && strncmp(token + TOKEN_IDS, text_of(next, "id"), ID_DIGITS) == 0 &&
	       strncmp(token + TOKEN_IDS + ID_DIGITS, base ? text_of(base, "id") : none, ID_DIGITS) == 0;
}

static int send_next(struct replication *replication, const json_t *next, const json_t *base)
{
	const char *token = text_of(replication->there, "token");
	json_t *args, *result = NULL;
	int r;

	if (is_of_token(token, next, base)) {
		args = json_pack("{s:s}", "token", token);
	} else {
		args = json_pack("{s:o, s:s}", "dataset", json_from_bytes(replication->dataset), "snapshot", text_of(next, "name"));
		if (base)
			json_object_set_new(args, "from", json_string(text_of(base, "name")));
	}
	r = run_op_with(replication->store, "stream.send", args, replication->to, "send", &result, &replication->err);
	json_decref(result);
	/* What the receiver says to it tells more. */
	return r == -EPIPE ? 0 : r;
}

/* That the replica has the snapshot, or is going to get it. */
static int note(struct replication *replication, const json_t *snapshot, bool begins)
{
	const char *whom = text_of(replication->there, "store");
	json_t *args = json_pack("{s:o, s:s, s:o, s:b}", "dataset", json_from_bytes(replication->dataset), "snapshot", text_of(snapshot, "name"), "to",
	                         json_from_bytes(replication->command), "begins", begins);
	json_t *result = NULL;
	int r;

	if (whom)
		json_object_set_new(args, "whom", json_string(whom));
	r = run_op_at(replication->store, "stream.note", args, NULL, &result, &replication->err);
	json_decref(result);
	return r;
}

/* The replica has what was rolled back here, or (base NULL) nothing, and no snapshot came after it: what is here now gets one. */
static int take_next(struct replication *replication, const json_t *base)
{
	const struct timespec now = clock_now();
	char stamp[32];
	struct tm tm;

	(void)gmtime_r(&now.tv_sec, &tm);
	(void)strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%S", &tm);
	AUTO_FREE char *target = xasprintf("%s@after-rollback-%s.%03ldZ", replication->dataset, stamp, now.tv_nsec / 1000000);
	AUTO_FREE char *note = xasprintf("taken for the replica, which has %s", base ? text_of(base, "name") : "nothing");
	json_t *args = json_pack("{s:[o], s:s}", "targets", json_from_bytes(target), "note", note);
	json_t *result = NULL;
	int r = run_op_at(replication->store, "snapshot.create", args, NULL, &result, &replication->err);

	json_decref(result);
	return r;
}

/* A new snapshot may have come, the command may have ended, or somebody wants us to. */
static int wait_for_more(struct replication *replication)
{
	struct pollfd end = {.fd = replication->from, .events = POLLIN};

	if (poll(&end, 1, LOOK_EVERY_MS) > 0) {
		error_set(&replication->err, -EPROTO, "the command has ended: %s", replication->command);
		error_hint(&replication->err, "the replica keeps what came; " GO_ON);
		return -EPROTO;
	}
	return interrupt_came() ? -ECANCELED : 0;
}

/* --- all --- */

static int step(struct replication *replication, bool *ret_done)
{
	const json_t *next = NULL, *base = NULL;
	int r = look_here(replication);

	if (r == 0 && !json_is_true(json_object_get(replication->here, "exists")))
		r = error_set(&replication->err, -ENOENT, "there is no dataset \"%s\"", replication->dataset);
	if (r == 0)
		r = plan(replication, &next, &base);
	if (r < 0)
		return r;
	const bool was_left = base ? !is_ancestor(base) : json_array_size(snapshots(replication->here)) > 0;

	if (!next && was_left && !is_replica(replication->here))
		return take_next(replication, base);
	if (!next && !replication->follows && (was_left || !base))
		return refuse_nothing_to_send(replication, base);
	if (!next) {
		*ret_done = !replication->follows;
		if (base && replication->sent == 0 && !replication->follows)
			return note(replication, base, false);
		return replication->follows ? wait_for_more(replication) : 0;
	}
	r = note(replication, next, true);
	if (r == 0)
		r = send_next(replication, next, base);
	if (r == 0)
		r = hear(replication);
	if (r == 0)
		r = note(replication, next, false);
	if (r < 0)
		return r;
	replication->sent++;
	say("%s@%s is there\n", replication->dataset, text_of(next, "name"));
	fflush(stdout);
	return 0;
}

static int replicate(struct replication *replication)
{
	bool done = false;
	int r = start(replication);

	if (r == 0)
		r = hear(replication);
	while (r == 0 && !done)
		r = interrupt_came() ? -ECANCELED : step(replication, &done);
	return r;
}

int run_replicate(struct cli *cli)
{
	struct replication replication = {.command = cli_option(cli, "to"), .follows = cli_option(cli, "follow"), .to = -1, .from = -1};
	AUTO_PLACE place = {0};
	int r = place_find(cli, cli->argv[0], 0, &place, &replication.err), status;

	if (r == 0 && !replication.command)
		r = error_set(&replication.err, -EINVAL, "say where to: --to \"ssh HOST corpusfs -s STORE receive DATASET --serve\"");
	if (r == 0)
		r = run_find_store(cli, &replication.store, &replication.err);
	if (r < 0)
		return exit_with(&replication.err);
	replication.dataset = place.dataset;
	interrupt_watch();
	signal(SIGPIPE, SIG_IGN);
	r = replicate(&replication);
	status = finish(&replication);
	json_decref(replication.here);
	json_decref(replication.there);
	free(replication.store);
	interrupt_end_with("the replica keeps what came; " GO_ON);
	if (r < 0)
		return exit_with(&replication.err);
	if (status != 0)
		return error_set(&replication.err, -EREMOTEIO, "the command has failed: %s", replication.command), exit_with(&replication.err);
	if (replication.sent == 0)
		say("the replica has all snapshots of %s\n", place.dataset);
	return EXIT_OK;
}
