#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/fuse/ops/ops.h"
#include "fs/fuse/notify/changes.h"
#include "fs/fuse/ops/newborn.h"
#include "fs/fuse/ops/root.h"
#include "fs/fuse/ops/snapshots.h"
#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/format/key.h"

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
	const struct target datasets = {.mount = dir->mount};
	uint64_t parent;
	struct attr attr;
	int result;

	if (node_encode(dir->node, &dir->mount->gate.root) == NODE_MOUNT_ROOT)
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

/* The disk works while the kernel comes back with the READ. In snapshots: what is written is in memory. */
static void expect_read(const struct target *dir, const struct fuse_entry_param *entry)
{
	const struct node node = node_decode(entry->ino, &dir->mount->gate.root);
	struct inode *inode;

	if (!S_ISREG(entry->attr.st_mode) || dir->node.kind != NODE_FILE || !view_read_only(dir->view))
		return;
	if (!habit_looked_up(&dir->mount->habit, entry->ino) || inode_open(dir->view, node.ino, &inode) < 0)
		return;
	session_send(mount_session(dir->mount));
	inode_begin_read(inode);
	inode_close(inode);
}

/*
 * The kernel removes only what it has looked up. So of a file whose inode cannot be read it learns the number and the type, for no time at all:
 * whatever else somebody wants to know of it, or to do with it, the kernel asks for, and that is EIO. So it is of a file or directory whose inode is
 * missing, which has a node id of its own for that. A directory that is there is known to be empty only if it can be read.
 */
static int lookup_damaged(const struct target *dir, const char *name, struct fuse_entry_param *ret_entry)
{
	struct attr attr = {.nlink = 1}, unreadable;
	uint8_t type;
	int result;

	if (dir->node.kind != NODE_FILE || dir->mount->read_only || view_read_only(dir->view) ||
	    view_name_type(dir->view, dir->node.ino, name, &attr.ino, &type) < 0)
		return -EIO;
	result = view_getattr(dir->view, attr.ino, &unreadable);
	if (result != -ESTALE && (result != -EIO || type == DT_DIR))
		return -EIO;
	attr.mode = DTTOIF(type);
	target_entry(dir, &attr, ret_entry);
	if (result == -ESTALE)
		ret_entry->ino = node_encode_missing(view_number(dir->view), attr.ino);
	ret_entry->attr_timeout = ret_entry->entry_timeout = 0;
	return 0;
}

void op_lookup(fuse_req_t req, fuse_ino_t dir, const char *name)
{
	struct fuse_entry_param entry;
	AUTO_TARGET target;
	int result = target_open(req, dir, &target);

	if (!result)
		result = names_lookup(&target, name, &entry);
	/* without a view it is not even known what the directory is in */
	if (result == -EIO && target.view)
		result = lookup_damaged(&target, name, &entry);
	if (!result && !S_ISDIR(entry.attr.st_mode))
		listers_look_up(&target.mount->group->listers, fuse_req_ctx(req)->pid, dir, clock_ms());
	if (result == -ENOENT && target.node.kind == NODE_FILE) {
		/* The kernel may remember that there is nothing. */
		entry = (struct fuse_entry_param){.entry_timeout = target_name_timeout(&target)};
		result = 0;
	}
	if (result)
		reply_result(req, result);
	else if (fuse_reply_entry(req, &entry) == 0 && entry.ino)
		expect_read(&target, &entry);
}

void op_forget(fuse_req_t req, fuse_ino_t id, uint64_t lookups)
{
	fuse_reply_none(req);
}

void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	fuse_reply_none(req);
}

static void make(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode, dev_t rdev, const char *link_target)
{
	AUTO_NEWBORN newborn = {0};
	AUTO_TARGET target;
	struct attr attr;
	int result = target_open_name(req, dir, name, &target);

	if (!result && session_request()->done) {
		reply_entry(req, &target, view_lookup(target.view, target.node.ino, name, &attr), &attr);
		return;
	}
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

void op_mknod(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode, dev_t rdev)
{
	make(req, dir, name, mode & S_IFMT ? mode : mode | S_IFREG, rdev, NULL);
}

void op_symlink(fuse_req_t req, const char *link_target, fuse_ino_t dir, const char *name)
{
	make(req, dir, name, S_IFLNK | 0777, 0, link_target);
}

void op_mkdir(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode)
{
	AUTO_TARGET target;
	const int result = target_open(req, dir, &target);

	if (result)
		reply_result(req, result);
	else if (target.node.kind == NODE_DATASETS)
		root_mkdir(req, name, mode);
	else if (target.node.kind == NODE_SNAPSHOTS)
		snapshots_mkdir(req, &target, name, mode);
	else
		make(req, dir, name, S_IFDIR | (mode & 07777), 0, NULL);
}

/* Who loses a name, and has others, has a new link count and time under those. */
static void remove_name(fuse_req_t req, const struct target *target, const char *name, bool is_dir)
{
	uint64_t left = 0;
	const int result = session_request()->done ? 0 : view_remove(target->view, target->node.ino, name, is_dir, &left);

	if (!result)
		changes_note_name(target->mount, target->node.view, target->node.ino, name);
	if (left)
		changes_note_attributes(target->mount, target->node.view, left);
	reply_result(req, result);
}

void op_unlink(fuse_req_t req, fuse_ino_t dir, const char *name)
{
	AUTO_TARGET target;
	const int result = target_open_name(req, dir, name, &target);

	if (result)
		reply_result(req, result);
	else
		remove_name(req, &target, name, false);
}

void op_rmdir(fuse_req_t req, fuse_ino_t dir, const char *name)
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
	if (result)
		reply_result(req, result);
	else
		remove_name(req, &target, name, true);
}

static int rename_in_view(const struct target *from, const char *name, const struct target *to, const char *new_name, unsigned flags,
                          struct renamed *ret_renamed)
{
	struct attr replaced;

	if (session_request()->done)
		return 0;
	if (!flags && !view_lookup(to->view, to->node.ino, new_name, &replaced) && S_ISREG(replaced.mode))
		changes_keep_open(to->mount->group, to->node.view, replaced.ino);
	return view_rename_told(from->view, from->node.ino, name, to->node.ino, new_name, flags, ret_renamed);
}

static void rename_files(fuse_req_t req, const struct target *from, const char *name, const struct target *to,
                         const char *new_name, unsigned flags)
{
	struct mount *mount = from->mount;
	struct renamed renamed = {0};
	int result;

	if (mount->read_only || view_read_only(from->view) || view_read_only(to->view))
		result = -EROFS;
	else if ((target_has_snapshots(from) && !strcmp(name, SNAPSHOTS_NAME)) ||
	         (target_has_snapshots(to) && !strcmp(new_name, SNAPSHOTS_NAME)))
		result = -EPERM;
	else if (from->node.view != to->node.view)
		result = -EXDEV;
	else
		result = rename_in_view(from, name, to, new_name, flags, &renamed);
	if (!result) {
		changes_note_name(mount, from->node.view, from->node.ino, name);
		changes_note_name(mount, to->node.view, to->node.ino, new_name);
	}
	if (renamed.moved)
		changes_note_attributes(mount, from->node.view, renamed.moved);
	if (renamed.left)
		changes_note_attributes(mount, from->node.view, renamed.left);
	reply_result(req, result);
}

void op_rename(fuse_req_t req, fuse_ino_t dir, const char *name, fuse_ino_t new_dir, const char *new_name, unsigned flags)
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

void op_link(fuse_req_t req, fuse_ino_t id, fuse_ino_t new_dir, const char *new_name)
{
	AUTO_TARGET file = {0};
	AUTO_TARGET dir;
	struct attr attr;
	int result = target_open_name(req, new_dir, new_name, &dir);

	/* of a head that was replaced: the kernel then looks its name up anew */
	if (!result)
		result = target_open(req, id, &file);
	if (!result) {
		if (file.node.view != dir.node.view)
			result = -EXDEV;
		else if (file.node.kind != NODE_FILE)
			result = -EPERM;
		else if (session_request()->done)
			result = view_lookup(dir.view, dir.node.ino, new_name, &attr);
		else
			result = view_link(dir.view, file.node.ino, dir.node.ino, new_name, &attr);
	}
	if (!result) {
		changes_note_name(dir.mount, dir.node.view, dir.node.ino, new_name);
		changes_note_attributes(dir.mount, dir.node.view, file.node.ino);
	}
	reply_entry(req, &dir, result, &attr);
}
