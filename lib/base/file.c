#include "lib/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

static ssize_t read_some(int fd, void *data, size_t len)
{
	ssize_t got;

	do
		got = read(fd, data, len);
	while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : got;
}

static int read_whole(int fd, size_t limit, struct buf *ret_content)
{
	AUTO_BUF content = BUF_INIT;

	for (;;) {
		buf_reserve(&content, 4096);
		ssize_t got = read_some(fd, content.data + content.len, content.cap - content.len);
		if (got < 0)
			return (int)got;
		if (got == 0)
			break;
		content.len += (size_t)got;
		if (content.len > limit)
			return -EFBIG;
	}
	buf_clear(ret_content);
	*ret_content = content;
	content = BUF_INIT;
	return 0;
}

int file_read(const char *path, size_t limit, struct buf *ret_content)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	return fd < 0 ? -errno : read_whole(fd, limit, ret_content);
}

int file_open_inside(int dir, const char *name, int flags, unsigned mode)
{
	int fd = openat(dir, name, flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, (mode_t)mode);
	struct stat st;

	/* What ELOOP and ENXIO mean here: a symbolic link; a fifo without a reader, or a socket. */
	if (fd < 0)
		return errno == ELOOP || errno == ENXIO ? -EUCLEAN : -errno;
	int result = fstat(fd, &st) < 0 ? -errno : S_ISREG(st.st_mode) ? 0 : -EUCLEAN;
	if (result < 0) {
		close(fd);
		return result;
	}
	return fd;
}

int file_read_inside(int dir, const char *name, size_t limit, struct buf *ret_content)
{
	AUTO_CLOSE int fd = file_open_inside(dir, name, O_RDONLY, 0);

	return fd < 0 ? fd : read_whole(fd, limit, ret_content);
}

int file_sync_dir(const char *path)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return fsync(fd) < 0 ? -errno : 0;
}

static int write_new(const char *path, const void *data, size_t len, unsigned mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, (mode_t)mode);
	int result = fd < 0 ? -errno : 0;

	if (result < 0)
		return result;
	/* O_CREAT does not change the mode of a file that an earlier attempt left. */
	if (fchmod(fd, (mode_t)mode) < 0)
		result = -errno;
	if (result == 0)
		result = file_write_all(fd, data, len);
	if (result == 0 && fsync(fd) < 0)
		result = -errno;
	if (close(fd) < 0 && result == 0)
		result = -errno;
	return result;
}

int file_replace(const char *path, const void *data, size_t len, unsigned mode)
{
	AUTO_FREE char *temporary = xasprintf("%s.tmp", path);
	int result = write_new(temporary, data, len, mode);

	if (result == 0 && rename(temporary, path) < 0)
		result = -errno;
	if (result < 0) {
		unlink(temporary);
		return result;
	}

	const char *slash = strrchr(path, '/');
	if (!slash)
		return file_sync_dir(".");
	AUTO_FREE char *directory = xasprintf("%.*s", (int)MAX(slash - path, 1), path);
	return file_sync_dir(directory);
}

int file_write_all(int fd, const void *data, size_t len)
{
	const uint8_t *at = data;

	while (len > 0) {
		ssize_t put = write(fd, at, len);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -errno;
		at += put;
		len -= (size_t)put;
	}
	return 0;
}

int file_write_at(int fd, const void *data, size_t len, uint64_t offset)
{
	for (size_t done = 0; done < len;) {
		const ssize_t put = pwrite(fd, (const uint8_t *)data + done, len - done, (off_t)(offset + done));

		if (put <= 0 && !(put < 0 && errno == EINTR))
			return put < 0 ? -errno : -EIO;
		done += (size_t)MAX(put, 0);
	}
	return 0;
}

int file_read_all(int fd, void *data, size_t len)
{
	uint8_t *at = data;

	while (len > 0) {
		ssize_t got = read_some(fd, at, len);
		if (got < 0)
			return (int)got;
		if (got == 0)
			return -EIO;
		at += got;
		len -= (size_t)got;
	}
	return 0;
}

static int remove_if_file(int dir_fd, const char *name)
{
	struct stat st;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISREG(st.st_mode))
		return 0;
	return unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

DIR *file_entries(int dir)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *entries = fd < 0 ? NULL : fdopendir(fd);
	const int error = errno;

	if (!entries && fd >= 0)
		close(fd);
	errno = error;
	return entries;
}

int file_next_entry(DIR *entries, const char **ret_name)
{
	const struct dirent *entry;

	do {
		errno = 0;
		entry = readdir(entries);
		if (!entry)
			return -errno;
	} while (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0);
	*ret_name = entry->d_name;
	return 1;
}

int file_empty_dir(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	int result = dir ? 0 : -errno, more;
	const char *name;

	if (!dir && fd >= 0)
		close(fd);

	while (result == 0 && (more = file_next_entry(dir, &name)) != 0)
		result = more < 0 ? more : remove_if_file(dirfd(dir), name);
	if (dir)
		closedir(dir);
	return result;
}

int file_in_memory(const char *name, const void *data, size_t len)
{
	AUTO_CLOSE int fd = memfd_create(name, MFD_CLOEXEC);
	int result = fd < 0 ? -errno : file_write_all(fd, data, len);

	if (result < 0)
		return result;
	result = fd;
	fd = -1;
	return result;
}

int file_read_from_start(int fd, size_t limit, struct buf *ret_content)
{
	AUTO_BUF content = BUF_INIT;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if ((uint64_t)st.st_size > limit)
		return -EFBIG;
	buf_reserve(&content, (size_t)st.st_size + 1);
	if (pread(fd, content.data, (size_t)st.st_size, 0) != st.st_size)
		return -EIO;
	content.len = (size_t)st.st_size;
	buf_clear(ret_content);
	*ret_content = content;
	content = BUF_INIT;
	return 0;
}
