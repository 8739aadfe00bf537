#include "fs/daemon/control/message.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define READ_STEP 65536
#define ERRNO_LAST 133 /* EHWPOISON */

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

/* The descriptor goes with the first byte. */
static int send_first(int fd, const char *data, int passed)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {.header = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))}};
	struct iovec piece = {.iov_base = (char *)data, .iov_len = 1};
	struct msghdr header = {
		.msg_iov = &piece, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)};
	ssize_t sent;

	memcpy(CMSG_DATA(&control.header), &passed, sizeof(passed));
	do {
		sent = sendmsg(fd, &header, MSG_NOSIGNAL);
	} while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : 0;
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
	if (passed >= 0) {
		int r = send_first(fd, line, passed);
		if (r < 0)
			return r;
	}
	return send_all(fd, line + (passed >= 0), strlen(line) - (passed >= 0));
}

static int take_line(struct message_reader *reader, size_t len, json_t **ret_message)
{
	json_t *message = json_loadb((const char *)reader->buf.data, len, JSON_REJECT_DUPLICATES, NULL);

	reader->buf.len -= len + 1;
	memmove(reader->buf.data, reader->buf.data + len + 1, reader->buf.len);
	if (!json_is_object(message)) {
		json_decref(message);
		return -EBADMSG;
	}
	*ret_message = message;
	return 1;
}

/* Of several descriptors the last one is kept. */
static void keep_descriptor(struct message_reader *reader, struct msghdr *header)
{
	for (struct cmsghdr *at = CMSG_FIRSTHDR(header); at; at = CMSG_NXTHDR(header, at)) {
		if (at->cmsg_level != SOL_SOCKET || at->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < (at->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
			if (reader->passed >= 0)
				close(reader->passed);
			memcpy(&reader->passed, CMSG_DATA(at) + i * sizeof(int), sizeof(int));
		}
	}
}

static ssize_t receive(struct message_reader *reader, void *out, size_t len)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec piece = {.iov_base = out, .iov_len = len};
	struct msghdr header = {
		.msg_iov = &piece, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)};
	ssize_t got;

	if (!reader->takes_descriptors)
		return read(reader->fd, out, len);
	got = recvmsg(reader->fd, &header, MSG_CMSG_CLOEXEC);
	if (got >= 0)
		keep_descriptor(reader, &header);
	return got;
}

int message_receive(struct message_reader *reader, json_t **ret_message)
{
	size_t searched = 0;

	for (;;) {
		const uint8_t *end = NULL;
		if (reader->buf.len > searched)
			end = memchr(reader->buf.data + searched, '\n', reader->buf.len - searched);
		if (end)
			return take_line(reader, (size_t)(end - reader->buf.data), ret_message);
		searched = reader->buf.len;
		if (reader->buf.len > reader->limit)
			return -EMSGSIZE;
		buf_reserve(&reader->buf, READ_STEP);
		ssize_t got = receive(reader, reader->buf.data + reader->buf.len, reader->buf.cap - reader->buf.len);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
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

/* File names in an error's text may be any bytes; JSON holds UTF-8. */
static json_t *any_text(const char *text)
{
	json_t *value = json_string(text);
	char *copy;

	if (value)
		return value;
	copy = xstrdup(text);
	for (char *at = copy; *at; at++)
		if ((unsigned char)*at >= 0x80)
			*at = '?';
	value = json_string(copy);
	free(copy);
	return value;
}

json_t *message_from_error(const struct error *err)
{
	const char *name = strerrorname_np(-err->code);

	return json_pack("{s:{s:s, s:o, s:o}}", "error", "code", name ? name : "EIO", "text", any_text(err->text), "hint",
	                 any_text(err->hint));
}

int message_to_error(const json_t *message, struct error *err)
{
	const json_t *error = json_object_get(message, "error");
	const char *name = json_string_value(json_object_get(error, "code"));
	const char *text = json_string_value(json_object_get(error, "text"));
	const char *hint = json_string_value(json_object_get(error, "hint"));
	int code = -EIO;

	for (int number = 1; name && number <= ERRNO_LAST; number++) {
		const char *known = strerrorname_np(number);
		if (known && strcmp(known, name) == 0)
			code = -number;
	}
	error_set(err, code, "%s", text ? text : "the daemon gave an answer that is not understood");
	if (hint && *hint)
		error_hint(err, "%s", hint);
	return code;
}
