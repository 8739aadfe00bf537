#include "lib/transfer/spool.h"

#include <errno.h>
#include <fcntl.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"

#define IN_MEMORY (4U << 20)
#define DIRECTORY "/var/tmp"

struct spool {
	struct buf buf; /* what is not in the file yet */
	int fd;         /* -1: there is none */
};

struct spool *spool_new(void)
{
	struct spool *spool = xcalloc(1, sizeof(*spool));

	spool->fd = -1;
	return spool;
}

void spool_free(struct spool *spool)
{
	if (!spool)
		return;
	if (spool->fd >= 0)
		close(spool->fd);
	buf_clear(&spool->buf);
	free(spool);
}

static int open_file(void)
{
	char path[] = DIRECTORY "/corpusfs-XXXXXX";
	int fd = open(DIRECTORY, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd >= 0)
		return fd;
	fd = mkostemp(path, O_CLOEXEC);
	if (fd >= 0)
		unlink(path);
	return fd < 0 ? -errno : fd;
}

int spool_add(struct spool *spool, const void *data, size_t len)
{
	int r = 0;

	buf_add(&spool->buf, data, len);
	if (spool->buf.len < IN_MEMORY)
		return 0;
	if (spool->fd < 0)
		r = spool->fd = open_file();
	if (r >= 0)
		r = file_write_all(spool->fd, spool->buf.data, spool->buf.len);
	buf_reset(&spool->buf);
	return MIN(r, 0);
}

int spool_read(struct spool *spool, int (*each)(void *arg, const void *data, size_t len), void *arg)
{
	AUTO_FREE uint8_t *block = xmalloc(IN_MEMORY);
	off_t at = 0;
	ssize_t got = 0;
	int r = 0;

	while (r == 0 && spool->fd >= 0 && (got = pread(spool->fd, block, IN_MEMORY, at)) > 0) {
		r = each(arg, block, (size_t)got);
		at += got;
	}
	if (got < 0)
		return -errno;
	return r == 0 && spool->buf.len > 0 ? each(arg, spool->buf.data, spool->buf.len) : r;
}
