#include "fs/fuse/ops/handle.h"

#include <errno.h>
#include <fcntl.h>

#include "fs/fuse/ops/ops.h"
#include "lib/base/buf.h"

struct handle *handle_of(const struct mount *mount, const struct fuse_file_info *fi)
{
	return fi ? (struct handle *)opens_get(&mount->opens, fi->fh) : NULL;
}

static void handle_free(struct mount *mount, struct handle *handle)
{
	if (handle->writable)
		writers_close(&mount->gate.writers, handle->node);
	inode_close(handle->inode);
	store_view_put(mount->group->store, handle->view);
	atomic_fetch_sub(&mount->open_files, 1);
	free(handle);
}

static void handle_close(struct mount *mount, struct opened *opened)
{
	handle_free(mount, (struct handle *)opened);
}

struct handle *handle_new(struct target *target, struct inode *inode)
{
	struct mount *mount = target->mount;
	struct handle *handle = xcalloc(1, sizeof(*handle));
	const struct node node = {.kind = NODE_FILE, .view = target->node.view, .ino = inode_ino(inode)};

	handle->opened.close = handle_close;
	handle->inode = inode;
	handle->view = steal_ptr(target->view);
	handle->node = node_encode(node, &mount->gate.root);
	atomic_init(&handle->generation, atomic_load(&mount->group->generation));
	atomic_fetch_add(&mount->open_files, 1);
	return handle;
}

static void be_writable(struct mount *mount, struct handle *handle)
{
	handle->writable = true;
	writers_open(&mount->gate.writers, handle->node);
}

int handle_publish(struct mount *mount, struct handle *handle, struct fuse_file_info *fi)
{
	struct open_what what = {.node = handle->node, .request = session_request()->number};
	int result;

	if ((fi->flags & O_ACCMODE) != O_RDONLY) {
		be_writable(mount, handle);
		what.flags = KEPT_OPEN_WRITABLE;
	}
	result = opens_add(&mount->opens, &handle->opened, &what);
	if (result) {
		handle_free(mount, handle);
		return result;
	}
	fi->fh = handle->opened.number;
	fi->keep_cache = 1;
	return 0;
}

void handle_withdraw(struct mount *mount, struct handle *handle)
{
	opens_remove(&mount->opens, handle->opened.number);
	handle_free(mount, handle);
}

void handle_withdraw_lost(struct mount *mount)
{
	struct handle *handle = NULL;

	if (session_request()->again)
		handle = (struct handle *)opens_of_request(&mount->opens, session_request()->number);
	if (handle)
		handle_withdraw(mount, handle);
}

struct opened *files_resume(struct mount *mount, const struct kept_open *kept)
{
	struct target target = {.mount = mount, .node = node_decode(kept->node, &mount->gate.root)};
	struct handle *handle;
	struct inode *inode;

	if (store_view_by_number(mount->group->store, target.node.view, &target.view))
		return NULL;
	if (inode_open_again(target.view, target.node.ino, &inode)) {
		target_close(&target);
		return NULL;
	}
	handle = handle_new(&target, inode);
	if (kept->flags & KEPT_OPEN_WRITABLE) {
		be_writable(mount, handle);
		/* the kernel may have pages that the daemon before knew of */
		writers_note_pages(&mount->gate.writers, handle->node);
	}
	return &handle->opened;
}

/* After a rollback what was open before is stale. */
static int handle_check(struct mount *mount, struct handle *handle)
{
	const uint64_t generation = atomic_load(&mount->group->generation);
	struct view *view;
	int result;

	if (atomic_load_explicit(&handle->generation, memory_order_relaxed) == generation)
		return 0;
	result = store_view_by_number(mount->group->store, view_number(handle->view), &view);
	if (result)
		return result;
	store_view_put(mount->group->store, view);
	atomic_store(&handle->generation, generation);
	return 0;
}

void borrowed_close(struct borrowed *borrowed)
{
	if (borrowed->own)
		handle_free(borrowed->mount, borrowed->handle);
}

int handle_borrow(fuse_req_t req, fuse_ino_t id, const struct fuse_file_info *fi, struct borrowed *ret_borrowed)
{
	struct handle *handle = handle_of(request_mount(req), fi);
	AUTO_TARGET target = {0};
	struct inode *inode;
	int result;

	*ret_borrowed = (struct borrowed){.mount = request_mount(req), .handle = handle};
	if (handle)
		return handle_check(ret_borrowed->mount, handle);
	result = target_open(req, id, &target);
	if (!result)
		result = target.node.kind == NODE_FILE ? inode_open(target.view, target.node.ino, &inode) : -EISDIR;
	if (result)
		return result;
	ret_borrowed->handle = handle_new(&target, inode);
	ret_borrowed->own = true;
	/* open, and could not be opened again by this daemon when it came */
	if (fi && opens_flags(&ret_borrowed->mount->opens, fi->fh) & KEPT_OPEN_WRITABLE)
		be_writable(ret_borrowed->mount, ret_borrowed->handle);
	return 0;
}
