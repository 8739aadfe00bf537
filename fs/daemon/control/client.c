#include "fs/daemon/control/client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "fs/daemon/control/control.h"
#include "fs/daemon/control/message.h"
#include "lib/base/clock.h"
#include "lib/base/procfs.h"

#define STEP_S 1        /* how often somebody who waits looks whether the daemon lives */
#define STOPPED_MS 3000 /* for so long it may be stopped, by a debugger say, before nobody waits any more */
#define HELLO_MS 30000  /* for so long it may not greet */
#define PROBE_MS 10000  /* so often it must greet somebody while it works on an answer */
#define GONE_MS 10000   /* for its process to go, when it has said goodbye */

struct client {
	char *store;
	pid_t daemon;
	uint64_t until_ms;          /* nobody waits for longer; 0: for ever, if the daemon lives */
	uint64_t stopped_ms;        /* since when it was found stopped; 0: it is not */
	uint64_t heard_ms, alive_ms; /* when a message came last that tells something; or that it goes on */
	json_t *progress;           /* that came last */
	int (*look)(void *arg, const struct client_silence *silence, struct error *err);
	void *look_arg;
	int fd;
	struct message_reader reader;
	int passed; /* for the next call; -1: none */
};

/* Whoever may write in the store's directory can put a socket of theirs there: only root, we and its owner are believed. */
static int check_listener(int fd, int dir)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);
	struct stat st;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 || fstat(dir, &st) < 0)
		return -errno;
	return peer.uid == 0 || peer.uid == geteuid() || peer.uid == st.st_uid ? 0 : -EPERM;
}

/* Not by the name, which could be a symbolic link to a socket elsewhere. */
static int connect_socket(int fd, int dir)
{
	AUTO_CLOSE int at = openat(dir, DAEMON_SOCKET, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct stat st;

	if (at < 0 || fstat(at, &st) < 0)
		return -errno;
	if (!S_ISSOCK(st.st_mode))
		return -ENOENT;
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d", at);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return check_listener(fd, dir);
}

/* So that reading gives -EAGAIN each second; connecting and sending, in the end. */
static void set_timeouts(int fd)
{
	struct timeval step = {.tv_sec = STEP_S}, end = {.tv_sec = HELLO_MS / 1000};

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &step, sizeof(step));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &end, sizeof(end));
}

static int connect_to(const char *store)
{
	AUTO_CLOSE int dir = open(store, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), result;

	if (fd >= 0)
		set_timeouts(fd);
	result = dir < 0 || fd < 0 ? -errno : connect_socket(fd, dir);
	if (result < 0 && fd >= 0)
		close(fd);
	return result < 0 ? result : fd;
}

static pid_t pid_of_listener(int fd)
{
	struct ucred peer = {0};
	socklen_t len = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 ? 0 : peer.pid;
}

static int is_stopped(pid_t daemon, struct error *err)
{
	error_set(err, -ETIMEDOUT, "the daemon, process %d, does not answer: it is stopped", (int)daemon);
	error_hint(err, "kill -CONT %d lets it go on, corpusfs umount --force ends it in any case", (int)daemon);
	return -ETIMEDOUT;
}

static int is_silent(pid_t daemon, const char *why, struct error *err)
{
	AUTO_FREE char *process = daemon > 0 ? xasprintf(", process %d,", (int)daemon) : xstrdup("");

	error_set(err, -ETIMEDOUT, "the daemon%s does not answer%s", process, why);
	error_hint(err, "the file \"log\" in the store may say why; corpusfs umount --force ends it in any case");
	return -ETIMEDOUT;
}

/* After a step without a message. `since_ms`: 0, or since when it was found stopped. */
static int check_runs(pid_t daemon, uint64_t *since_ms, struct error *err)
{
	if (daemon <= 0 || !procfs_is_stopped(daemon)) {
		*since_ms = 0;
		return 0;
	}
	*since_ms = *since_ms ? *since_ms : clock_ms();
	return clock_ms() < *since_ms + STOPPED_MS ? 0 : is_stopped(daemon, err);
}

/*
 * A daemon that leaves closes its queue of connections without a greeting: then nothing was asked yet, and one may try
 * again.
 */
static int await_hello(struct client *client, struct error *err)
{
	const uint64_t until_ms = clock_ms() + HELLO_MS;
	json_t *hello = NULL;
	int result;

	while ((result = message_receive(&client->reader, &hello)) == -EAGAIN) {
		result = check_runs(client->daemon, &client->stopped_ms, err);
		if (result == 0 && clock_ms() > until_ms)
			result = is_silent(client->daemon, "", err);
		if (result < 0)
			return result;
	}
	if (result == 0 || result == -ECONNRESET || result == -EPIPE)
		return -ECONNREFUSED;
	if (result < 0)
		return error_set(err, result, "the daemon's greeting is not understood");
	result = json_object_get(hello, "error") ? message_to_error(hello, err) : 0;
	json_decref(hello);
	return result;
}

int client_connect(const char *store, struct client **ret_client, struct error *err)
{
	struct client *client;
	int fd = connect_to(store), result;

	if (fd == -ENOENT || fd == -ECONNREFUSED)
		return fd;
	if (fd == -EACCES) {
		error_set(err, fd, "no permission to talk to the daemon of %s", store);
		error_hint(err, "only root and who mounted it may");
		return fd;
	}
	if (fd == -EAGAIN)
		return is_silent(0, "", err);
	if (fd == -EPERM)
		return error_set(err, fd, "the socket in %s belongs to a user who does not own the store", store);
	if (fd < 0)
		return error_set(err, fd, "the daemon of %s cannot be reached: %s", store, error_text(fd));
	client = xcalloc(1, sizeof(*client));
	client->fd = fd;
	client->store = xstrdup(store);
	client->daemon = pid_of_listener(fd);
	client->passed = -1;
	client->reader = (struct message_reader){.fd = fd, .limit = MESSAGE_ANSWER_MAX};
	result = await_hello(client, err);
	if (result < 0) {
		client_close(client);
		return result;
	}
	*ret_client = client;
	return 0;
}

void client_close(struct client *client)
{
	if (!client)
		return;
	message_reader_clear(&client->reader);
	json_decref(client->progress);
	close(client->fd);
	free(client->store);
	free(client);
}

void client_limit(struct client *client, uint64_t ms)
{
	client->until_ms = clock_ms() + ms;
}

void client_on_silence(struct client *client, int (*look)(void *arg, const struct client_silence *silence, struct error *err), void *arg)
{
	client->look = look;
	client->look_arg = arg;
}

int client_fd(const struct client *client)
{
	return client->fd;
}

void client_pass(struct client *client, int fd)
{
	client->passed = fd;
}

static int went_away(const char *op, struct error *err)
{
	error_set(err, -ECONNRESET, "the daemon died during %s, which may or may not be done", op);
	error_hint(err, "see the file \"log\" in the store's directory, mount again if corpusfs status shows no mount, and do it again");
	return -ECONNRESET;
}

/* 1: it was a row or progress; 0: it is the answer. */
static int pass_on(const struct client_sink *sink, json_t *message)
{
	json_t *row = json_object_get(message, "row"), *progress = json_object_get(message, "progress");
	int result = 0;

	if (row && sink && sink->row)
		result = sink->row(sink->row_arg, row);
	if (progress && sink && sink->progress)
		sink->progress(sink->progress_arg, progress);
	return result < 0 ? result : (row || progress) ? 1 : 0;
}

static int take_answer(const char *op, const json_t *answer, json_t **ret_result, struct error *err)
{
	json_t *value = json_object_get(answer, "result");

	if (value) {
		*ret_result = json_incref(value);
		return 0;
	}
	if (json_object_get(answer, "error"))
		return message_to_error(answer, err);
	return error_set(err, -EIO, "the daemon's answer to %s is not understood", op);
}

/* Whether the daemon still greets who comes. One that is leaving refuses, and then the connection tells more. */
static int probe(const struct client *client, struct error *err)
{
	struct client *other = NULL;
	const int result = client_connect(client->store, &other, err);

	client_close(other);
	return result == -ETIMEDOUT ? result : 0;
}

static int check_silence(const struct client *client, struct error *err)
{
	const uint64_t now = clock_ms();
	const struct client_silence silence = {.daemon = client->daemon, .quiet_ms = now - client->heard_ms, .dead_ms = now - client->alive_ms};

	if (client->until_ms && now > client->until_ms)
		return is_silent(client->daemon, ": it works on this for too long, and goes on", err);
	return client->look ? client->look(client->look_arg, &silence, err) : 0;
}

/* As message_receive, but not for longer than the daemon lives, nor than client_limit() and whoever looks at silence say. */
static int receive(struct client *client, json_t **ret_message, struct error *err)
{
	uint64_t probed_ms = clock_ms();
	int result;

	client->stopped_ms = 0;
	while ((result = message_receive(&client->reader, ret_message)) == -EAGAIN) {
		result = check_runs(client->daemon, &client->stopped_ms, err);
		if (result == 0)
			result = check_silence(client, err);
		if (result == 0 && clock_ms() > probed_ms + PROBE_MS) {
			result = probe(client, err);
			probed_ms = clock_ms();
		}
		if (result < 0)
			return result;
	}
	return result;
}

/* Any message is a sign of life, but for progress that is none; whether it is only a sign. */
static bool note_sign(struct client *client, const json_t *message)
{
	const char *alive = json_string_value(json_object_get(message, "alive"));
	json_t *progress = json_object_get(message, "progress");
	const uint64_t now = clock_ms();

	if (!progress || !json_equal(progress, client->progress))
		client->alive_ms = now;
	if (!alive || strcmp(alive, "waits") == 0)
		client->heard_ms = now;
	if (progress) {
		json_decref(client->progress);
		client->progress = json_incref(progress);
	}
	return alive;
}

int client_call(struct client *client, const char *op, const json_t *args, const struct client_sink *sink, json_t **ret_result,
                struct error *err)
{
	int result = message_send_with(client->fd, json_pack("{s:s, s:O, s:b}", "op", op, "args", args, "signs", true),
				       client->passed);
	json_t *message;

	client->passed = -1;
	client->heard_ms = client->alive_ms = clock_ms();
	if (result == -EPIPE)
		return error_set(err, -ESHUTDOWN, "the daemon is leaving");
	if (result == -EILSEQ)
		return error_set(err, -EINVAL, "an argument is not UTF-8");
	if (result < 0)
		return error_set(err, result, "the daemon cannot be reached: %s", error_text(result));
	for (;;) {
		result = receive(client, &message, err);
		if (result == 0 || result == -ECONNRESET)
			return went_away(op, err);
		if (result == -ETIMEDOUT)
			return result;
		if (result < 0)
			return error_set(err, result, "the daemon's answer is not understood");
		result = note_sign(client, message) ? 1 : pass_on(sink, message);
		if (result < 0)
			error_set(err, result, "%s was broken off: %s", op, error_text(result));
		else if (result == 0)
			result = take_answer(op, message, ret_result, err);
		json_decref(message);
		if (result > 0)
			result = check_silence(client, err) < 0 ? -ETIMEDOUT : result;
		if (result <= 0)
			return result;
	}
}

/* Its last files are closed by its end: until then the disk of the store is in use. */
void client_wait_end(struct client *client)
{
	AUTO_CLOSE int process = client->daemon > 0 ? pidfd_open(client->daemon, 0) : -1;
	struct error ignored = {0};
	json_t *message;
	int result;

	while ((result = receive(client, &message, &ignored)) == 1)
		json_decref(message);
	if (process >= 0 && result != -ETIMEDOUT)
		(void)poll(&(struct pollfd){.fd = process, .events = POLLIN}, 1, GONE_MS);
}
