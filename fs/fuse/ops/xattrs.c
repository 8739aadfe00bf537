#include <errno.h>
#include <string.h>
#include <sys/xattr.h>

#include "fs/fuse/notify/changes.h"
#include "fs/fuse/ops/ops.h"
#include "fs/fuse/ops/virtual_xattrs.h"
#include "lib/base/buf.h"
#include "lib/tree/files/acl.h"

#define CAPABILITY "security.capability"
#define SELINUX_LABEL "security.selinux"

static bool is_acl(const char *name)
{
	return !strcmp(name, ACL_ACCESS) || !strcmp(name, ACL_DEFAULT);
}

/* As Linux's own filesystems do: names of other kinds are for others, and the kind alone is no name. */
static int check_name(const struct target *target, const char *name)
{
	static const char *const kinds[] = {"user.", "trusted.", "security."};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		const size_t len = strlen(kinds[i]);

		if (!strncmp(name, kinds[i], len))
			return name[len] ? 0 : -EINVAL;
	}
	return target->mount->options.acl && is_acl(name) ? 0 : -EOPNOTSUPP;
}

static int check_change(const struct target *target, const char *name)
{
	return virtual_xattr_is(name) ? -EPERM : check_name(target, name);
}

void op_setxattr(fuse_req_t req, fuse_ino_t id, const char *name, const char *value, size_t size, int flags)
{
	unsigned how = 0;
	AUTO_TARGET target;
	int result = target_open_writable(req, id, &target);

	how |= flags & XATTR_CREATE ? XATTR_SET_CREATE : 0;
	how |= flags & XATTR_REPLACE ? XATTR_SET_REPLACE : 0;
	how |= flags & SESSION_XATTR_KILL_SGID ? XATTR_SET_KILL_SGID : 0;
	if (!result)
		result = check_change(&target, name);
	if (!result && !session_request()->done)
		result = view_xattr_set(target.view, target.node.ino, name, value, size, how);
	if (!result) {
		if (!strcmp(name, CAPABILITY))
			atomic_fetch_add(&target.mount->capabilities, 1);
		changes_note(target.mount, target.node.view, target.node.ino);
	}
	reply_result(req, result);
}

static void reply_bytes(fuse_req_t req, int result, const struct buf *bytes, size_t size)
{
	if (result)
		reply_result(req, result);
	else if (!size)
		fuse_reply_xattr(req, bytes->len);
	else if (bytes->len > size)
		reply_result(req, -ERANGE);
	else
		fuse_reply_buf(req, (const char *)bytes->data, bytes->len);
}

void op_getxattr(fuse_req_t req, fuse_ino_t id, const char *name, size_t size)
{
	AUTO_BUF value = BUF_INIT;
	AUTO_TARGET target;
	int result = target_open(req, id, &target);

	if (!result && virtual_xattr_is(name)) {
		virtual_xattr_get(req, &target, name, size);
		return;
	}
	if (!result)
		result = check_name(&target, name);
	if (!result)
		result = target.node.kind == NODE_FILE ? view_xattr_get(target.view, target.node.ino, name, &value) : -ENODATA;
	/*
	 * Where SELinux is active, the kernel answers this itself. Elsewhere `ls -l` asks it of each file, a request each, until it hears that
	 * there are no labels here.
	 */
	if (result == -ENODATA && !strcmp(name, SELINUX_LABEL))
		result = -EOPNOTSUPP;
	reply_bytes(req, result, &value, size);
}

/* "trusted." names are for root only, also in listings. */
static void hide_trusted(fuse_req_t req, const struct buf *names, struct buf *out)
{
	for (size_t at = 0; at < names->len;) {
		const char *name = (const char *)names->data + at;
		const size_t len = strnlen(name, names->len - at) + 1;

		if (fuse_req_ctx(req)->uid == 0 || strncmp(name, "trusted.", 8))
			buf_add(out, name, len);
		at += len;
	}
}

void op_listxattr(fuse_req_t req, fuse_ino_t id, size_t size)
{
	AUTO_BUF names = BUF_INIT;
	AUTO_BUF shown = BUF_INIT;
	AUTO_TARGET target;
	int result = target_open(req, id, &target);

	if (!result && target.node.kind == NODE_FILE)
		result = view_xattr_list(target.view, target.node.ino, &names);
	if (!result)
		hide_trusted(req, &names, &shown);
	reply_bytes(req, result, &shown, size);
}

void op_removexattr(fuse_req_t req, fuse_ino_t id, const char *name)
{
	AUTO_TARGET target;
	int result = target_open_writable(req, id, &target);

	if (!result)
		result = check_change(&target, name);
	if (!result && !session_request()->done)
		result = view_xattr_remove(target.view, target.node.ino, name);
	/* where there is no ACL, it is removed already */
	if (result == -ENODATA && is_acl(name))
		result = 0;
	if (!result)
		changes_note(target.mount, target.node.view, target.node.ino);
	reply_result(req, result);
}
