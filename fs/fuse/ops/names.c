#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fs/fuse/ops/ops.h"
#include "fs/fuse/ops/virtual.h"
#include "lib/base/buf.h"
#include "lib/format/key.h"
#include "lib/tree/files/acl.h"

/* "." may be asked of any inode, by a file handle that comes back after all caches were dropped. */
static int lookup_self(const struct target *target, struct fuse_entry_param *ret_entry)
{
	struct attr attr;
	int result = view_getattr(target->view, target->node.ino, &attr);

	if (!result)
		target_entry(target, &attr, ret_entry);
	return result;
}

static int lookup_parent(const struct target *dir, struct fuse_entry_param *ret_entry)
{
	const uint32_t root_view = atomic_load(&dir->mount->root_view);
	const struct target datasets = {.mount = dir->mount};
	uint64_t parent;
	struct attr attr;
	int result;

	if (dir->node.ino == ROOT_INO && dir->node.view == root_view)
		return lookup_self(dir, ret_entry);
	if (dir->node.ino == ROOT_INO && view_read_only(dir->view))
		return snapshots_above(dir, ret_entry);
	if (dir->node.ino == ROOT_INO)
		return root_lookup(&datasets, "..", ret_entry);
	result = view_parent(dir->view, dir->node.ino, &parent);
	if (!result)
		result = view_getattr(dir->view, parent, &attr);
	if (!result)
		target_entry(dir, &attr, ret_entry);
	return result;
}

int names_lookup(const struct target *dir, const char *name, struct fuse_entry_param *ret_entry)
{
	struct attr attr;
	int result;

	if (dir->node.kind == NODE_DATASETS)
		return root_lookup(dir, name, ret_entry);
	if (dir->node.kind == NODE_SNAPSHOTS)
		return snapshots_lookup(dir, name, ret_entry);
	if (!strcmp(name, "."))
		return lookup_self(dir, ret_entry);
	if (!strcmp(name, ".."))
		return lookup_parent(dir, ret_entry);
	if (target_has_snapshots(dir) && !strcmp(name, SNAPSHOTS_NAME))
		return snapshots_entry(dir, ret_entry);
	result = view_lookup(dir->view, dir->node.ino, name, &attr);
	if (!result)
		target_entry(dir, &attr, ret_entry);
	return result;
}

static void op_lookup(fuse_req_t req, fuse_ino_t dir, const char *name)
{
	struct fuse_entry_param entry;
	AUTO_TARGET target;
	int result = target_open(req, dir, &target);

	if (!result)
		result = names_lookup(&target, name, &entry);
	if (result == -ENOENT && target.node.kind == NODE_FILE) {
		/* The kernel may remember that there is nothing. */
		entry = (struct fuse_entry_param){.entry_timeout = target_timeout(&target)};
		result = 0;
	}
	if (result)
		reply_result(req, result);
	else
		fuse_reply_entry(req, &entry);
}

static void op_forget(fuse_req_t req, fuse_ino_t id, uint64_t lookups)
{
	fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	fuse_reply_none(req);
}

/* With a default ACL the umask does not count; without -o acl the kernel has applied the umask already. */
static int apply_acl(fuse_req_t req, const struct target *dir, struct newborn *newborn)
{
	struct create *create = &newborn->create;
	int result = view_xattr_get(dir->view, dir->node.ino, ACL_DEFAULT, &newborn->default_acl);

	if (result == -ENODATA) {
		create->mode &= ~(fuse_req_ctx(req)->umask & 0777);
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
	return dir->mount->options.acl && !S_ISLNK(mode) ? apply_acl(req, dir, ret_newborn) : 0;
}

void newborn_clear(struct newborn *newborn)
{
	buf_clear(&newborn->access_acl);
	buf_clear(&newborn->default_acl);
}

static void make(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode, dev_t rdev, const char *link_target)
{
	AUTO_NEWBORN newborn = {0};
	AUTO_TARGET target;
	struct attr attr;
	int result = target_open_name(req, dir, name, &target);

	if (!result)
		result = newborn_init(req, &target, mode, &newborn);
	if (!result) {
		newborn.create.rdev = rdev;
		newborn.create.target = link_target;
		result = view_create(target.view, target.node.ino, name, &newborn.create, &attr, NULL);
	}
	if (!result)
		changes_note_name(target.mount, target.node.view, target.node.ino, name);
	reply_entry(req, &target, result, &attr);
}

static void op_mknod(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode, dev_t rdev)
{
	make(req, dir, name, mode & S_IFMT ? mode : mode | S_IFREG, rdev, NULL);
}

static void op_symlink(fuse_req_t req, const char *link_target, fuse_ino_t dir, const char *name)
{
	make(req, dir, name, S_IFLNK | 0777, 0, link_target);
}

static void op_mkdir(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode)
{
	AUTO_TARGET target;
	const int result = target_open(req, dir, &target);

	if (result)
		reply_result(req, result);
	else if (target.node.kind == NODE_DATASETS)
		root_mkdir(req, name, mode);
	else if (target.node.kind == NODE_SNAPSHOTS)
		snapshots_mkdir(req, &target, name);
	else
		make(req, dir, name, S_IFDIR | (mode & 07777), 0, NULL);
}

static void op_unlink(fuse_req_t req, fuse_ino_t dir, const char *name)
{
	AUTO_TARGET target;
	int result = target_open_name(req, dir, name, &target);

	if (!result)
		result = view_unlink(target.view, target.node.ino, name);
	if (!result)
		changes_note_name(target.mount, target.node.view, target.node.ino, name);
	reply_result(req, result);
}

static void op_rmdir(fuse_req_t req, fuse_ino_t dir, const char *name)
{
	AUTO_TARGET target;
	int result = target_open(req, dir, &target);

	if (!result && target.node.kind == NODE_DATASETS) {
		root_rmdir(req, name);
		return;
	}
	if (!result && target.node.kind == NODE_SNAPSHOTS) {
		snapshots_rmdir(req, &target, name);
		return;
	}
	target_close(&target);
	result = target_open_name(req, dir, name, &target);
	if (!result)
		result = view_rmdir(target.view, target.node.ino, name);
	if (!result)
		changes_note_name(target.mount, target.node.view, target.node.ino, name);
	reply_result(req, result);
}

static int rename_in_view(const struct target *from, const char *name, const struct target *to, const char *new_name, unsigned flags)
{
	struct attr replaced;

	if (!flags && !view_lookup(to->view, to->node.ino, new_name, &replaced) && S_ISREG(replaced.mode))
		changes_keep_open(to->mount->group, to->node.view, replaced.ino);
	return view_rename(from->view, from->node.ino, name, to->node.ino, new_name, flags);
}

static void rename_files(fuse_req_t req, const struct target *from, const char *name, const struct target *to,
                         const char *new_name, unsigned flags)
{
	struct mount *mount = from->mount;
	int result;

	if (mount->read_only || view_read_only(from->view) || view_read_only(to->view))
		result = -EROFS;
	else if ((target_has_snapshots(from) && !strcmp(name, SNAPSHOTS_NAME)) ||
	         (target_has_snapshots(to) && !strcmp(new_name, SNAPSHOTS_NAME)))
		result = -EPERM;
	else if (from->node.view != to->node.view)
		result = -EXDEV;
	else
		result = rename_in_view(from, name, to, new_name, flags);
	if (!result) {
		changes_note_name(mount, from->node.view, from->node.ino, name);
		changes_note_name(mount, to->node.view, to->node.ino, new_name);
	}
	reply_result(req, result);
}

static void op_rename(fuse_req_t req, fuse_ino_t dir, const char *name, fuse_ino_t new_dir, const char *new_name, unsigned flags)
{
	AUTO_TARGET to = {0};
	AUTO_TARGET from;
	int result = target_open(req, dir, &from);

	if (!result)
		result = target_open(req, new_dir, &to);
	if (result)
		reply_result(req, result);
	else if (from.node.kind == NODE_FILE && to.node.kind == NODE_FILE)
		rename_files(req, &from, name, &to, new_name, flags);
	else if (from.node.kind == NODE_DATASETS && to.node.kind == NODE_DATASETS)
		root_rename(req, name, new_name, flags);
	else if (from.node.kind == NODE_SNAPSHOTS && dir == new_dir)
		snapshots_rename(req, &from, name, new_name, flags);
	else
		reply_result(req, -EXDEV);
}

static void op_link(fuse_req_t req, fuse_ino_t id, fuse_ino_t new_dir, const char *new_name)
{
	AUTO_TARGET dir;
	struct attr attr;
	int result = target_open_name(req, new_dir, new_name, &dir);
	struct node node;

	if (!result) {
		node = node_decode(id, atomic_load(&dir.mount->root_view));
		if (node.view != dir.node.view)
			result = -EXDEV;
		else if (node.kind != NODE_FILE)
			result = -EPERM;
		else
			result = view_link(dir.view, node.ino, dir.node.ino, new_name, &attr);
	}
	if (!result) {
		changes_note_name(dir.mount, dir.node.view, dir.node.ino, new_name);
		changes_note(dir.mount, dir.node.view, node.ino);
	}
	reply_entry(req, &dir, result, &attr);
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	const struct mount *mount = userdata;
	unsigned want = FUSE_CAP_ASYNC_READ | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_ASYNC_DIO | FUSE_CAP_ATOMIC_O_TRUNC |
	                FUSE_CAP_EXPORT_SUPPORT | FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_CACHE_SYMLINKS;

	/* Splicing pays only above the sizes that arrive here, and the gate needs requests in memory. */
	want |= mount->read_only ? FUSE_CAP_AUTO_INVAL_DATA : FUSE_CAP_EXPLICIT_INVAL_DATA;
	if (mount->options.acl)
		want |= FUSE_CAP_POSIX_ACL | FUSE_CAP_DONT_MASK;
	conn->want = want & conn->capable;
	conn->max_write = SESSION_TRANSFER_MAX;
	conn->max_readahead = 16U << 20;
	/* Reads that wait at the gate count as background requests, and write-back must never wait for them. */
	conn->max_background = 1024;
	conn->congestion_threshold = 768;
	conn->time_gran = 1;
}

const struct fuse_lowlevel_ops mount_ops = {
	.init = op_init,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.readlink = op_readlink,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.symlink = op_symlink,
	.rename = op_rename,
	.link = op_link,
	.open = op_open,
	.create = op_create,
	.read = op_read,
	.write = op_write,
	.flush = op_flush,
	.release = op_release,
	.fsync = op_fsync,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.releasedir = op_releasedir,
	.fsyncdir = op_fsyncdir,
	.statfs = op_statfs,
	.setxattr = op_setxattr,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
	.removexattr = op_removexattr,
	.fallocate = op_fallocate,
	.lseek = op_lseek,
	.copy_file_range = op_copy_file_range,
};
