#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <string.h>

#include "fs/fuse/notify/changes.h"
#include "fs/fuse/ops/handle.h"
#include "fs/fuse/ops/newborn.h"
#include "fs/fuse/ops/ops.h"
#include "lib/base/buf.h"
#include "lib/base/escape.h"

#define COPY_MAX (1ULL << 30) /* the reply has 32 bits */
#define CAPABILITY "security.capability"
#define SECTOR 4096U /* a direct read ends at such a border */

static int empty_file(fuse_req_t req, struct target *target, bool kill_priv)
{
	struct setattr change = {.mask = SET_SIZE | (kill_priv ? SET_KILL_PRIV : 0)};
	struct attr attr;
	int result = kill_priv ? view_getattr_removed(target->view, target->node.ino, &attr) : 0;

	if (result)
		return result;
	if (kill_priv && request_is_outsider(req, &attr))
		change.mask |= SET_OUTSIDER;
	result = view_setattr(target->view, target->node.ino, &change, &attr);
	changes_note(target->mount, target->node.view, target->node.ino);
	return result;
}

static int open_checked(fuse_req_t req, fuse_ino_t id, const struct fuse_file_info *fi, struct target *target)
{
	const bool writable = (fi->flags & O_ACCMODE) != O_RDONLY;
	int result = writable || (fi->flags & O_TRUNC) ? target_open_writable(req, id, target) : target_open(req, id, target);

	if (!result && target->node.kind != NODE_FILE)
		result = -EISDIR;
	if (!result && (fi->flags & O_TRUNC))
		result = empty_file(req, target, fi->flags & SESSION_OPEN_KILL_PRIV);
	return result;
}

void op_open(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *fi)
{
	struct mount *mount = request_mount(req);
	AUTO_TARGET target = {0};
	struct handle *handle;
	struct inode *inode;
	int result;

	if (mount->read_only) {
		reply_result(req, (fi->flags & O_ACCMODE) == O_RDONLY ? -ENOSYS : -EROFS);
		return;
	}
	handle_withdraw_lost(mount);
	result = open_checked(req, id, fi, &target);
	if (!result)
		result = inode_open(target.view, target.node.ino, &inode);
	if (!result) {
		handle = handle_new(&target, inode);
		result = handle_publish(mount, handle, fi);
	}
	if (result)
		reply_result(req, result);
	else if (fuse_reply_open(req, fi))
		handle_withdraw(mount, handle);
}

/* The file is there since the daemon before this one made it. Without a name it is not found again; it goes with the next start, as an orphan. */
static int open_made(const struct target *dir, const char *name, struct attr *ret_attr, struct inode **ret_inode)
{
	int result = view_lookup(dir->view, dir->node.ino, name, ret_attr);

	return result ? result : inode_open(dir->view, ret_attr->ino, ret_inode);
}

void op_create(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	struct mount *mount = request_mount(req);
	const bool unnamed = !strcmp(name, SESSION_TMPFILE_NAME);
	AUTO_NEWBORN newborn = {0};
	AUTO_TARGET target;
	struct fuse_entry_param entry;
	struct handle *handle;
	struct inode *inode;
	struct attr attr;
	int result = target_open_name(req, dir, name, &target);

	handle_withdraw_lost(mount);
	if (!result)
		result = newborn_init(req, &target, (mode & 07777) | S_IFREG, &newborn);
	if (!result && session_request()->done && !unnamed)
		result = open_made(&target, name, &attr, &inode);
	else if (!result)
		result = view_create(target.view, target.node.ino, unnamed ? NULL : name, &newborn.create, &attr, &inode);
	/*
	 * The kernel remembers that there is nothing, and was not told yet. Told that this is stale it looks the name up and opens what is there:
	 * it has to check who may, and follows links.
	 */
	if (result == -EEXIST && !(fi->flags & O_EXCL))
		result = -ESTALE;
	if (result) {
		reply_result(req, result);
		return;
	}
	if (!unnamed)
		changes_note_name(mount, target.node.view, target.node.ino, name);
	target_entry(&target, &attr, &entry);
	handle = handle_new(&target, inode);
	atomic_init(&handle->capabilities, atomic_load(&mount->capabilities));
	result = handle_publish(mount, handle, fi);
	if (result)
		reply_result(req, result);
	else if (fuse_reply_create(req, &entry, fi))
		handle_withdraw(mount, handle);
}

void op_release(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *fi)
{
	struct mount *mount = request_mount(req);
	struct handle *handle = handle_of(mount, fi);

	if (handle)
		handle_withdraw(mount, handle);
	else if (fi)
		opens_remove(&mount->opens, fi->fh);
	reply_result(req, 0);
}

/*
 * How much of a read that fails can be read before it does. Only who reads past the pages is told: of pages, a short answer means the end of
 * the file, and the kernel fills the rest with zeros.
 */
static ssize_t read_part(struct inode *inode, uint64_t offset, size_t size, void *buffer)
{
	size_t good = 0, bad = (size + SECTOR - 1) / SECTOR;

	while (bad - good > 1) {
		const size_t middle = good + (bad - good) / 2;

		if (inode_read(inode, offset, middle * SECTOR, buffer) < 0)
			bad = middle;
		else
			good = middle;
	}
	return good ? inode_read(inode, offset, good * SECTOR, buffer) : -EIO;
}

void op_read(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset, struct fuse_file_info *fi)
{
	struct session *session = mount_session(request_mount(req));
	AUTO_BORROWED borrowed;
	void *buffer = NULL;
	ssize_t got = handle_borrow(req, id, fi, &borrowed);

	if (!got && size > SESSION_TRANSFER_MAX)
		got = -EINVAL;
	if (!got) {
		/* a read without an owner of locks is for pages */
		if (fi && !fi->lock_owner)
			writers_note_pages(&borrowed.mount->gate.writers, borrowed.handle->node);
		buffer = session_buffer_get(session);
		got = buffer ? inode_read(borrowed.handle->inode, (uint64_t)offset, size, buffer) : -ENOMEM;
		if (got == -EIO && fi && fi->lock_owner)
			got = read_part(borrowed.handle->inode, (uint64_t)offset, size, buffer);
	}
	if (offset == 0 && got > 0 && (size_t)got < size)
		habit_read(&borrowed.mount->habit, id);
	reply_buffer(req, session, buffer, got);
}

/*
 * File capabilities fall with the first write, whoever writes. Asking the store each time would cost a lookup per
 * write, so the handle remembers that there is none, until somebody sets some in this mount.
 */
static int drop_capability(struct mount *mount, struct handle *handle)
{
	const uint64_t now = atomic_load(&mount->capabilities);
	int result;

	if (atomic_load_explicit(&handle->capabilities, memory_order_relaxed) == now)
		return 0;
	result = view_xattr_remove(handle->view, inode_ino(handle->inode), CAPABILITY);
	if (result && result != -ENODATA)
		return result;
	atomic_store(&handle->capabilities, now);
	return 0;
}

/* A direct write that is done, but must not be answered yet. */
struct drop_job {
	fuse_req_t req;
	struct mount *mount;
	struct writers_drop drop;
	uint64_t node, offset;
	size_t written;
};

static void drop_run(void *arg)
{
	struct drop_job *job = arg;
	const bool all = job->drop.what == WRITERS_DROP_ALL;
	const int result = freeze_drop_pages(job->mount->group->freeze, &job->mount->gate, job->node, all ? 0 : job->offset,
	                                     all ? 0 : job->written);

	if (result) {
		reply_result(job->req, result);
	} else {
		writers_dropped(&job->mount->gate.writers, job->node, job->drop);
		fuse_reply_write(job->req, job->written);
	}
	free(job);
}

/* See writers.h. The pages are dropped by a thread that serves no request: this may wait for what another request holds. */
static void answer_direct_write(fuse_req_t req, struct mount *mount, uint64_t node, off_t offset, size_t size)
{
	const struct writers_drop drop = writers_end_direct(&mount->gate.writers, node);
	struct drop_job *job;

	if (drop.what == WRITERS_DROP_NOTHING || size == 0) {
		fuse_reply_write(req, size);
		return;
	}
	job = xcalloc(1, sizeof(*job));
	*job = (struct drop_job){.req = req, .mount = mount, .drop = drop, .node = node, .offset = (uint64_t)offset, .written = size};
	worker_add(mount->group->dropper, mount, session_request()->number, drop_run, job);
}

static unsigned killing_flags(fuse_req_t req, const struct handle *handle)
{
	struct attr attr;

	inode_attr(handle->inode, &attr);
	return WRITE_KILL_PRIV | (request_is_outsider(req, &attr) ? WRITE_OUTSIDER : 0);
}

/* The kernel forgets the page, and whoever stored into it may have gone. What a rollback has made stale is meant to be. */
static void note_lost(struct mount *mount, uint64_t id, int error)
{
	const struct node node = node_decode(id, &mount->gate.root);
	AUTO_FREE char *plain = NULL, *name = NULL;

	if (error == -ESTALE || !lost_note(&mount->gate.lost, id, error))
		return;
	plain = store_file_name(mount->group->store, node.view, node.ino);
	name = escape_text(plain, ESCAPE_BYTES | ESCAPE_CONTROL);
	group_log(mount->group, "error", "what was stored into a mapping of %s is lost: %s", name, error_text(error));
}

void op_write(fuse_req_t req, fuse_ino_t id, const char *data, size_t size, off_t offset, struct fuse_file_info *fi)
{
	AUTO_BORROWED borrowed;
	int result = handle_borrow(req, id, fi, &borrowed);
	/* session.c carries the raw write_flags in lock_owner. Only a direct write has an owner of locks. */
	const bool direct = fi->lock_owner & FUSE_WRITE_LOCKOWNER;
	struct mount *mount = borrowed.mount;
	unsigned flags = fi->lock_owner & FUSE_WRITE_CACHE ? WRITE_PAGES : 0;

	if (!result && (!borrowed.handle->writable || view_read_only(borrowed.handle->view)))
		result = -EROFS;
	if (!result)
		result = drop_capability(mount, borrowed.handle);
	/* pages that were stored before may still be written where nothing else is changed */
	if (result == -EROFS && flags && !view_is_locked(borrowed.handle->view))
		result = 0;
	if (!result) {
		if (direct)
			writers_begin_direct(&mount->gate.writers, borrowed.handle->node);
		else
			writers_note_pages(&mount->gate.writers, borrowed.handle->node);
		if (fi->lock_owner & FUSE_WRITE_KILL_SUIDGID)
			flags |= killing_flags(req, borrowed.handle);
		result = inode_write(borrowed.handle->inode, (uint64_t)offset, data, size, flags | WRITE_KEEP);
	}
	if (result) {
		if (fi->lock_owner & FUSE_WRITE_CACHE)
			note_lost(mount, id, result);
		reply_result(req, result);
		return;
	}
	changes_note(mount, view_number(borrowed.handle->view), inode_ino(borrowed.handle->inode));
	if (direct)
		answer_direct_write(req, mount, borrowed.handle->node, offset, size);
	else
		fuse_reply_write(req, size);
}

/*
 * The kernel has written its pages back before it asks, so a failure was told there; committing is for the background
 * or fsync. -ENOSYS: it asks no more, which saves one request of eleven for each file of `cp -a`. Not where there may
 * be pages to write and the kernel would then leave them at close.
 */
void op_flush(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *fi)
{
	const struct mount *mount = request_mount(req);

	reply_result(req, mount->read_only || session_writes_at_close(mount_session(mount)) ? -ENOSYS : 0);
}

void op_fsync(fuse_req_t req, fuse_ino_t id, int datasync, struct fuse_file_info *fi)
{
	AUTO_BORROWED borrowed;
	int result = handle_borrow(req, id, fi, &borrowed);

	if (!result && !view_read_only(borrowed.handle->view))
		result = inode_sync(borrowed.handle->inode);
	reply_result(req, result);
}

void op_fallocate(fuse_req_t req, fuse_ino_t id, int mode, off_t offset, off_t length, struct fuse_file_info *fi)
{
	AUTO_BORROWED borrowed;
	int result = handle_borrow(req, id, fi, &borrowed);

	if (!result && view_read_only(borrowed.handle->view))
		result = -EROFS;
	if (!result)
		result = drop_capability(borrowed.mount, borrowed.handle);
	if (!result)
		result = inode_allocate(borrowed.handle->inode, mode, (uint64_t)offset, (uint64_t)length);
	if (!result)
		changes_note(borrowed.mount, view_number(borrowed.handle->view), inode_ino(borrowed.handle->inode));
	reply_result(req, result);
}

static void seek(fuse_req_t req, struct handle *handle, off_t offset, int whence)
{
	uint64_t found;
	const int result = offset < 0 ? -ENXIO : inode_seek(handle->inode, (uint64_t)offset, whence, &found);

	if (result)
		reply_result(req, result);
	else
		fuse_reply_lseek(req, (off_t)found);
}

struct seek_job {
	fuse_req_t req;
	struct mount *mount;
	struct handle *handle; /* stays open: the caller waits in lseek(2) */
	off_t offset;
	int whence;
};

static void seek_run(void *arg)
{
	struct seek_job *job = arg;
	const int result = freeze_write_back_file(job->mount->group->freeze, &job->mount->gate, job->handle->node);

	if (result)
		reply_result(job->req, result);
	else
		seek(job->req, job->handle, job->offset, job->whence);
	free(job);
}

/* The kernel does not write its pages back before it asks for data and holes: where there may be some, we make it. */
void op_lseek(fuse_req_t req, fuse_ino_t id, off_t offset, int whence, struct fuse_file_info *fi)
{
	AUTO_BORROWED borrowed;
	struct seek_job *job;
	const int result = handle_borrow(req, id, fi, &borrowed);

	if (result) {
		reply_result(req, result);
	} else if (borrowed.own || !writers_has(&borrowed.mount->gate.writers, borrowed.handle->node)) {
		seek(req, borrowed.handle, offset, whence);
	} else {
		job = xcalloc(1, sizeof(*job));
		*job = (struct seek_job){req, borrowed.mount, borrowed.handle, offset, whence};
		worker_add(job->mount->group->worker, job->mount, session_request()->number, seek_run, job);
	}
}

void op_copy_file_range(fuse_req_t req, fuse_ino_t id_in, off_t offset_in, struct fuse_file_info *fi_in, fuse_ino_t id_out,
                        off_t offset_out, struct fuse_file_info *fi_out, size_t len, int flags)
{
	AUTO_BORROWED to = {0};
	AUTO_BORROWED from;
	ssize_t copied = handle_borrow(req, id_in, fi_in, &from);

	if (!copied)
		copied = handle_borrow(req, id_out, fi_out, &to);
	if (!copied && view_read_only(to.handle->view))
		copied = -EROFS;
	if (!copied)
		copied = drop_capability(to.mount, to.handle);
	if (!copied)
		copied = inode_copy(from.handle->inode, (uint64_t)offset_in, to.handle->inode, (uint64_t)offset_out,
		                    MIN(len, COPY_MAX));
	if (copied < 0) {
		reply_result(req, (int)copied);
		return;
	}
	changes_note(to.mount, view_number(to.handle->view), inode_ino(to.handle->inode));
	fuse_reply_write(req, (size_t)copied);
}
