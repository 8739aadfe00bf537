#include "fs/daemon/control/connection.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utlist.h>

#include "lib/base/clock.h"

#define PROGRESS_EVERY_MS 100
#define ROWS_EVERY_MS 100
#define ROWS_MAX (64U << 10) /* bytes that are kept for who does not read */
#define ANSWER_WAIT_MS 30000 /* for who does not read its answer */
#define LEAVE_WAIT_MS 1000   /* likewise, when the daemon leaves */

/* The answer of an umount of the last mount promises that everything is on disk: the store is closed first. */
static int wait_closed(struct control *control, struct error *err)
{
	int result;

	pthread_mutex_lock(&control->lock);
	control->serving--;
	control->waiting++;
	pthread_cond_broadcast(&control->change);
	while (!control->closed)
		pthread_cond_wait(&control->change, &control->lock);
	result = control->close_result;
	pthread_mutex_unlock(&control->lock);
	return result < 0 ? error_set(err, result, "unmounted, but the store could not be closed: %s", store_close_failure(result)) : 0;
}

static bool is_stopping(struct control *control)
{
	pthread_mutex_lock(&control->lock);
	bool stopping = control->stopping;
	pthread_mutex_unlock(&control->lock);
	return stopping;
}

/* --- sending --- */

/* While the client takes nothing: rows wait until somebody cancels, the answer for a limited time. */
static bool gives_up(void *arg)
{
	struct connection *connection = arg;
	uint64_t now = clock_ms();

	if (!connection->ending)
		return atomic_load(&connection->cancelled);
	if (is_stopping(connection->control) && connection->leaving_ms == 0)
		connection->leaving_ms = now;
	return now - connection->ending_ms > ANSWER_WAIT_MS ||
	       (connection->leaving_ms > 0 && now - connection->leaving_ms > LEAVE_WAIT_MS);
}

/* Unless some is left of what was sent before. */
static int send_what_fits(struct connection *connection, json_t *message)
{
	int result = message_flush(&connection->writer, false);

	if (result != 0) {
		json_decref(message);
		return result;
	}
	result = message_queue(&connection->writer, message);
	return result < 0 ? result : message_flush(&connection->writer, false);
}

static int send_now(struct connection *connection, json_t *message)
{
	pthread_mutex_lock(&connection->sending);
	const int result = send_what_fits(connection, message);
	pthread_mutex_unlock(&connection->sending);
	return result;
}

void connection_tell_alive(struct connection *connection)
{
	if (!connection->busy || !connection->wants_signs || pthread_mutex_trylock(&connection->sending) != 0)
		return;
	/* who has asked us to end this (connection->gone) waits for that; who is gone altogether is noticed by others */
	if (connection->waits || signs_of_life(&connection->signs, clock_ms(), atomic_load(&connection->net_bytes)))
		(void)!send_what_fits(connection, json_pack("{s:s}", "alive", connection->waits ? "waits" : "works"));
	pthread_mutex_unlock(&connection->sending);
}

static void send_progress(void *arg, json_t *state)
{
	struct connection *connection = arg;
	uint64_t now = clock_ms();
	int result;

	if (now - connection->told_ms < PROGRESS_EVERY_MS)
		return;
	connection->told_ms = now;
	result = send_now(connection, json_pack("{s:O}", "progress", state));
	if (result < 0)
		atomic_store(&connection->cancelled, true);
}

/* The first row after a pause is sent at once; those that come fast are sent together. */
static int send_row(void *arg, json_t *row)
{
	struct connection *connection = arg;
	uint64_t now = clock_ms();

	pthread_mutex_lock(&connection->sending);
	int result = message_queue(&connection->writer, json_pack("{s:O}", "row", row));
	bool full = message_queued(&connection->writer) >= ROWS_MAX;
	if (result == 0 && (full || now - connection->rows_sent_ms >= ROWS_EVERY_MS)) {
		connection->rows_sent_ms = now;
		result = message_flush(&connection->writer, full);
	}
	pthread_mutex_unlock(&connection->sending);
	return result < 0 ? -ECANCELED : 0;
}

static int send_answer(struct connection *connection, json_t *message)
{
	int result;

	pthread_mutex_lock(&connection->sending);
	result = message_queue(&connection->writer, message);
	connection->ending = true;
	connection->ending_ms = clock_ms();
	connection->leaving_ms = 0;
	if (result == 0)
		result = message_flush(&connection->writer, true);
	connection->ending = false;
	pthread_mutex_unlock(&connection->sending);
	return result;
}

/* --- requests --- */

void control_wake(struct control *control)
{
	uint64_t one = 1;

	(void)!write(control->wake_fd, &one, sizeof(one));
}

/* Of which the other end decides how fast it goes. */
static bool is_stream(int fd)
{
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode) || S_ISCHR(st.st_mode));
}

/* The acceptor looks now and then at what is worked on, and rests while there is nothing. */
static void set_busy(struct connection *connection, const json_t *request, int fd)
{
	const char *op = json_string_value(json_object_get(request, "op"));
	struct signs signs;

	signs_begin(&signs, clock_ms(), atomic_load(&connection->net_bytes));
	pthread_mutex_lock(&connection->control->lock);
	connection->busy = true;
	connection->wants_signs = json_is_true(json_object_get(request, "signs"));
	connection->waits = is_stream(fd);
	connection->signs = signs;
	snprintf(connection->op, sizeof(connection->op), "%s", op ? op : "?");
	pthread_mutex_unlock(&connection->control->lock);
	if (connection->wants_signs)
		control_wake(connection->control);
}

static void set_idle(struct connection *connection)
{
	pthread_mutex_lock(&connection->control->lock);
	connection->busy = false;
	connection->idle_since_ms = clock_ms();
	pthread_mutex_unlock(&connection->control->lock);
}

void control_waits(const struct control_call *call)
{
	pthread_mutex_lock(&call->connection->control->lock);
	call->connection->waits = true;
	pthread_mutex_unlock(&call->connection->control->lock);
}

static void close_passed(struct message_reader *reader)
{
	if (reader->passed >= 0)
		close(reader->passed);
	reader->passed = -1;
}

/*
 * Runs one request; returns false when the connection is over. The descriptor that came with it is closed before the
 * answer is sent: who has it may unmount the disk that it was of. ret_waited: the store is closed and must not be
 * touched any more.
 */
static bool answer(struct connection *connection, const json_t *request, struct message_reader *reader, bool *ret_waited)
{
	struct control *control = connection->control;
	json_t *result_json = NULL;
	struct error err = {0};
	struct control_call call = {
		.connection = connection,
		.op = json_string_value(json_object_get(request, "op")),
		.args = json_object_get(request, "args"),
		.role = OP_OWNER, /* nobody else is let in */
		.uid = connection->peer.uid,
		.gid = connection->peer.gid,
		.groups = connection->groups,
		.group_count = connection->group_count,
		.fd = reader->passed,
		.cancelled = &connection->cancelled,
		.progress = send_progress,
		.progress_arg = connection,
		.row = send_row,
		.row_arg = connection,
		.net_bytes = &connection->net_bytes,
	};
	int result;

	if (is_stopping(control))
		result = error_set(&err, -ESHUTDOWN, "the daemon is leaving");
	else if (!call.op)
		result = error_set(&err, -EINVAL, "the request names no operation");
	else
		result = control->handler.run(control->handler.arg, &call, &result_json, &err);
	if (result == -ECANCELED && is_stopping(control))
		result = error_set(&err, -ESHUTDOWN, "the daemon is leaving");
	close_passed(reader);
	if (result == 0 && call.answer_when_closed) {
		*ret_waited = true;
		result = wait_closed(control, &err);
	}
	if (result < 0) {
		json_decref(result_json);
		error_default(&err, result, "%s", call.op ? call.op : "request");
		return send_answer(connection, message_from_error(&err)) == 0;
	}
	return send_answer(connection, json_pack("{s:o}", "result", result_json ? result_json : json_object())) == 0;
}

bool control_others(const struct control_call *call, char ret_op[CONTROL_OP_MAX])
{
	struct control *control = call->connection->control;
	const struct connection *other;
	bool found = false;

	pthread_mutex_lock(&control->lock);
	DL_FOREACH (control->connections, other) {
		if (other == call->connection || !other->busy || other->gone)
			continue;
		memcpy(ret_op, other->op, CONTROL_OP_MAX);
		found = true;
	}
	pthread_mutex_unlock(&control->lock);
	return found;
}

static json_t *refusal(int code, const char *text)
{
	struct error err = {0};

	error_set(&err, code, "%s", text);
	return message_from_error(&err);
}

void connection_refuse(int fd, int code, const char *text)
{
	(void)!message_send(fd, refusal(code, text));
}

static void serve_requests(struct connection *connection, bool *ret_waited)
{
	struct message_reader reader = {.fd = connection->fd, .limit = MESSAGE_REQUEST_MAX, .takes_descriptors = true, .passed = -1};
	json_t *request;
	bool go_on;
	int got;

	go_on = send_answer(connection, json_pack("{s:s, s:s, s:i}", "hello", "corpusfs", "version", CORPUSFS_VERSION, "pid",
	                                          (int)getpid())) == 0;
	while (go_on && !*ret_waited) {
		got = message_receive(&reader, &request);
		if (got == -EBADMSG || got == -EMSGSIZE)
			(void)!send_answer(connection, refusal(got, "the request is not understood"));
		if (got <= 0)
			break;
		set_busy(connection, request, reader.passed);
		go_on = answer(connection, request, &reader, ret_waited);
		set_idle(connection);
		json_decref(request);
	}
	message_reader_clear(&reader);
}

void connection_free(struct connection *connection)
{
	close(connection->fd);
	message_writer_clear(&connection->writer);
	pthread_mutex_destroy(&connection->sending);
	free(connection->groups);
	free(connection);
}

void *connection_main(void *arg)
{
	struct connection *connection = arg;
	struct control *control = connection->control;
	bool waited = false;

	connection->writer = (struct message_writer){.fd = connection->fd, .gives_up = gives_up, .arg = connection};
	serve_requests(connection, &waited);
	pthread_mutex_lock(&control->lock);
	DL_DELETE(control->connections, connection);
	/* While the acceptor polls the descriptor, closing it alone would not tell the client. */
	shutdown(connection->fd, SHUT_RDWR);
	connection_free(connection);
	if (waited)
		control->waiting--;
	else
		control->serving--;
	pthread_cond_broadcast(&control->change);
	pthread_mutex_unlock(&control->lock);
	return NULL;
}
