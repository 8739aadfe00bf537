/* Notifications: what the kernel is told without having asked. A session that has not begun is NULL: nobody has asked, so nobody remembers. */
#include <errno.h>
#include <linux/fuse.h>
#include <string.h>
#include <sys/uio.h>

#include "fs/fuse/session/session.h"
#include "lib/base/buf.h"

#define NOTIFY_INC_EPOCH 8 /* FUSE_NOTIFY_INC_EPOCH, protocol 7.44 */
#define NOTIFY_EXPIRE_ENTRY 1 /* FUSE_EXPIRE_ENTRY, protocol 7.38 */

static unsigned protocol_minor(const struct session *session)
{
	struct session_info info = {0};

	if (session)
		session_get_info(session, &info);
	return info.protocol_minor;
}

/* libfuse would print what the kernel does not know; here that is no failure. */
static int notify(const struct session *session, int code, struct iovec *iov, int count)
{
	struct fuse_out_header out = {.len = sizeof(out), .error = code};

	if (!session)
		return 0;
	iov[0] = (struct iovec){.iov_base = &out, .iov_len = sizeof(out)};
	for (int i = 1; i < count; i++)
		out.len += (uint32_t)iov[i].iov_len;
	if (writev(session_fd(session), iov, count) >= 0 || errno == ENOENT || errno == ENOTDIR || errno == ENODEV)
		return 0;
	return -errno;
}

/* offset -1: attributes only. */
static int notify_inode(struct session *session, uint64_t node, int64_t offset, int64_t length)
{
	struct fuse_notify_inval_inode_out arg = {.ino = node, .off = offset, .len = length};
	struct iovec iov[2] = {[1] = {.iov_base = &arg, .iov_len = sizeof(arg)}};

	return notify(session, FUSE_NOTIFY_INVAL_INODE, iov, 2);
}

int session_notify_range(struct session *session, uint64_t node, uint64_t offset, uint64_t length)
{
	return notify_inode(session, node, (int64_t)offset, (int64_t)length);
}

int session_notify_attributes(struct session *session, uint64_t node)
{
	return notify_inode(session, node, -1, 0);
}

int session_notify_inode(struct session *session, uint64_t node)
{
	return session_notify_range(session, node, 0, 0);
}

static int notify_entry(struct session *session, uint64_t parent, const char *name, uint32_t flags)
{
	const size_t len = strlen(name);
	/* struct fuse_notify_inval_entry_out, whose last member older headers call padding */
	struct {
		uint64_t parent;
		uint32_t namelen, flags;
	} arg = {.parent = parent, .namelen = (uint32_t)len, .flags = flags};
	AUTO_FREE char *copy = xstrdup(name);
	struct iovec iov[3] = {[1] = {.iov_base = &arg, .iov_len = sizeof(arg)}, [2] = {.iov_base = copy, .iov_len = len + 1}};

	return notify(session, FUSE_NOTIFY_INVAL_ENTRY, iov, 3);
}

int session_notify_entry(struct session *session, uint64_t parent, const char *name)
{
	return notify_entry(session, parent, name, 0);
}

bool session_has_expiry(const struct session *session)
{
	return protocol_minor(session) >= 38;
}

int session_expire_entry(struct session *session, uint64_t parent, const char *name)
{
	return notify_entry(session, parent, name, session_has_expiry(session) ? NOTIFY_EXPIRE_ENTRY : 0);
}

bool session_has_epoch(const struct session *session)
{
	return protocol_minor(session) >= 44;
}

int session_notify_epoch(struct session *session)
{
	struct iovec iov[1];

	if (!session_has_epoch(session))
		return -ENOSYS;
	return notify(session, NOTIFY_INC_EPOCH, iov, 1);
}
