#include "fs/daemon/control/message.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/base/fds.h"
#include "lib/ops/json.h"

#define READ_STEP 65536
#define WAIT_STEP_MS 100

/* A peer that went away is an error code here, not SIGPIPE; the pipe of a starting daemon is no socket. */
static int send_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t sent = send(fd, data, len, MSG_NOSIGNAL);
		if (sent < 0 && errno == ENOTSOCK)
			sent = write(fd, data, len);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return -errno;
		data += sent;
		len -= (size_t)sent;
	}
	return 0;
}

int message_send(int fd, json_t *message)
{
	return message_send_with(fd, message, -1);
}

int message_send_with(int fd, json_t *message, int passed)
{
	AUTO_FREE char *text = message ? json_dumps(message, JSON_COMPACT) : NULL;
	AUTO_FREE char *line = NULL;

	json_decref(message);
	if (!text)
		return -EILSEQ;
	line = xasprintf("%s\n", text);
	if (passed >= 0) { /* it goes with the first byte */
		const ssize_t sent = fds_send(fd, line, 1, &passed, 1, NULL, 0);
		if (sent < 0)
			return (int)sent;
	}
	return send_all(fd, line + (passed >= 0), strlen(line) - (passed >= 0));
}

/* --- writing to who may be slow --- */

int message_queue(struct message_writer *writer, json_t *message)
{
	AUTO_FREE char *text = message ? json_dumps(message, JSON_COMPACT) : NULL;

	json_decref(message);
	if (!text)
		return -EILSEQ;
	buf_add(&writer->buf, text, strlen(text));
	buf_add_u8(&writer->buf, '\n');
	return 0;
}

size_t message_queued(const struct message_writer *writer)
{
	return writer->buf.len - writer->sent;
}

/* 0: the peer takes some more, or has gone, which sending will tell. */
static int wait_writable(const struct message_writer *writer)
{
	struct pollfd polled = {.fd = writer->fd, .events = POLLOUT};

	for (;;) {
		int count = poll(&polled, 1, WAIT_STEP_MS);
		if (count > 0)
			return 0;
		if (count < 0 && errno != EINTR)
			return -errno;
		if (writer->gives_up && writer->gives_up(writer->arg))
			return -ETIMEDOUT;
	}
}

int message_flush(struct message_writer *writer, bool wait)
{
	while (message_queued(writer) > 0) {
		ssize_t sent = send(writer->fd, writer->buf.data + writer->sent, message_queued(writer), MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent >= 0) {
			writer->sent += (size_t)sent;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return -errno;
		if (!wait)
			return 1;
		int result = wait_writable(writer);
		if (result < 0)
			return result;
	}
	buf_reset(&writer->buf);
	writer->sent = 0;
	return 0;
}

void message_writer_clear(struct message_writer *writer)
{
	buf_clear(&writer->buf);
}

/* --- reading --- */

static int take_line(struct message_reader *reader, size_t len, json_t **ret_message)
{
	json_t *message = json_loadb((const char *)reader->buf.data + reader->at, len, JSON_REJECT_DUPLICATES, NULL);

	reader->at += len + 1;
	if (!json_is_object(message)) {
		json_decref(message);
		return -EBADMSG;
	}
	*ret_message = message;
	return 1;
}

/* Of several descriptors the last one is kept. */
static ssize_t receive(struct message_reader *reader, void *out, size_t len)
{
	int fds[FDS_MAX];
	size_t count;

	if (!reader->takes_descriptors) {
		const ssize_t got = read(reader->fd, out, len);
		return got < 0 ? -errno : got;
	}
	const ssize_t got = fds_receive(reader->fd, out, len, fds, &count);
	for (size_t i = 0; i < count; i++) {
		if (reader->passed >= 0)
			close(reader->passed);
		reader->passed = fds[i];
	}
	return got;
}

static void forget_what_was_taken(struct message_reader *reader)
{
	reader->buf.len -= reader->at;
	memmove(reader->buf.data, reader->buf.data + reader->at, reader->buf.len);
	reader->at = 0;
}

int message_receive(struct message_reader *reader, json_t **ret_message)
{
	size_t searched = reader->at;

	for (;;) {
		const uint8_t *end = NULL;
		if (reader->buf.len > searched)
			end = memchr(reader->buf.data + searched, '\n', reader->buf.len - searched);
		if (end)
			return take_line(reader, (size_t)(end - reader->buf.data) - reader->at, ret_message);
		if (reader->at > 0)
			forget_what_was_taken(reader);
		searched = reader->buf.len;
		if (reader->buf.len > reader->limit)
			return -EMSGSIZE;
		buf_reserve(&reader->buf, READ_STEP);
		ssize_t got = receive(reader, reader->buf.data + reader->buf.len, reader->buf.cap - reader->buf.len);
		if (got == -EINTR)
			continue;
		if (got < 0)
			return (int)got;
		if (got == 0)
			return 0;
		reader->buf.len += (size_t)got;
	}
}

void message_reader_clear(struct message_reader *reader)
{
	buf_clear(&reader->buf);
	if (reader->takes_descriptors && reader->passed >= 0)
		close(reader->passed);
}

json_t *message_from_error(const struct error *err)
{
	return json_pack("{s:o}", "error", json_from_error(err));
}

int message_to_error(const json_t *message, struct error *err)
{
	return json_to_error(json_object_get(message, "error"), err);
}
