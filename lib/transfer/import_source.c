/* Reading what is outside of the store. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "lib/transfer/import_parts.h"

static void load_xattr(const char *path, int fd, const char *name, struct xattrs *xattrs)
{
	AUTO_FREE char *value = xmalloc(XATTR_VALUE_MAX);
	ssize_t len = fd >= 0 ? fgetxattr(fd, name, value, XATTR_VALUE_MAX) : lgetxattr(path, name, value, XATTR_VALUE_MAX);

	if (len >= 0 && strlen(name) <= NAME_LEN_MAX)
		xattrs_add(xattrs, name, value, (size_t)len);
}

void source_xattrs(const char *path, int fd, struct xattrs *xattrs)
{
	char fixed[1024];
	AUTO_FREE char *more = NULL;
	char *names = fixed;
	ssize_t len = fd >= 0 ? flistxattr(fd, fixed, sizeof(fixed)) : llistxattr(path, fixed, sizeof(fixed));

	if (len < 0 && errno == ERANGE) {
		names = more = xmalloc(XATTR_LIST_MAX);
		len = fd >= 0 ? flistxattr(fd, more, XATTR_LIST_MAX) : llistxattr(path, more, XATTR_LIST_MAX);
	}
	for (ssize_t at = 0; at < len; at += (ssize_t)strlen(names + at) + 1)
		load_xattr(path, fd, names + at, xattrs);
}

ssize_t source_read(int fd, uint8_t *out, size_t len, off_t offset)
{
	size_t done = 0;

	while (done < len) {
		ssize_t got = pread(fd, out + done, len - done, offset + (off_t)done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		done += (size_t)got;
	}
	return (ssize_t)done;
}

void source_count(struct transfer *transfer, int dir_fd, const char *name)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;
	struct stat st;

	if (!stream) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while (!transfer_stopped(transfer) && (entry = readdir(stream))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (S_ISREG(st.st_mode))
			atomic_fetch_add(&transfer->total, (uint64_t)st.st_size);
		else if (S_ISDIR(st.st_mode))
			source_count(transfer, fd, entry->d_name);
	}
	closedir(stream);
}
