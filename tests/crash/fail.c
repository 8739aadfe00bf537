/*
 * Makes system calls of a program fail that knows nothing of it: a library for LD_PRELOAD. The file $CORPUSFS_FAIL holds a struct order, which
 * the test changes while the program runs; harness/failures.py writes it.
 *
 * A call that fails does nothing. A short read or write does some of it and says so, as a kernel may at any time.
 */
#undef _FILE_OFFSET_BITS
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* As CALLS of harness/failures.py, one less each. */
enum call { NONE, WRITE, DATASYNC, SYNC, RENAME, ALLOCATE, CREATE, LINK, READ, OPEN, STAT, UNLINK, MKDIR, TRUNCATE, MAP, LIST, DIRECT, CALLS };

#define COUNT 1000 /* none fails */

struct order {
	_Atomic uint32_t call;
	_Atomic uint32_t error;  /* 0: a short read or write */
	_Atomic int32_t skip;    /* so many calls are let through first */
	_Atomic int32_t times;   /* and so many fail */
	_Atomic uint32_t failed; /* so far */
	char inside[256];        /* only of files whose path begins with this */
	_Atomic int32_t at;      /* only if this byte is read; -1: all */
	_Atomic uint32_t seen[CALLS]; /* of each, while `call` is COUNT */
};

#define REAL(name, type) ((type)dlsym(RTLD_NEXT, name))

static struct order *order;

/* When the library is loaded. In the first call it could meet itself: what handles a crash makes calls, too, and would wait for ever. */
__attribute__((constructor)) static void find_order(void)
{
	const char *path = getenv("CORPUSFS_FAIL");
	int fd = path ? REAL("open64", int (*)(const char *, int, ...))(path, O_RDWR | O_CLOEXEC) : -1;

	if (fd < 0)
		return;
	void *page = REAL("mmap64", void *(*)(void *, size_t, int, int, int, off64_t))(NULL, sizeof(struct order), PROT_READ | PROT_WRITE,
										      MAP_SHARED, fd, 0);
	close(fd);
	order = page == MAP_FAILED ? NULL : page;
}

/* Where the file is: it may be named by a path that begins at a descriptor, or in a directory that is one. path NULL: the descriptor's own. */
static const char *place(int fd, const char *path, char name[1024])
{
	char link[64] = "/proc/self/cwd";
	int at = -1;

	if (path && path[0] == '/' && sscanf(path, "/proc/self/fd/%d%n", &fd, &at) != 1)
		return path;
	if (fd != AT_FDCWD)
		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t len = readlink(link, name, 512);
	snprintf(name + (len < 0 ? 0 : len), 512, "%s%s", path && at < 0 ? "/" : "", path ? path + (at < 0 ? 0 : at) : "");
	return name;
}

/* Whether this call is to fail. */
static int hit(enum call call, int fd, const char *path)
{
	const int saved = errno;
	char name[1024];
	const uint32_t wanted = order ? atomic_load(&order->call) : NONE;
	if (wanted != call && wanted != COUNT)
		return 0;
	path = place(fd, path, name);
	errno = saved;
	if (strncmp(path, order->inside, strlen(order->inside)) != 0)
		return 0;
	if (wanted == COUNT) {
		atomic_fetch_add(&order->seen[call], 1);
		return 0;
	}
	if (atomic_fetch_sub(&order->skip, 1) > 0 || atomic_fetch_sub(&order->times, 1) <= 0)
		return 0;
	atomic_fetch_add(&order->failed, 1);
	errno = (int)atomic_load(&order->error);
	return 1;
}

/* --- content --- */

static int hit_read(int fd)
{
	const int flags = fcntl(fd, F_GETFL);

	return hit(READ, fd, NULL) || (flags >= 0 && (flags & O_DIRECT) && hit(DIRECT, fd, NULL));
}

/* Of how many bytes a call that was hit, or was not, is to be made; -1: it has failed. */
static ssize_t cut(int is_hit, size_t len)
{
	if (!is_hit)
		return (ssize_t)len;
	return errno ? -1 : (ssize_t)(len < 2 ? len : len / 2);
}

ssize_t write(int fd, const void *data, size_t len)
{
	const ssize_t part = cut(hit(WRITE, fd, NULL), len);

	return part < 0 ? -1 : REAL("write", ssize_t(*)(int, const void *, size_t))(fd, data, (size_t)part);
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t offset)
{
	const ssize_t part = cut(hit(WRITE, fd, NULL), len);

	return part < 0 ? -1 : REAL("pwrite64", ssize_t(*)(int, const void *, size_t, off64_t))(fd, data, (size_t)part, offset);
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t offset) __attribute__((alias("pwrite64")));

ssize_t read(int fd, void *data, size_t len)
{
	const ssize_t part = cut(hit_read(fd), len);

	return part < 0 ? -1 : REAL("read", ssize_t(*)(int, void *, size_t))(fd, data, (size_t)part);
}

static int has_byte(off64_t offset, size_t len)
{
	const int32_t at = order ? atomic_load(&order->at) : -1;

	return at < 0 || (at >= offset && at < offset + (off64_t)len);
}

ssize_t pread64(int fd, void *data, size_t len, off64_t offset)
{
	const ssize_t part = cut(has_byte(offset, len) && hit_read(fd), len);

	return part < 0 ? -1 : REAL("pread64", ssize_t(*)(int, void *, size_t, off64_t))(fd, data, (size_t)part, offset);
}

ssize_t pread(int fd, void *data, size_t len, off_t offset) __attribute__((alias("pread64")));

ssize_t preadv64(int fd, const struct iovec *parts, int count, off64_t offset)
{
	if (hit_read(fd)) {
		if (errno)
			return -1;
		count = count > 1 ? count - 1 : count;
	}
	return REAL("preadv64", ssize_t(*)(int, const struct iovec *, int, off64_t))(fd, parts, count, offset);
}

/* Which the database reads its logs and manifests with; it takes a short one for the end. */
#undef fread_unlocked
size_t fread_unlocked(void *data, size_t size, size_t count, FILE *file)
{
	if (hit(READ, fileno(file), NULL) && errno)
		return 0;
	return REAL("fread_unlocked", size_t(*)(void *, size_t, size_t, FILE *))(data, size, count, file);
}

void *mmap64(void *at, size_t len, int protection, int flags, int fd, off64_t offset)
{
	if (fd >= 0 && hit(MAP, fd, NULL))
		return MAP_FAILED;
	return REAL("mmap64", void *(*)(void *, size_t, int, int, int, off64_t))(at, len, protection, flags, fd, offset);
}

void *mmap(void *at, size_t len, int protection, int flags, int fd, off_t offset) __attribute__((alias("mmap64")));

/* --- what is on the disk --- */

int fdatasync(int fd)
{
	return hit(DATASYNC, fd, NULL) ? -1 : REAL("fdatasync", int (*)(int))(fd);
}

int fsync(int fd)
{
	return hit(SYNC, fd, NULL) ? -1 : REAL("fsync", int (*)(int))(fd);
}

int syncfs(int fd)
{
	return hit(SYNC, fd, NULL) ? -1 : REAL("syncfs", int (*)(int))(fd);
}

int fallocate64(int fd, int mode, off64_t offset, off64_t len)
{
	return hit(ALLOCATE, fd, NULL) ? -1 : REAL("fallocate64", int (*)(int, int, off64_t, off64_t))(fd, mode, offset, len);
}

int fallocate(int fd, int mode, off_t offset, off_t len) __attribute__((alias("fallocate64")));

int ftruncate64(int fd, off64_t len)
{
	return hit(TRUNCATE, fd, NULL) ? -1 : REAL("ftruncate64", int (*)(int, off64_t))(fd, len);
}

int ftruncate(int fd, off_t len) __attribute__((alias("ftruncate64")));

/* --- names --- */

int rename(const char *from, const char *to)
{
	return hit(RENAME, AT_FDCWD, from) ? -1 : REAL("rename", int (*)(const char *, const char *))(from, to);
}

int renameat(int dir, const char *from, int to_dir, const char *to)
{
	return hit(RENAME, dir, from) ? -1 : REAL("renameat", int (*)(int, const char *, int, const char *))(dir, from, to_dir, to);
}

int renameat2(int dir, const char *from, int to_dir, const char *to, unsigned flags)
{
	return hit(RENAME, dir, from) ? -1 : REAL("renameat2", int (*)(int, const char *, int, const char *, unsigned))(dir, from, to_dir, to, flags);
}

int link(const char *from, const char *to)
{
	return hit(LINK, AT_FDCWD, from) ? -1 : REAL("link", int (*)(const char *, const char *))(from, to);
}

int linkat(int dir, const char *from, int to_dir, const char *to, int flags)
{
	return hit(LINK, to_dir, to) ? -1 : REAL("linkat", int (*)(int, const char *, int, const char *, int))(dir, from, to_dir, to, flags);
}

int symlinkat(const char *target, int dir, const char *name)
{
	return hit(LINK, dir, name) ? -1 : REAL("symlinkat", int (*)(const char *, int, const char *))(target, dir, name);
}

int unlink(const char *path)
{
	return hit(UNLINK, AT_FDCWD, path) ? -1 : REAL("unlink", int (*)(const char *))(path);
}

int unlinkat(int dir, const char *name, int flags)
{
	return hit(UNLINK, dir, name) ? -1 : REAL("unlinkat", int (*)(int, const char *, int))(dir, name, flags);
}

int mkdir(const char *path, mode_t mode)
{
	return hit(MKDIR, AT_FDCWD, path) ? -1 : REAL("mkdir", int (*)(const char *, mode_t))(path, mode);
}

int mkdirat(int dir, const char *name, mode_t mode)
{
	return hit(MKDIR, dir, name) ? -1 : REAL("mkdirat", int (*)(int, const char *, mode_t))(dir, name, mode);
}

static int open_at(int dir, const char *path, int flags, mode_t mode)
{
	const int makes = (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE;

	if (hit(makes ? CREATE : OPEN, dir, path))
		return -1;
	return REAL("openat64", int (*)(int, const char *, int, ...))(dir, path, flags, mode);
}

#define TAKE_MODE(flags, mode)                                    \
	do {                                                      \
		if ((flags) & (O_CREAT | __O_TMPFILE)) {          \
			va_list list;                             \
			va_start(list, flags);                    \
			mode = va_arg(list, mode_t);              \
			va_end(list);                             \
		}                                                 \
	} while (0)

int open64(const char *path, int flags, ...)
{
	mode_t mode = 0;

	TAKE_MODE(flags, mode);
	return open_at(AT_FDCWD, path, flags, mode);
}

int open(const char *path, int flags, ...) __attribute__((alias("open64")));

int openat64(int dir, const char *path, int flags, ...)
{
	mode_t mode = 0;

	TAKE_MODE(flags, mode);
	return open_at(dir, path, flags, mode);
}

int openat(int dir, const char *path, int flags, ...) __attribute__((alias("openat64")));

FILE *fopen64(const char *path, const char *mode)
{
	return hit(mode[0] == 'r' ? OPEN : CREATE, AT_FDCWD, path) ? NULL : REAL("fopen64", FILE *(*)(const char *, const char *))(path, mode);
}

FILE *fopen(const char *path, const char *mode) __attribute__((alias("fopen64")));

DIR *opendir(const char *path)
{
	return hit(OPEN, AT_FDCWD, path) ? NULL : REAL("opendir", DIR *(*)(const char *))(path);
}

struct dirent64 *readdir64(DIR *dir)
{
	return hit(LIST, dirfd(dir), NULL) ? NULL : REAL("readdir64", struct dirent64 *(*)(DIR *))(dir);
}

struct dirent *readdir(DIR *dir)
{
	return hit(LIST, dirfd(dir), NULL) ? NULL : REAL("readdir", struct dirent *(*)(DIR *))(dir);
}

/* --- what is known of a file --- */

#define STAT_CALLS(suffix)                                                                                                              \
	int fstat##suffix(int fd, struct stat##suffix *to)                                                                              \
	{                                                                                                                               \
		return hit(STAT, fd, NULL) ? -1 : REAL("fstat" #suffix, int (*)(int, struct stat##suffix *))(fd, to);                     \
	}                                                                                                                               \
	int stat##suffix(const char *path, struct stat##suffix *to)                                                                     \
	{                                                                                                                               \
		return hit(STAT, AT_FDCWD, path) ? -1 : REAL("stat" #suffix, int (*)(const char *, struct stat##suffix *))(path, to);     \
	}                                                                                                                               \
	int lstat##suffix(const char *path, struct stat##suffix *to)                                                                    \
	{                                                                                                                               \
		return hit(STAT, AT_FDCWD, path) ? -1 : REAL("lstat" #suffix, int (*)(const char *, struct stat##suffix *))(path, to);    \
	}                                                                                                                               \
	int fstatat##suffix(int dir, const char *path, struct stat##suffix *to, int flags)                                              \
	{                                                                                                                               \
		return hit(STAT, dir, path) ? -1                                                                                        \
					    : REAL("fstatat" #suffix, int (*)(int, const char *, struct stat##suffix *, int))(dir, path, to, flags); \
	}

STAT_CALLS()
STAT_CALLS(64)

int statx(int dir, const char *path, int flags, unsigned mask, struct statx *to)
{
	return hit(STAT, dir, path) ? -1 : REAL("statx", int (*)(int, const char *, int, unsigned, struct statx *))(dir, path, flags, mask, to);
}
