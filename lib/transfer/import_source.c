/* Reading what is outside of the store. */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/xattr.h>

#include "lib/transfer/import_parts.h"

static void load_xattr(struct import *import, struct member *member, const char *path, int fd, const char *name)
{
	AUTO_FREE char *value = xmalloc(XATTR_VALUE_MAX);
	ssize_t len = fd >= 0 ? fgetxattr(fd, name, value, XATTR_VALUE_MAX) : lgetxattr(path, name, value, XATTR_VALUE_MAX);

	if (len >= 0)
		member_add_xattr(import, member, name, value, (size_t)len);
	else if (errno == ERANGE || errno == E2BIG)
		member_leave_out(import, member, name, "its value is too large");
}

void source_xattrs(struct import *import, struct member *member, const char *path, int fd)
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
		load_xattr(import, member, path, fd, names + at);
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
