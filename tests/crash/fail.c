/*
 * Makes system calls of a program fail that knows nothing of it: a library for LD_PRELOAD. The file $CORPUSFS_FAIL holds a struct order, which
 * the test changes while the program runs; harness/crash.py writes it.
 *
 * A call that fails does nothing. A short write writes some of the bytes and says so, as a kernel may at any time.
 */
#undef _FILE_OFFSET_BITS
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum call { NONE, WRITE, DATASYNC, SYNC, RENAME, ALLOCATE, OPEN, LINK };

struct order {
	_Atomic uint32_t call;
	_Atomic uint32_t error;  /* 0: a short write */
	_Atomic int32_t skip;    /* so many calls are let through first */
	_Atomic int32_t times;   /* and so many fail */
	_Atomic uint32_t failed; /* so far */
	char inside[256];        /* only of files whose path begins with this */
};

#define REAL(name, type) ((type)dlsym(RTLD_NEXT, name))

static struct order *order;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void find_order(void)
{
	const char *path = getenv("CORPUSFS_FAIL");
	int fd = path ? REAL("open64", int (*)(const char *, int, ...))(path, O_RDWR | O_CLOEXEC) : -1;

	if (fd < 0)
		return;
	void *page = mmap(NULL, sizeof(struct order), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	order = page == MAP_FAILED ? NULL : page;
}

/* Where the file is: the store's are opened by a path that begins at a descriptor of its directory. */
static const char *place(int fd, const char *path, char name[1024])
{
	int at = -1;

	if (path && sscanf(path, "/proc/self/fd/%d%n", &fd, &at) != 1)
		return path;
	char link[64];
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t len = readlink(link, name, 512);
	snprintf(name + (len < 0 ? 0 : len), 512, "%s", path ? path + at : "");
	return name;
}

/* Whether this call is to fail. */
static int hit(enum call call, int fd, const char *path)
{
	char name[1024];

	pthread_once(&once, find_order);
	if (!order || atomic_load(&order->call) != call)
		return 0;
	path = place(fd, path, name);
	if (strncmp(path, order->inside, strlen(order->inside)) != 0 || atomic_fetch_sub(&order->skip, 1) > 0)
		return 0;
	if (atomic_fetch_sub(&order->times, 1) <= 0)
		return 0;
	atomic_fetch_add(&order->failed, 1);
	errno = (int)atomic_load(&order->error);
	return 1;
}

ssize_t write(int fd, const void *data, size_t len)
{
	if (hit(WRITE, fd, NULL)) {
		if (errno != 0 || len < 2)
			return errno ? -1 : 0;
		len /= 2;
	}
	return REAL("write", ssize_t(*)(int, const void *, size_t))(fd, data, len);
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t offset)
{
	if (hit(WRITE, fd, NULL)) {
		if (errno != 0 || len < 2)
			return errno ? -1 : 0;
		len /= 2;
	}
	return REAL("pwrite64", ssize_t(*)(int, const void *, size_t, off64_t))(fd, data, len, offset);
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t offset) __attribute__((alias("pwrite64")));

int fdatasync(int fd)
{
	return hit(DATASYNC, fd, NULL) ? -1 : REAL("fdatasync", int (*)(int))(fd);
}

int fsync(int fd)
{
	return hit(SYNC, fd, NULL) ? -1 : REAL("fsync", int (*)(int))(fd);
}

int rename(const char *from, const char *to)
{
	return hit(RENAME, -1, from) ? -1 : REAL("rename", int (*)(const char *, const char *))(from, to);
}

int link(const char *from, const char *to)
{
	return hit(LINK, -1, from) ? -1 : REAL("link", int (*)(const char *, const char *))(from, to);
}

int fallocate64(int fd, int mode, off64_t offset, off64_t len)
{
	return hit(ALLOCATE, fd, NULL) ? -1 : REAL("fallocate64", int (*)(int, int, off64_t, off64_t))(fd, mode, offset, len);
}

int fallocate(int fd, int mode, off_t offset, off_t len) __attribute__((alias("fallocate64")));

int open64(const char *path, int flags, ...)
{
	mode_t mode = 0;

	if (flags & (O_CREAT | __O_TMPFILE)) {
		va_list list;
		va_start(list, flags);
		mode = va_arg(list, mode_t);
		va_end(list);
		if (hit(OPEN, -1, path))
			return -1;
	}
	return REAL("open64", int (*)(const char *, int, ...))(path, flags, mode);
}

int open(const char *path, int flags, ...) __attribute__((alias("open64")));
