#include "lib/transfer/stream_out.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "lib/base/buf.h"
#include "lib/base/fault.h"

#define BLOCK (1U << 20)
#define LOOK_EVERY_MS 200

struct stream_out {
	int fd;
	bool may_wait; /* no file: it takes bytes when its reader does */
	bool (*stopped)(void *arg);
	void *arg;
	uint8_t *block;
	size_t used;
	uint64_t position;
};

struct stream_out *stream_out_new(int fd, bool (*stopped)(void *arg), void *arg)
{
	struct stream_out *out;
	struct stat st;
	uint8_t *block = malloc(BLOCK);

	if (!block)
		return NULL;
	out = xcalloc(1, sizeof(*out));
	*out = (struct stream_out){.fd = fd, .stopped = stopped, .arg = arg, .block = block};
	out->may_wait = fstat(fd, &st) < 0 || !S_ISREG(st.st_mode);
	return out;
}

void stream_out_free(struct stream_out *out)
{
	if (!out)
		return;
	free(out->block);
	free(out);
}

/* Waits for room; returns how many bytes may be written without waiting in the system call. */
static ssize_t wait_room(struct stream_out *out)
{
	struct pollfd poll_fd = {.fd = out->fd, .events = POLLOUT};
	int unread = 0, size, ready;

	do {
		if (out->stopped(out->arg))
			return -ECANCELED;
		ready = poll(&poll_fd, 1, LOOK_EVERY_MS);
	} while (ready == 0 || (ready < 0 && errno == EINTR));
	if (ready < 0)
		return -errno;
	/* An empty pipe takes all that it can hold; of any other we know only that it has room for so much. */
	size = fcntl(out->fd, F_GETPIPE_SZ);
	return size > PIPE_BUF && ioctl(out->fd, FIONREAD, &unread) == 0 && unread == 0 ? size : PIPE_BUF;
}

static int write_all(struct stream_out *out, const uint8_t *data, size_t len)
{
	int r = fault_point("export-write");

	if (r < 0)
		return r;
	while (len > 0) {
		ssize_t room = out->may_wait ? wait_room(out) : SSIZE_MAX, written;

		if (room < 0)
			return (int)room;
		written = write(out->fd, data, MIN(len, (size_t)room));
		if (written < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (written < 0)
			return -errno;
		/* No write of at least a byte that goes well takes none. */
		if (written == 0)
			return -EIO;
		data += written;
		len -= (size_t)written;
	}
	return 0;
}

int stream_out_flush(struct stream_out *out)
{
	int r = write_all(out, out->block, out->used);

	out->used = 0;
	return r;
}

int stream_out_put(struct stream_out *out, const void *data, size_t len)
{
	const uint8_t *at = data;
	int r = 0;

	out->position += len;
	while (len > 0 && r == 0) {
		size_t part = out->used == 0 && len >= BLOCK ? len : MIN(len, BLOCK - out->used);

		if (part >= BLOCK) {
			r = write_all(out, at, part);
		} else {
			memcpy(out->block + out->used, at, part);
			out->used += part;
			r = out->used == BLOCK ? stream_out_flush(out) : 0;
		}
		at += part;
		len -= part;
	}
	return r;
}

uint64_t stream_out_position(const struct stream_out *out)
{
	return out->position;
}
