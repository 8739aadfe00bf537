#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>

#include "fs/fuse/notify/changes.h"
#include "fs/fuse/ops/ops.h"
#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/tree/records/quota.h"

void op_getattr(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *fi)
{
	struct fuse_entry_param entry;
	AUTO_TARGET target;
	struct attr attr;
	int result = target_open(req, id, &target);

	if (!result && target.node.kind == NODE_FILE) {
		result = view_getattr_removed(target.view, target.node.ino, &attr);
		if (!result)
			target_entry(&target, &attr, &entry);
	} else if (!result) {
		result = names_lookup(&target, ".", &entry);
	}
	if (result)
		reply_result(req, result);
	else
		fuse_reply_attr(req, &entry.attr, entry.attr_timeout);
}

static struct setattr change_of(const struct stat *attr, int to_set, mode_t type)
{
	struct setattr change = {.mode = attr->st_mode & 07777,
	                         .uid = attr->st_uid,
	                         .gid = attr->st_gid,
	                         .size = (uint64_t)attr->st_size,
	                         .atime = attr->st_atim,
	                         .mtime = attr->st_mtim};

	change.mask |= to_set & FUSE_SET_ATTR_MODE ? SET_MODE : 0;
	change.mask |= to_set & FUSE_SET_ATTR_UID ? SET_UID : 0;
	change.mask |= to_set & FUSE_SET_ATTR_GID ? SET_GID : 0;
	change.mask |= to_set & FUSE_SET_ATTR_SIZE ? SET_SIZE : 0;
	change.mask |= to_set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW) ? SET_ATIME : 0;
	change.mask |= to_set & (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW) ? SET_MTIME : 0;
	if (to_set & FUSE_SET_ATTR_ATIME_NOW)
		change.atime = clock_now();
	if (to_set & FUSE_SET_ATTR_MTIME_NOW)
		change.mtime = clock_now();
	/*
	 * With KILLPRIV_V2 a truncation says whether to, while a change of owner always does, unless the mode is set
	 * along with it. Where nothing else is to be done, as before fallocate(2) by an ordinary user or with
	 * chown(-1, -1), nothing is said at all.
	 */
	if ((to_set & FUSE_SET_ATTR_KILL_SUID) || !to_set)
		change.mask |= SET_KILL_PRIV;
	if ((to_set & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)) && !(to_set & FUSE_SET_ATTR_MODE) && !S_ISDIR(type))
		change.mask |= SET_KILL_PRIV;
	return change;
}

/*
 * Where the kernel says nothing but that privileges fall, it has checked nothing: it comes before fallocate(2) and its like by whoever has
 * the file open for writing, and from chown(-1, -1) by anybody, which only the owner may do to a file with set-id bits.
 */
static bool may_kill(fuse_req_t req, fuse_ino_t id, const struct target *target, const struct attr *now, unsigned mask)
{
	const uid_t caller = fuse_req_ctx(req)->uid;
	const bool falls = (now->mode & S_ISUID) || ((now->mode & S_ISGID) && ((now->mode & S_IXGRP) || (mask & SET_OUTSIDER)));

	return !falls || S_ISDIR(now->mode) || caller == 0 || caller == now->uid || writers_has(&target->mount->gate.writers, id);
}

void op_setattr(fuse_req_t req, fuse_ino_t id, struct stat *attr, int to_set, struct fuse_file_info *fi)
{
	struct setattr change;
	struct attr now;
	struct stat reply;
	AUTO_TARGET target;
	int result = target_open_writable(req, id, &target);

	if (!result)
		result = view_getattr_removed(target.view, target.node.ino, &now);
	if (!result) {
		change = change_of(attr, to_set, now.mode & S_IFMT);
		if ((change.mask & (SET_KILL_PRIV | SET_UID | SET_GID)) && request_is_outsider(req, &now))
			change.mask |= SET_OUTSIDER;
		if (!to_set && !may_kill(req, id, &target, &now, change.mask))
			result = -EPERM;
	}
	if (!result) {
		result = view_setattr(target.view, target.node.ino, &change, &now);
	}
	if (result) {
		reply_result(req, result);
		return;
	}
	changes_note(target.mount, target.node.view, target.node.ino);
	target_stat(&target, &now, &reply);
	fuse_reply_attr(req, &reply, target_timeout(&target));
}

void op_readlink(fuse_req_t req, fuse_ino_t id)
{
	AUTO_BUF text = BUF_INIT;
	AUTO_TARGET target;
	int result = target_open(req, id, &target);

	if (!result)
		result = target.node.kind == NODE_FILE ? view_readlink(target.view, target.node.ino, &text) : -EINVAL;
	if (result)
		reply_result(req, result);
	else
		fuse_reply_readlink(req, (const char *)text.data);
}

/* In a dataset with a quota the disk is as large as that. */
static void apply_quota(fuse_req_t req, fuse_ino_t id, struct statvfs *reply)
{
	uint64_t limit = 0, used = 0, left;
	AUTO_TARGET target;

	if (target_open(req, id, &target) || !target.view || quota_usage(target.view, &limit, &used) < 0 || limit == 0)
		return;
	left = limit - MIN(used, limit);
	reply->f_blocks = (fsblkcnt_t)(limit / reply->f_frsize);
	reply->f_bfree = (fsblkcnt_t)(left / reply->f_frsize);
	reply->f_bavail = MIN(reply->f_bavail, reply->f_bfree);
}

void op_statfs(fuse_req_t req, fuse_ino_t id)
{
	struct store *store = request_mount(req)->group->store;
	struct tree_usage usage;
	struct statvfs disk, reply;

	if (statvfs(store_path(store), &disk)) {
		reply_result(req, -errno);
		return;
	}
	tree_usage(store_tree(store), &usage);
	reply = (struct statvfs){
		.f_bsize = 4096,
		.f_frsize = 4096,
		.f_blocks = (fsblkcnt_t)((uint64_t)disk.f_blocks * disk.f_frsize / 4096),
		.f_bfree = usage.free_bytes / 4096,
		.f_bavail = usage.free_bytes / 4096,
		.f_files = disk.f_files,
		.f_ffree = disk.f_ffree,
		.f_favail = disk.f_favail,
		.f_namemax = NAME_LEN_MAX,
	};
	apply_quota(req, id, &reply);
	fuse_reply_statfs(req, &reply);
}
