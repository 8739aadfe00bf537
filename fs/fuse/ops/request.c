#include "fs/fuse/ops/request.h"

#include <errno.h>
#include <string.h>

#include "lib/format/key.h"
#include "lib/store/datasets.h"
#include "lib/store/snapshots.h"

#define BLOCK_SIZE 65536 /* what stdio and others then write at once */

int target_open(fuse_req_t req, fuse_ino_t id, struct target *ret_target)
{
	struct mount *mount = request_mount(req);

	*ret_target = (struct target){.mount = mount, .node = node_decode(id, &mount->gate.root)};
	if (ret_target->node.kind == NODE_DATASETS)
		return 0;
	if (node_is_missing(ret_target->node))
		return -EIO;
	/* from a handle that is kept elsewhere: the kernel is told of changes by one id only */
	if (node_encode(ret_target->node, &mount->gate.root) != id)
		return -ESTALE;
	return store_view_by_number(mount->group->store, ret_target->node.view, &ret_target->view);
}

int target_open_writable(fuse_req_t req, fuse_ino_t id, struct target *ret_target)
{
	int result = target_open(req, id, ret_target);

	if (result)
		return result;
	if (ret_target->mount->read_only || (ret_target->view && (view_read_only(ret_target->view) || view_refuses(ret_target->view))))
		return -EROFS;
	return ret_target->node.kind == NODE_FILE ? 0 : -EPERM;
}

int target_open_name(fuse_req_t req, fuse_ino_t dir, const char *name, struct target *ret_target)
{
	int result = target_open_writable(req, dir, ret_target);

	if (result)
		return result;
	return target_has_snapshots(ret_target) && !strcmp(name, SNAPSHOTS_NAME) ? -EPERM : 0;
}

void target_close(struct target *target)
{
	if (target->view)
		store_view_put(target->mount->group->store, target->view);
	target->view = NULL;
}

bool target_has_snapshots(const struct target *target)
{
	return target->node.kind == NODE_FILE && target->node.ino == ROOT_INO && target->mount->options.snapdir != SNAPDIR_OFF &&
	       !view_read_only(target->view);
}

double target_timeout(const struct target *target)
{
	if (target->node.kind != NODE_FILE)
		return TIMEOUT_LIST;
	return view_read_only(target->view) ? TIMEOUT_SNAPSHOT : TIMEOUT_HEAD;
}

/* After a rollback the names at the root of a head stand for other nodes, and an older kernel cannot be told at once. */
double target_name_timeout(const struct target *dir)
{
	const bool is_head_root = dir->node.kind == NODE_FILE && dir->node.ino == ROOT_INO && !view_read_only(dir->view);

	return is_head_root && !session_has_epoch(mount_session(dir->mount)) ? TIMEOUT_LIST : target_timeout(dir);
}

void target_stat(const struct target *target, const struct attr *attr, struct stat *ret_stat)
{
	*ret_stat = (struct stat){
		.st_ino = node_number(view_number(target->view), attr->ino, false),
		.st_mode = attr->mode,
		.st_nlink = attr->nlink,
		.st_uid = attr->uid,
		.st_gid = attr->gid,
		.st_rdev = attr->rdev,
		.st_size = (off_t)attr->size,
		.st_blksize = BLOCK_SIZE,
		.st_blocks = (blkcnt_t)((attr->allocated + 511) / 512),
		.st_atim = attr->atime,
		.st_mtim = attr->mtime,
		.st_ctim = attr->ctime,
	};
	/* who counts meets ".snapshots", too */
	if (attr->ino == ROOT_INO && target->mount->options.snapdir == SNAPDIR_VISIBLE && !view_read_only(target->view))
		ret_stat->st_nlink++;
	/* A snapshot's directory in ".snapshots" shows when it was taken. */
	if (attr->ino == ROOT_INO && view_read_only(target->view) && !target->mount->options.snapshot)
		(void)!snapshot_taken(target->mount->group->store, view_number(target->view), &ret_stat->st_mtim);
}

void target_entry(const struct target *target, const struct attr *attr, struct fuse_entry_param *ret_entry)
{
	const struct node node = {.kind = NODE_FILE, .view = view_number(target->view), .ino = attr->ino};

	*ret_entry = (struct fuse_entry_param){
		.ino = node_encode(node, &target->mount->gate.root),
		.attr_timeout = target_timeout(target),
		.entry_timeout = target_name_timeout(target),
	};
	target_stat(target, attr, &ret_entry->attr);
}

bool request_is_outsider(fuse_req_t req, const struct attr *attr)
{
	AUTO_FREE gid_t *groups = NULL;
	int count;

	if (!S_ISREG(attr->mode) || (attr->mode & (S_ISGID | S_IXGRP)) != S_ISGID)
		return false;
	if (fuse_req_ctx(req)->uid == 0 || fuse_req_ctx(req)->gid == attr->gid)
		return false;
	count = fuse_req_getgroups(req, 0, NULL);
	if (count > 0) {
		groups = xcalloc((size_t)count, sizeof(*groups));
		count = MIN(fuse_req_getgroups(req, count, groups), count);
	}
	for (int i = 0; i < count; i++) {
		if (groups[i] == attr->gid)
			return false;
	}
	return true;
}

void reply_entry(fuse_req_t req, const struct target *target, int result, const struct attr *attr)
{
	struct fuse_entry_param entry;

	if (result) {
		reply_result(req, result);
		return;
	}
	target_entry(target, attr, &entry);
	fuse_reply_entry(req, &entry);
}

/* Programs know EIO for what is damaged. */
void reply_result(fuse_req_t req, int result)
{
	if (result == -EBADMSG)
		result = -EIO;
	fuse_reply_err(req, result < 0 ? -result : 0);
}

void reply_buffer(fuse_req_t req, struct session *session, void *buffer, ssize_t got)
{
	if (got < 0)
		reply_result(req, (int)got);
	else
		fuse_reply_buf(req, buffer, (size_t)got);
	if (buffer)
		session_buffer_put(session, buffer);
}
