/* Reading what is outside of the store. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

#include "lib/base/fault.h"
#include "lib/transfer/import_parts.h"

/* There are none, or they are not for the caller. */
static bool is_not_ours(int code)
{
	return code == -EOPNOTSUPP || code == -EPERM || code == -EACCES;
}

static ssize_t get_xattr(const char *path, int fd, const char *name, char *value)
{
	ssize_t len = fault_point("import-before-attribute");

	if (len == 0)
		len = fd >= 0 ? fgetxattr(fd, name, value, XATTR_VALUE_MAX) : lgetxattr(path, name, value, XATTR_VALUE_MAX);
	return len == -1 ? -errno : len;
}

static ssize_t list_xattrs(const char *path, int fd, char *names, size_t size)
{
	ssize_t len = fault_point("import-before-attribute");

	if (len == 0)
		len = fd >= 0 ? flistxattr(fd, names, size) : llistxattr(path, names, size);
	return len == -1 ? -errno : len;
}

static void load_xattr(struct import *import, struct member *member, const char *path, int fd, const char *name)
{
	AUTO_FREE char *value = xmalloc(XATTR_VALUE_MAX);
	ssize_t len = get_xattr(path, fd, name, value);

	if (len >= 0)
		member_add_xattr(import, member, name, value, (size_t)len);
	else if (len == -ERANGE || len == -E2BIG)
		member_leave_out(import, member, name, "its value is too large");
	else if (len != -ENODATA && !is_not_ours((int)len))
		member_leave_out(import, member, name, "it could not be read");
}

void source_xattrs(struct import *import, struct member *member, const char *path, int fd)
{
	char fixed[1024];
	AUTO_FREE char *more = NULL;
	char *names = fixed;
	ssize_t len = list_xattrs(path, fd, fixed, sizeof(fixed));

	if (len == -ERANGE) {
		names = more = xmalloc(XATTR_LIST_MAX);
		len = list_xattrs(path, fd, more, XATTR_LIST_MAX);
	}
	if (len < 0 && !is_not_ours((int)len))
		member_problem(import, member, (int)len, "its extended attributes could not be listed, and did not come in");
	for (ssize_t at = 0; at < len; at += (ssize_t)strlen(names + at) + 1)
		load_xattr(import, member, path, fd, names + at);
	member_count_acl(import, member);
}

/* --- content --- */

/*
 * Content that is not in memory is read past the page cache, into memory of the reader's: nobody is known to want its pages, others would
 * have to give way to them, and fresh pages are expensive (1 GiB that was not in memory: 0.1 instead of 0.8 s of a processor).
 */
#define DIRECT_MIN (16U << 10)

/* cachestat(2), since Linux 6.5; the headers may be older. */
#define CACHESTAT 451
struct cache_range {
	uint64_t offset, len;
};
struct cache_state {
	uint64_t cached, dirty, in_writeback, evicted, recently_evicted;
};

/* Nothing of it is in memory; false where the kernel cannot tell. */
static bool is_cold(int fd, off_t offset, size_t len)
{
	struct cache_range range = {(uint64_t)offset, len};
	struct cache_state state = {0};

	return syscall(CACHESTAT, fd, &range, &state, 0) == 0 && state.cached == 0;
}

/* Reads what can be read so, and leaves the rest, and every problem, to the usual way. */
static size_t read_direct(int fd, uint8_t *out, size_t len, off_t offset)
{
	const int flags = fcntl(fd, F_GETFL);
	size_t done = 0;
	ssize_t got = 1;

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_DIRECT) < 0)
		return 0;
	while (done < len && done % SOURCE_ALIGNMENT == 0 && got > 0) {
		got = pread(fd, out + done, source_room(len - done), offset + (off_t)done);
		done += got > 0 ? (size_t)got : 0;
	}
	(void)fcntl(fd, F_SETFL, flags);
	return MIN(done, len);
}

static bool is_aligned(const uint8_t *out, off_t offset)
{
	return (uintptr_t)out % SOURCE_ALIGNMENT == 0 && offset % (off_t)SOURCE_ALIGNMENT == 0;
}

ssize_t source_read(int fd, uint8_t *out, size_t len, off_t offset)
{
	size_t done = 0;
	int r = fault_point("import-before-read");

	if (r < 0)
		return r;
	/* the end of what was read so far in this way, however short it is */
	if ((len >= DIRECT_MIN || offset > 0) && is_aligned(out, offset) && is_cold(fd, offset, len))
		done = read_direct(fd, out, len, offset);
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
