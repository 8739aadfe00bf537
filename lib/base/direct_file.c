#include "lib/base/direct_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/pages.h"

/* One write: large enough for a disk to be busy with, and one huge page. */
#define BUFFER_LEN PAGES_HUGE
/* More at once makes no disk faster, and a process that is killed ends only after it. */
#define WRITE_MAX ((size_t)16 << 20)
#define ALIGNMENT DIRECT_ALIGNMENT

struct direct_file {
	int fd;
	bool is_borrowed; /* the descriptor is the caller's */
	bool is_direct;
	int error;        /* the first one */
	uint8_t *buffer;
	size_t used;      /* of the buffer */
	uint64_t written; /* before the buffer */
};

bool direct_is_unable(int code)
{
	return code == EINVAL || code == EOPNOTSUPP || code == ENOSYS || code == ENOTTY;
}

int direct_file_new(const char *path, struct direct_file **ret_file)
{
	const int flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC;
	struct direct_file *file = xcalloc(1, sizeof(*file));
	int ret = 0;

	file->is_direct = true;
	file->buffer = pages_alloc(BUFFER_LEN);
	file->fd = file->buffer ? open(path, flags | O_DIRECT, 0644) : -1;
	if (!file->buffer) {
		ret = -ENOMEM;
	} else if (file->fd < 0 && direct_is_unable(errno)) {
		file->is_direct = false;
		file->fd = open(path, flags, 0644);
	}
	if (!ret && file->fd < 0)
		ret = -errno;
	if (ret) {
		direct_file_free(file);
		return ret;
	}
	*ret_file = file;
	return 0;
}

int direct_file_over(int fd, struct direct_file **file)
{
	struct direct_file *over = *file;
	const int flags = fcntl(fd, F_GETFL);

	if (!over) {
		uint8_t *buffer = pages_alloc(BUFFER_LEN);

		if (!buffer)
			return -EINVAL;
		over = *file = xcalloc(1, sizeof(*over));
		over->buffer = buffer;
	}
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_DIRECT) < 0)
		return -EINVAL;
	*over = (struct direct_file){.fd = fd, .is_borrowed = true, .is_direct = true, .buffer = over->buffer};
	return 0;
}

void direct_file_free(struct direct_file *file)
{
	if (!file)
		return;
	if (file->fd >= 0 && !file->is_borrowed)
		close(file->fd);
	free(file->buffer);
	free(file);
}

/* From here on through the page cache: the disk wants larger multiples, or has written a part of one. */
static int give_up_direct(struct direct_file *file)
{
	const int flags = fcntl(file->fd, F_GETFL);

	file->is_direct = false;
	return flags < 0 || fcntl(file->fd, F_SETFL, flags & ~O_DIRECT) < 0 ? -errno : 0;
}

static int write_buffer(struct direct_file *file, size_t len)
{
	int ret = 0;

	for (size_t done = 0; done < len && !ret;) {
		const ssize_t got = pwrite(file->fd, file->buffer + done, len - done, (off_t)(file->written + done));

		if (got > 0)
			done += (size_t)got;
		if (file->is_direct && ((got < 0 && direct_is_unable(errno)) || (got > 0 && got % (ssize_t)ALIGNMENT)))
			ret = give_up_direct(file);
		else if (got <= 0 && !(got < 0 && errno == EINTR))
			ret = got < 0 ? -errno : -EIO;
	}
	return ret;
}

static int flush(struct direct_file *file)
{
	file->error = write_buffer(file, file->used);
	file->written += file->used;
	file->used = 0;
	return file->error;
}

int direct_file_add(struct direct_file *file, const void *data, size_t len)
{
	const uint8_t *from = data;

	while (len > 0 && !file->error) {
		const size_t part = MIN(len, BUFFER_LEN - file->used);

		memcpy(file->buffer + file->used, from, part);
		file->used += part;
		from += part;
		len -= part;
		if (file->used == BUFFER_LEN)
			(void)flush(file);
	}
	return file->error;
}

int direct_file_finish(struct direct_file *file)
{
	const uint64_t size = file->written + file->used;
	const size_t padding = file->is_direct ? -file->used & (ALIGNMENT - 1) : 0;

	if (file->error)
		return file->error;
	if (padding)
		memset(file->buffer + file->used, 0, padding);
	file->used += padding;
	if (!flush(file) && padding && ftruncate(file->fd, (off_t)size) < 0)
		file->error = -errno;
	return file->error;
}

int direct_file_end(struct direct_file *file)
{
	if (!direct_file_finish(file) && fsync(file->fd) < 0)
		file->error = -errno;
	return file->error;
}

/* As far as it can be done: *ret_done bytes. */
static int write_blocks(int fd, const uint8_t *data, size_t len, size_t *ret_done)
{
	size_t done = 0;
	int ret = 0;

	while (done < len && done % ALIGNMENT == 0 && !ret) {
		const ssize_t got = write(fd, data + done, MIN(len - done, WRITE_MAX));

		if (got > 0)
			done += (size_t)got;
		else if (got < 0 && direct_is_unable(errno)) /* for example: the disk wants larger multiples */
			break;
		else if (!(got < 0 && errno == EINTR))
			ret = got < 0 ? -errno : -EIO;
	}
	*ret_done = done;
	return ret;
}

int direct_write(int fd, const void *data, size_t len)
{
	const size_t blocks = (uintptr_t)data % ALIGNMENT == 0 ? len - len % ALIGNMENT : 0;
	const int flags = fcntl(fd, F_GETFL);
	size_t done = 0;
	int ret = 0;

	if (flags < 0)
		return -errno;
	if (blocks > 0 && fcntl(fd, F_SETFL, flags | O_DIRECT) == 0) {
		ret = write_blocks(fd, data, blocks, &done);
		if (fcntl(fd, F_SETFL, flags) < 0 && !ret)
			ret = -errno;
	}
	return ret ? ret : file_write_all(fd, (const uint8_t *)data + done, len - done);
}

/* With the blocks that the range begins and ends in, of which a part belongs to others, read beside it. */
int direct_read(int fd, void *to, size_t len, uint64_t offset)
{
	_Alignas(DIRECT_ALIGNMENT) uint8_t ends[2][DIRECT_ALIGNMENT];
	const size_t head = -offset % ALIGNMENT, tail = (offset + len) % ALIGNMENT, middle = len - head - tail;
	struct iovec parts[3];
	int count = 0;
	size_t wanted = middle + tail;
	ssize_t got;

	if (head) {
		parts[count++] = (struct iovec){ends[0], ALIGNMENT};
		wanted += ALIGNMENT;
	}
	if (middle)
		parts[count++] = (struct iovec){(uint8_t *)to + head, middle};
	if (tail)
		parts[count++] = (struct iovec){ends[1], ALIGNMENT};
	do
		got = preadv(fd, parts, count, (off_t)(offset - (head ? ALIGNMENT - head : 0)));
	while (got < 0 && errno == EINTR);
	if (got < 0 || (size_t)got < wanted)
		return got < 0 ? -errno : -EINVAL;
	memcpy(to, ends[0] + ALIGNMENT - head, head);
	memcpy((uint8_t *)to + len - tail, ends[1], tail);
	return 0;
}
