/*
 * Reading directories. An open directory holds a page of names, which a request that leads elsewhere replaces (group/name_page.h says in which
 * order names come, and what is held). It is filled by going through all names of the view.
 */
#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "fs/fuse/ops/ops.h"
#include "fs/fuse/ops/root.h"
#include "fs/fuse/ops/snapshots.h"
#include "lib/base/clock.h"
#include "lib/base/fault.h"

#define PLACE_SELF 1
#define PLACE_PARENT 2
#define PLACE_SNAPSHOTS 0

struct dir_handle {
	struct opened opened;  /* first: dir_handle_close() */
	struct view *view;     /* NULL in the list of datasets */
	struct inode *inode;   /* keeps a directory that is removed meanwhile; NULL in virtual ones */
	struct name_page page; /* its lock guards the next, too */
	struct timespec ctime; /* of the directory when the page was filled */
	uint32_t listed;       /* the number of the view in which the listing was begun, by the kernel perhaps; 0: of the list of datasets */
};

struct loading {
	struct dir_handle *handle;
	const struct target *dir;
};

static int add_file(void *arg, const char *name, uint64_t ino, uint8_t type)
{
	struct loading *loading = arg;
	const struct name_entry entry = {.place = ino, .kind = NAME_FILE, .type = type};

	name_page_add(&loading->handle->page, &entry, name);
	return 0;
}

static int add_virtual(void *arg, const char *name, uint64_t number, uint32_t view)
{
	struct loading *loading = arg;
	const struct name_entry entry = {.place = number + 1,
	                                 .number = node_number(view, loading->dir->node.ino, false),
	                                 .kind = NAME_VIRTUAL,
	                                 .type = DT_DIR};

	name_page_add(&loading->handle->page, &entry, name);
	return 0;
}

static void add_dots(struct loading *loading)
{
	const struct target *dir = loading->dir;
	struct name_page *page = &loading->handle->page;
	const struct name_entry self = {.place = PLACE_SELF, .number = NODE_MOUNT_ROOT, .kind = NAME_DOT, .type = DT_DIR};
	struct fuse_entry_param found;
	struct name_entry entry = self;

	if (dir->view)
		entry.number = node_number(dir->node.view, dir->node.ino, dir->node.kind == NODE_SNAPSHOTS);
	name_page_add(page, &entry, ".");
	entry.place = PLACE_PARENT;
	if (dir->view && !names_lookup(dir, "..", &found))
		entry.number = found.attr.st_ino;
	name_page_add(page, &entry, "..");
	if (target_has_snapshots(dir) && dir->mount->options.snapdir == SNAPDIR_VISIBLE) {
		entry.kind = NAME_VIRTUAL;
		entry.place = PLACE_SNAPSHOTS;
		entry.number = node_number(dir->node.view, dir->node.ino, true);
		name_page_add(page, &entry, SNAPSHOTS_NAME);
	}
}

/* Fills the page that was begun. */
static int load(struct dir_handle *handle, const struct target *dir)
{
	struct loading loading = {.handle = handle, .dir = dir};
	struct attr attr;
	int result = 0;

	handle->listed = dir->node.view;
	if (dir->node.kind == NODE_FILE) {
		/* before the names, so that what comes meanwhile makes the page look old */
		result = view_getattr(dir->view, dir->node.ino, &attr);
		if (result)
			return result;
		handle->ctime = attr.ctime;
	}
	add_dots(&loading);
	switch (dir->node.kind) {
	case NODE_FILE: result = view_list(dir->view, dir->node.ino, "", add_file, &loading); break;
	case NODE_SNAPSHOTS: result = snapshots_list(dir, add_virtual, &loading); break;
	case NODE_DATASETS: result = root_list(dir, add_virtual, &loading); break;
	}
	if (result)
		name_page_drop(&handle->page);
	else
		name_page_end(&handle->page);
	return result;
}

static struct dir_handle *dir_handle_of(const struct mount *mount, const struct fuse_file_info *fi)
{
	return (struct dir_handle *)opens_get(&mount->opens, fi->fh);
}

static void dir_handle_free(struct mount *mount, struct dir_handle *handle)
{
	if (handle->inode)
		inode_close(handle->inode);
	if (handle->view)
		store_view_put(mount->group->store, handle->view);
	name_page_clear(&handle->page);
	free(handle);
}

static void dir_handle_close(struct mount *mount, struct opened *opened)
{
	dir_handle_free(mount, (struct dir_handle *)opened);
}

/* Released, or opening it was interrupted. */
static void withdraw(struct mount *mount, struct dir_handle *handle)
{
	opens_remove(&mount->opens, handle->opened.number);
	dir_handle_free(mount, handle);
}

/* Takes over the inode and the view, which may be NULL. `listed`: where a listing goes on that does not begin here. */
static struct dir_handle *dir_handle_new(struct mount *mount, struct inode *inode, struct view *view, uint32_t listed)
{
	struct dir_handle *handle = xcalloc(1, sizeof(*handle));

	handle->opened.close = dir_handle_close;
	name_page_init(&handle->page, &mount->group->name_pages);
	handle->inode = inode;
	handle->view = view;
	handle->listed = listed;
	return handle;
}

struct opened *dirs_resume(struct mount *mount, const struct kept_open *kept)
{
	const struct node node = node_decode(kept->node, &mount->gate.root);
	struct inode *inode = NULL;
	struct view *view = NULL;

	if (node.kind != NODE_DATASETS && store_view_by_number(mount->group->store, node.view, &view))
		view = NULL;
	if (view && node.kind == NODE_FILE && inode_open_again(view, node.ino, &inode))
		inode = NULL;
	return &dir_handle_new(mount, inode, view, node.view)->opened;
}

/* NULL for a virtual directory, if it is there. */
static int open_inode(const struct target *target, struct inode **ret_inode)
{
	struct fuse_entry_param entry;
	struct inode *inode;
	struct attr attr;
	int result;

	if (target->node.kind != NODE_FILE) {
		result = names_lookup(target, ".", &entry);
		if (!result)
			*ret_inode = NULL;
		return result;
	}
	result = inode_open(target->view, target->node.ino, &inode);
	if (result)
		return result;
	inode_attr(inode, &attr);
	if (!S_ISDIR(attr.mode)) {
		inode_close(inode);
		return -ENOTDIR;
	}
	*ret_inode = inode;
	return 0;
}

void op_opendir(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *fi)
{
	struct mount *mount = request_mount(req);
	struct open_what what = {.node = id, .flags = KEPT_OPEN_DIRECTORY, .request = session_request()->number};
	struct dir_handle *handle;
	struct inode *inode;
	AUTO_TARGET target;
	int result = target_open(req, id, &target);

	if (!result)
		result = open_inode(&target, &inode);
	if (result) {
		reply_result(req, result);
		return;
	}
	/* a daemon after this one learns what was listed, whatever the root of a head is by then */
	if (target.node.kind == NODE_FILE)
		what.node = node_encode_in_view(target.node);
	snapshots_note_listing(req, &target);
	if (session_request()->again)
		handle = (struct dir_handle *)opens_of_request(&mount->opens, what.request);
	else
		handle = NULL;
	/* the answer of the daemon before this one was lost */
	if (handle)
		withdraw(mount, handle);
	handle = dir_handle_new(mount, inode, steal_ptr(target.view), target.node.view);
	result = opens_add(&mount->opens, &handle->opened, &what);
	if (result) {
		dir_handle_free(mount, handle);
		reply_result(req, result);
		return;
	}
	fi->fh = handle->opened.number;
	/* Lists of datasets and snapshots change without the kernel's knowing. */
	fi->keep_cache = target.node.kind == NODE_FILE;
	fi->cache_readdir = target.node.kind == NODE_FILE;
	if (fuse_reply_open(req, fi))
		withdraw(mount, handle);
}

void op_releasedir(fuse_req_t req, fuse_ino_t id, struct fuse_file_info *fi)
{
	struct mount *mount = request_mount(req);
	struct dir_handle *handle = dir_handle_of(mount, fi);

	if (handle)
		withdraw(mount, handle);
	reply_result(req, 0);
}

void op_fsyncdir(fuse_req_t req, fuse_ino_t id, int datasync, struct fuse_file_info *fi)
{
	struct inode *inode;
	AUTO_TARGET target;
	int result = target_open(req, id, &target);

	if (!result && target.node.kind == NODE_FILE && !view_read_only(target.view)) {
		result = inode_open(target.view, target.node.ino, &inode);
		if (!result) {
			result = inode_sync(inode);
			inode_close(inode);
		}
	}
	reply_result(req, result);
}

static uint64_t inode_number(const struct name_item *item)
{
	return item->kind == NAME_FILE ? item->number : 0;
}

/* st_ino */
static uint64_t number_of(const struct target *dir, const struct name_item *item)
{
	return item->kind == NAME_FILE ? node_number(dir->node.view, item->number, false) : item->number;
}

/* What a request that lists attributes works with. */
struct listing {
	bool is_described; /* names come with attributes */
	const struct target *dir;
	const struct dir_handle *handle;
	struct attr_scan *scan; /* NULL: the directory has changed since the page was filled, or is virtual */
};

/* The kernel takes only the number and the type of it, and asks for the rest. */
static struct fuse_entry_param not_described(const struct listing *listing, const struct name_item *item)
{
	return (struct fuse_entry_param){.attr = {.st_ino = number_of(listing->dir, item), .st_mode = DTTOIF(item->type)}};
}

/*
 * What readdirplus says goes into the kernel's cache, so it must be true now, not when the page was filled: unless
 * the directory is unchanged since, the name is looked up anew. -ENOENT when it is gone. A file or dataset that cannot be read hides no other.
 */
static int entry_now(const struct listing *listing, const struct name_item *item, struct fuse_entry_param *ret_entry)
{
	struct attr attr;
	int result;

	if (!listing->is_described || item->kind == NAME_DOT) {
		*ret_entry = not_described(listing, item);
		return 0;
	}
	result = listing->scan && item->kind == NAME_FILE ? attr_scan_get(listing->scan, item->number, &attr) : -ESTALE;
	if (!result)
		target_entry(listing->dir, &attr, ret_entry);
	/* where there is no such inode, the name is gone since, or it is damaged */
	if (result == -ESTALE)
		result = names_lookup(listing->dir, name_page_name(&listing->handle->page, item), ret_entry);
	if (result != -EIO && result != -EBADMSG)
		return result;
	*ret_entry = not_described(listing, item);
	return 0;
}

static bool is_unchanged(const struct target *dir, const struct dir_handle *handle)
{
	struct attr attr;

	return dir->node.kind == NODE_FILE && !view_getattr(dir->view, dir->node.ino, &attr) &&
	       attr.ctime.tv_sec == handle->ctime.tv_sec && attr.ctime.tv_nsec == handle->ctime.tv_nsec;
}

/* Where the names are those of the page, the inodes are read in the order in which they lie on disk. */
static struct listing listing_begin(fuse_req_t req, const struct target *dir, const struct dir_handle *handle, uint64_t offset, bool plus)
{
	struct listing listing = {.is_described = plus, .dir = dir, .handle = handle};
	const struct name_page *page = &handle->page;
	const size_t from = name_page_find(page, offset);

	if (plus && dir->node.kind == NODE_FILE)
		listing.is_described = listers_list(&dir->mount->group->listers, fuse_req_ctx(req)->pid,
		                                    node_encode(dir->node, &dir->mount->gate.root), offset == 0 && page->part == 0,
		                                    clock_ms());
	if (listing.is_described && from < page->list.count && is_unchanged(dir, handle))
		listing.scan = attr_scan_new(dir->view, inode_number(&page->list.items[from]), inode_number(array_last(&page->list)));
	return listing;
}

static size_t add_entry(fuse_req_t req, const struct listing *listing, const struct name_item *item, char *out, size_t size,
                        const struct fuse_entry_param *entry)
{
	const char *name = name_page_name(&listing->handle->page, item);
	const struct stat stat_buf = {.st_ino = number_of(listing->dir, item), .st_mode = DTTOIF(item->type)};

	return entry ? fuse_add_direntry_plus(req, out, size, name, entry, (off_t)item->cookie)
	             : fuse_add_direntry(req, out, size, name, &stat_buf, (off_t)item->cookie);
}

/* Fills the buffer from behind `offset`, as far as the page goes; returns its length or what went wrong. */
static ssize_t fill(fuse_req_t req, const struct target *dir, const struct dir_handle *handle, uint64_t offset, char *out,
                    size_t size, bool plus)
{
	const struct name_page *page = &handle->page;
	struct listing listing = listing_begin(req, dir, handle, offset, plus);
	size_t used = 0;
	int result = 0;

	for (size_t i = name_page_find(page, offset); i < page->list.count; i++) {
		const struct name_item *item = &page->list.items[i];
		struct fuse_entry_param entry;
		size_t need;

		result = plus ? entry_now(&listing, item, &entry) : 0;
		if (result == -ENOENT || result == -ESTALE)
			continue;
		if (result)
			break;
		need = add_entry(req, &listing, item, out + used, size - used, plus ? &entry : NULL);
		if (need > size - used) {
			result = -EINVAL; /* if there is not even room for one: no end */
			break;
		}
		used += need;
	}
	attr_scan_free(listing.scan);
	return used || result == -ENOENT || result == -ESTALE ? (ssize_t)used : result;
}

/* The same from whatever page it is, and from the next part when nothing is left in one. */
static ssize_t read_names(fuse_req_t req, const struct target *dir, struct dir_handle *handle, uint64_t offset, char *out,
                          size_t size, bool plus)
{
	ssize_t got = 0;

	/*
	 * The root of a head is the new head's after a rollback: who has begun to list the old one does not go on with a mixture. What the kernel
	 * remembered he has not even asked for.
	 */
	if (offset != 0 && dir->node.kind == NODE_FILE && handle->listed != dir->node.view)
		return -ESTALE;
	if (offset == 0 || !name_page_has(&handle->page, offset)) {
		name_page_begin(&handle->page, offset);
		got = load(handle, dir);
	}
	while (!got) {
		got = fill(req, dir, handle, offset, out, size, plus);
		if (got || !name_page_next(&handle->page))
			break;
		got = load(handle, dir);
		offset = 0;
	}
	return got;
}

static void read_dir(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset, struct fuse_file_info *fi, bool plus)
{
	struct dir_handle *handle = dir_handle_of(request_mount(req), fi);
	struct session *session = mount_session(request_mount(req));
	void *buffer = session_buffer_get(session);
	AUTO_TARGET target = {0};
	ssize_t got = handle ? target_open(req, id, &target) : -EBADF;

	if (!handle) {
		reply_buffer(req, session, buffer, got);
		return;
	}
	if (!got && !buffer)
		got = -ENOMEM;
	if (!got)
		got = fault_point("list-before-names");
	pthread_mutex_lock(&handle->page.lock);
	if (!got)
		got = read_names(req, &target, handle, (uint64_t)offset, buffer, MIN(size, SESSION_TRANSFER_MAX), plus);
	pthread_mutex_unlock(&handle->page.lock);
	reply_buffer(req, session, buffer, got);
}

void op_readdir(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset, struct fuse_file_info *fi)
{
	read_dir(req, id, size, offset, fi, false);
}

void op_readdirplus(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset, struct fuse_file_info *fi)
{
	read_dir(req, id, size, offset, fi, true);
}
