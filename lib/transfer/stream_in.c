#include "lib/transfer/stream_in.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"

#define LOOK_EVERY_MS 200

struct stream_in {
	int fd, kept; /* kept: a file of our own, or -1 */
	struct stream_keep keep;
	bool is_file; /* fd is read with pread */
	bool is_part; /* the file goes on behind it */
	uint64_t start, size; /* of the file: where it begins, and how long it is from there */
	stream_stop_fn stopped;
	void *arg;

	uint8_t *block;
	size_t room, step;  /* of the block; and how much to read at once */
	size_t begin, end;  /* in the block: read and not taken */
	uint64_t position;  /* of `begin` */
	bool ended;
};

struct stream_in *stream_in_new(int fd, stream_stop_fn stopped, void *arg)
{
	struct stream_in *in;
	struct stat st;
	off_t start;
	uint8_t *block = malloc(STREAM_BLOCK);

	if (!block)
		return NULL;
	in = xcalloc(1, sizeof(*in));
	*in = (struct stream_in){.fd = fd, .kept = -1, .stopped = stopped, .arg = arg, .block = block, .room = STREAM_BLOCK, .step = STREAM_BLOCK};
	start = lseek(fd, 0, SEEK_CUR);
	if (start >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0) {
		in->is_file = true;
		in->start = (uint64_t)start;
		in->size = st.st_size > start ? (uint64_t)(st.st_size - start) : 0;
		posix_fadvise(fd, start, 0, POSIX_FADV_SEQUENTIAL);
	}
	return in;
}

struct stream_in *stream_in_new_part(const struct stream_in *of, uint64_t offset, uint64_t size)
{
	struct stream_in *in;
	size_t room = size < STREAM_BLOCK ? (size_t)size + 1 : STREAM_BLOCK;
	uint8_t *block = malloc(room);

	if (!block)
		return NULL;
	in = xcalloc(1, sizeof(*in));
	*in = (struct stream_in){.fd = of->fd, .kept = -1, .is_file = true, .is_part = true, .start = of->start + offset, .size = size,
	                         .stopped = of->stopped, .arg = of->arg, .block = block, .room = room, .step = room};
	return in;
}

void stream_in_set_step(struct stream_in *in, size_t step)
{
	in->step = step;
}

void stream_in_free(struct stream_in *in)
{
	if (!in)
		return;
	if (in->kept >= 0)
		close(in->kept);
	free(in->block);
	free(in);
}

/* --- keeping --- */

static int open_nameless(int dir)
{
	AUTO_FREE char *path = NULL;
	int fd = openat(dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR))
		return fd < 0 ? -errno : fd;
	path = xasprintf("/proc/self/fd/%d/archive.XXXXXX", dir);
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	unlink(path);
	return fd;
}

static int keep_bytes(struct stream_in *in, const uint8_t *data, size_t len)
{
	int r = in->keep.room(in->keep.arg, len);

	if (r == 0)
		r = file_write_all(in->kept, data, len);
	in->size += len;
	return r;
}

int stream_in_keep(struct stream_in *in, const struct stream_keep *keep)
{
	int fd = open_nameless(keep->dir);

	if (fd < 0)
		return fd;
	in->keep = *keep;
	in->kept = fd;
	return keep_bytes(in, in->block + in->begin, in->end - in->begin);
}

bool stream_in_can_rewind(const struct stream_in *in)
{
	return in->is_file || in->kept >= 0;
}

void stream_in_rewind(struct stream_in *in)
{
	if (in->kept >= 0 && !in->is_file) {
		in->is_file = true;
		in->fd = in->kept;
		in->start = 0;
	}
	in->begin = in->end = 0;
	in->position = 0;
	in->ended = false;
}

/* --- reading --- */

bool stream_in_has_more(struct stream_in *in)
{
	struct pollfd ready = {.fd = in->fd, .events = POLLIN};
	const uint8_t *data;
	size_t len;

	if (in->begin < in->end)
		return true;
	return !in->ended && (in->is_file || (poll(&ready, 1, 0) == 1 && (ready.revents & POLLIN) != 0)) && stream_in_next(in, &data, &len) == 1;
}

bool stream_in_stopped(struct stream_in *in)
{
	return in->stopped(in->arg, in->position, in->size);
}

/* A pipe may have nothing to give for a long time. */
static ssize_t read_stream(struct stream_in *in, void *out, size_t len)
{
	struct pollfd poll_fd = {.fd = in->fd, .events = POLLIN};
	ssize_t got;

	do {
		while (poll(&poll_fd, 1, LOOK_EVERY_MS) == 0)
			if (stream_in_stopped(in))
				return -ECANCELED;
		got = read(in->fd, out, len);
	} while (got < 0 && (errno == EINTR || errno == EAGAIN));
	return got < 0 ? -errno : got;
}

static ssize_t read_at(struct stream_in *in, uint64_t offset, void *out, size_t len)
{
	ssize_t got;

	if (in->is_part)
		len = MIN(len, in->size - MIN(offset, in->size));
	do {
		got = pread(in->fd, out, len, (off_t)(in->start + offset));
	} while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : got;
}

/* More bytes behind those in the block. */
static int fill(struct stream_in *in)
{
	ssize_t got;
	size_t len;
	int r;

	if (in->begin == in->end)
		in->begin = in->end = 0;
	if (in->end == in->room) {
		memmove(in->block, in->block + in->begin, in->end - in->begin);
		in->end -= in->begin;
		in->begin = 0;
	}
	len = MIN(in->step, in->room - in->end);
	if (in->is_file)
		got = read_at(in, in->position + (in->end - in->begin), in->block + in->end, len);
	else
		got = read_stream(in, in->block + in->end, len);
	if (got < 0)
		return (int)got;
	r = in->kept >= 0 && !in->is_file ? keep_bytes(in, in->block + in->end, (size_t)got) : 0;
	in->end += (size_t)got;
	in->ended = got == 0;
	return r;
}

int stream_in_peek(struct stream_in *in, size_t least, const uint8_t **ret_data, size_t *ret_len)
{
	while (in->end - in->begin < least && !in->ended) {
		int r = fill(in);

		if (r < 0)
			return r;
	}
	*ret_data = in->block + in->begin;
	*ret_len = in->end - in->begin;
	return *ret_len > 0;
}

int stream_in_next(struct stream_in *in, const uint8_t **ret_data, size_t *ret_len)
{
	return stream_in_peek(in, 1, ret_data, ret_len);
}

void stream_in_take(struct stream_in *in, size_t len)
{
	in->begin += len;
	in->position += len;
}

int stream_in_skip(struct stream_in *in, uint64_t len, uint64_t *ret_skipped)
{
	uint64_t skipped = 0;

	while (skipped < len) {
		const uint8_t *data;
		size_t there = in->end - in->begin;
		int r = 1;

		if (there == 0 && in->is_file && in->position < in->size) {
			/* not read at all */
			uint64_t step = MIN(len - skipped, in->size - in->position);
			in->position += step;
			skipped += step;
			continue;
		}
		if (there == 0)
			r = stream_in_next(in, &data, &there);
		if (r < 0)
			return r;
		if (r == 0)
			break;
		there = MIN(there, len - skipped);
		stream_in_take(in, there);
		skipped += there;
	}
	*ret_skipped = skipped;
	return 0;
}

int stream_in_at(struct stream_in *in, uint64_t offset, void *out, size_t len, size_t *ret_len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t got = read_at(in, offset + done, (uint8_t *)out + done, len - done);

		if (got < 0)
			return (int)got;
		if (got == 0)
			break;
		done += (size_t)got;
	}
	*ret_len = done;
	return 0;
}

uint64_t stream_in_position(const struct stream_in *in)
{
	return in->position;
}

uint64_t stream_in_size(const struct stream_in *in)
{
	return in->is_file ? in->size : 0;
}
