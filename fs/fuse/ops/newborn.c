#include "fs/fuse/ops/newborn.h"

#include <errno.h>
#include <sys/stat.h>

#include "lib/tree/files/acl.h"

static void apply_umask(fuse_req_t req, struct create *create)
{
	create->mode &= ~(fuse_req_ctx(req)->umask & 0777);
}

/* With a default ACL the umask does not count. */
static int apply_acl(fuse_req_t req, const struct target *dir, struct newborn *newborn)
{
	struct create *create = &newborn->create;
	int result = view_xattr_get(dir->view, dir->node.ino, ACL_DEFAULT, &newborn->default_acl);

	if (result == -ENODATA) {
		apply_umask(req, create);
		return 0;
	}
	if (result)
		return result;
	result = acl_inherit(newborn->default_acl.data, newborn->default_acl.len, create->mode, &create->mode,
	                     &newborn->access_acl);
	if (result)
		return result;
	if (newborn->access_acl.len)
		newborn->xattrs[create->xattr_count++] =
			(struct xattr_init){ACL_ACCESS, newborn->access_acl.data, newborn->access_acl.len};
	if (S_ISDIR(create->mode))
		newborn->xattrs[create->xattr_count++] =
			(struct xattr_init){ACL_DEFAULT, newborn->default_acl.data, newborn->default_acl.len};
	return 0;
}

int newborn_init(fuse_req_t req, const struct target *dir, mode_t mode, struct newborn *ret_newborn)
{
	const struct fuse_ctx *caller = fuse_req_ctx(req);
	struct create *create = &ret_newborn->create;
	struct attr parent;
	int result;

	*ret_newborn = (struct newborn){.create = {.mode = mode, .uid = caller->uid, .gid = caller->gid}};
	result = view_getattr(dir->view, dir->node.ino, &parent);
	if (result)
		return result == -ESTALE ? -ENOENT : result;
	if (parent.mode & S_ISGID) {
		create->gid = parent.gid;
		if (S_ISDIR(mode))
			create->mode |= S_ISGID;
	}
	create->xattrs = ret_newborn->xattrs;
	if (S_ISLNK(mode))
		return 0;
	if (dir->mount->options.acl)
		return apply_acl(req, dir, ret_newborn);
	apply_umask(req, create);
	return 0;
}

void newborn_clear(struct newborn *newborn)
{
	buf_clear(&newborn->access_acl);
	buf_clear(&newborn->default_acl);
}
