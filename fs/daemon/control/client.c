#include "fs/daemon/control/client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "fs/daemon/control/control.h"
#include "fs/daemon/control/message.h"

#define HELLO_TIMEOUT_S 30

struct client {
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

static int connect_to(const char *store)
{
	AUTO_CLOSE int dir = open(store, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), result;

	result = dir < 0 || fd < 0 ? -errno : connect_socket(fd, dir);
	if (result < 0 && fd >= 0)
		close(fd);
	return result < 0 ? result : fd;
}

static void set_timeout(struct client *client, unsigned seconds)
{
	struct timeval timeout = {.tv_sec = (time_t)seconds};

	setsockopt(client->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
}

/*
 * A daemon that leaves closes its queue of connections without a greeting: then nothing was asked yet, and one may try
 * again.
 */
static int await_hello(struct client *client, struct error *err)
{
	json_t *hello = NULL;
	int result;

	set_timeout(client, HELLO_TIMEOUT_S);
	result = message_receive(&client->reader, &hello);
	set_timeout(client, 0);
	if (result == 0 || result == -ECONNRESET || result == -EPIPE)
		return -ECONNREFUSED;
	if (result == -EAGAIN) {
		error_set(err, -ETIMEDOUT, "the daemon does not answer");
		error_hint(err, "see the file \"log\" in the store's directory");
		return -ETIMEDOUT;
	}
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
	if (fd == -EPERM)
		return error_set(err, fd, "the socket in %s belongs to a user who does not own the store", store);
	if (fd < 0)
		return error_set(err, fd, "the daemon of %s cannot be reached: %s", store, strerror(-fd));
	client = xcalloc(1, sizeof(*client));
	client->fd = fd;
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
	close(client->fd);
	free(client);
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
	error_hint(err, "see the file \"log\" in the store's directory, then mount again");
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

int client_call(struct client *client, const char *op, const json_t *args, const struct client_sink *sink, json_t **ret_result,
                struct error *err)
{
	int result = message_send_with(client->fd, json_pack("{s:s, s:O}", "op", op, "args", args), client->passed);
	json_t *message;

	client->passed = -1;
	if (result == -EPIPE)
		return error_set(err, -ESHUTDOWN, "the daemon is leaving");
	if (result == -EILSEQ)
		return error_set(err, -EINVAL, "an argument is not UTF-8");
	if (result < 0)
		return error_set(err, result, "the daemon cannot be reached: %s", strerror(-result));
	for (;;) {
		result = message_receive(&client->reader, &message);
		if (result == 0 || result == -ECONNRESET)
			return went_away(op, err);
		if (result < 0)
			return error_set(err, result, "the daemon's answer is not understood");
		result = pass_on(sink, message);
		if (result < 0)
			error_set(err, result, "%s was broken off: %s", op, strerror(-result));
		else if (result == 0)
			result = take_answer(op, message, ret_result, err);
		json_decref(message);
		if (result <= 0)
			return result;
	}
}

void client_wait_end(struct client *client)
{
	json_t *message;

	while (message_receive(&client->reader, &message) == 1)
		json_decref(message);
}
