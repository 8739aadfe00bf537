/*
 * Reading directories. The first read loads all names, in the order of the inode numbers: that is the order in which
 * files were made, so whoever reads them as listed reads the store in its own order. The cookie is the inode number
 * too (with a hash of the name, for hard links), so a listing goes on at the right place whatever came and went
 * meanwhile, even in another handle or after a restart.
 */
#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "fs/fuse/ops/ops.h"
#include "fs/fuse/ops/root.h"
#include "fs/fuse/ops/snapshots.h"
#include "lib/base/array.h"
#include "lib/base/buf.h"
#include "lib/base/clock.h"

#define COOKIE_SELF 1
#define COOKIE_PARENT 2
#define COOKIE_SNAPSHOTS 3
#define COOKIE_HASH_BITS 20

struct item {
	uint64_t cookie;
	uint64_t number; /* st_ino */
	uint64_t ino;    /* 0: not an inode of the view */
	uint32_t name;   /* offset in names */
	uint8_t type;    /* DT_* */
};

struct dir_handle {
	struct opened opened; /* first: dir_handle_close() */
	pthread_mutex_t lock; /* guards all below but view and inode */
	struct view *view;    /* NULL in the list of datasets */
	struct inode *inode;  /* keeps a directory that is removed meanwhile; NULL in virtual ones */
	bool loaded;
	struct timespec ctime; /* of the directory when it was loaded */
	ARRAY(struct item) list;  /* by cookie */
	struct buf names;
};

struct loading {
	struct dir_handle *handle;
	const struct target *dir;
};

static void add(struct dir_handle *handle, struct item item, const char *name)
{
	item.name = (uint32_t)handle->names.len;
	buf_add(&handle->names, name, strlen(name) + 1);
	array_add(&handle->list, item);
}

/* FNV-1a; tells apart the names of one inode in one directory. */
static uint64_t cookie_of(uint64_t ino, const char *name)
{
	uint32_t hash = 2166136261U;

	for (const uint8_t *at = (const uint8_t *)name; *at; at++)
		hash = (hash ^ *at) * 16777619U;
	return ino << COOKIE_HASH_BITS | (hash & ((1U << COOKIE_HASH_BITS) - 1));
}

static int add_file(void *arg, const char *name, uint64_t ino, uint8_t type)
{
	struct loading *loading = arg;
	const struct item item = {.cookie = cookie_of(ino, name),
	                          .number = node_number(loading->dir->node.view, ino, false),
	                          .ino = ino,
	                          .type = type};

	add(loading->handle, item, name);
	return 0;
}

static int add_virtual(void *arg, const char *name, uint64_t number, uint32_t view)
{
	struct loading *loading = arg;
	const struct item item = {.cookie = cookie_of(number + 1, name),
	                          .number = node_number(view, loading->dir->node.ino, false),
	                          .type = DT_DIR};

	add(loading->handle, item, name);
	return 0;
}

static int compare(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	return x->cookie < y->cookie ? -1 : x->cookie > y->cookie;
}

static void sort(struct dir_handle *handle)
{
	bool sorted = true;

	for (size_t i = 1; i < handle->list.count; i++)
		sorted &= handle->list.items[i - 1].cookie < handle->list.items[i].cookie;
	if (sorted)
		return;
	qsort(handle->list.items, handle->list.count, sizeof(*handle->list.items), compare);
	/* two names of one inode with one hash */
	for (size_t i = 1; i < handle->list.count; i++) {
		if (handle->list.items[i].cookie <= handle->list.items[i - 1].cookie)
			handle->list.items[i].cookie = handle->list.items[i - 1].cookie + 1;
	}
}

static void add_dots(struct loading *loading)
{
	const struct target *dir = loading->dir;
	const struct item self = {.cookie = COOKIE_SELF, .number = NODE_MOUNT_ROOT, .type = DT_DIR};
	struct fuse_entry_param entry;
	struct item item = self;

	if (dir->view)
		item.number = node_number(dir->node.view, dir->node.ino, dir->node.kind == NODE_SNAPSHOTS);
	add(loading->handle, item, ".");
	item.cookie = COOKIE_PARENT;
	if (dir->view && !names_lookup(dir, "..", &entry))
		item.number = entry.attr.st_ino;
	add(loading->handle, item, "..");
	if (target_has_snapshots(dir) && dir->mount->options.snapdir == SNAPDIR_VISIBLE) {
		item.cookie = COOKIE_SNAPSHOTS;
		item.number = node_number(dir->node.view, dir->node.ino, true);
		add(loading->handle, item, SNAPSHOTS_NAME);
	}
}

static int load(struct dir_handle *handle, const struct target *dir)
{
	struct loading loading = {.handle = handle, .dir = dir};
	struct attr attr;
	int result = 0;

	handle->loaded = false;
	array_reset(&handle->list);
	buf_reset(&handle->names);
	if (dir->node.kind == NODE_FILE) {
		/* before the list, so that what comes meanwhile makes the list look old */
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
		return result;
	sort(handle);
	handle->loaded = true;
	return 0;
}

/* Index of the first item whose cookie is larger. */
static size_t find(const struct dir_handle *handle, uint64_t cookie)
{
	size_t low = 0, high = handle->list.count;

	while (low < high) {
		const size_t middle = low + (high - low) / 2;

		if (handle->list.items[middle].cookie <= cookie)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct dir_handle *dir_handle_of(const struct mount *mount, const struct fuse_file_info *fi)
{
	return (struct dir_handle *)opens_get(&mount->opens, fi->fh);
}

static void dir_handle_free(struct mount *mount, struct dir_handle *handle)
{
	if (handle->inode)
		inode_close(handle->inode);
	if (handle->view) {
		group_count_open(mount->group, handle->view, -1);
		store_view_put(mount->group->store, handle->view);
	}
	array_clear(&handle->list);
	buf_clear(&handle->names);
	pthread_mutex_destroy(&handle->lock);
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

/* Takes over the inode and the view, which may be NULL. */
static struct dir_handle *dir_handle_new(struct mount *mount, struct inode *inode, struct view *view)
{
	struct dir_handle *handle = xcalloc(1, sizeof(*handle));

	handle->opened.close = dir_handle_close;
	pthread_mutex_init(&handle->lock, NULL);
	handle->inode = inode;
	handle->view = view;
	if (view)
		group_count_open(mount->group, view, 1);
	return handle;
}

struct opened *dirs_resume(struct mount *mount, const struct kept_open *kept)
{
	const struct node node = node_decode(kept->node, mount_root_view(mount));
	struct inode *inode = NULL;
	struct view *view = NULL;

	if (node.kind != NODE_DATASETS && store_view_by_number(mount->group->store, node.view, &view))
		view = NULL;
	if (view && node.kind == NODE_FILE && inode_open_again(view, node.ino, &inode))
		inode = NULL;
	return &dir_handle_new(mount, inode, view)->opened;
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
	const struct open_what what = {.node = id, .flags = KEPT_OPEN_DIRECTORY, .request = session_request()->number};
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
	snapshots_note_listing(req, &target);
	if (session_request()->again)
		handle = (struct dir_handle *)opens_of_request(&mount->opens, what.request);
	else
		handle = NULL;
	/* the answer of the daemon before this one was lost */
	if (handle)
		withdraw(mount, handle);
	handle = dir_handle_new(mount, inode, steal_ptr(target.view));
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

/* What a request that lists attributes works with. */
struct listing {
	bool is_described; /* names come with attributes */
	const struct target *dir;
	const struct dir_handle *handle;
	struct attr_scan *scan; /* NULL: the directory has changed since the names were loaded, or is virtual */
};

/*
 * What readdirplus says goes into the kernel's cache, so it must be true now, not when the list was loaded: unless
 * the directory is unchanged since, the name is looked up anew. -ENOENT when it is gone.
 */
static int entry_now(const struct listing *listing, const struct item *item, struct fuse_entry_param *ret_entry)
{
	const char *name = (const char *)listing->handle->names.data + item->name;
	struct attr attr;
	int result;

	/* the kernel takes only the number and the type of these */
	if (!listing->is_described || item->cookie <= COOKIE_PARENT) {
		*ret_entry = (struct fuse_entry_param){.attr = {.st_ino = item->number, .st_mode = DTTOIF(item->type)}};
		return 0;
	}
	if (!listing->scan || !item->ino)
		return names_lookup(listing->dir, name, ret_entry);
	result = attr_scan_get(listing->scan, item->ino, &attr);
	if (!result)
		target_entry(listing->dir, &attr, ret_entry);
	return result;
}

static bool is_unchanged(const struct target *dir, const struct dir_handle *handle)
{
	struct attr attr;

	return dir->node.kind == NODE_FILE && !view_getattr(dir->view, dir->node.ino, &attr) &&
	       attr.ctime.tv_sec == handle->ctime.tv_sec && attr.ctime.tv_nsec == handle->ctime.tv_nsec;
}

/* Where the names are those that were loaded, the inodes are read in the order in which they lie on disk. */
static struct listing listing_begin(fuse_req_t req, const struct target *dir, const struct dir_handle *handle, size_t from, bool plus)
{
	struct listing listing = {.is_described = plus, .dir = dir, .handle = handle};

	if (plus && dir->node.kind == NODE_FILE)
		listing.is_described = listers_list(&dir->mount->group->listers, fuse_req_ctx(req)->pid,
		                                    node_encode(dir->node, mount_root_view(dir->mount)), from == 0, clock_ms());
	if (listing.is_described && from < handle->list.count && is_unchanged(dir, handle))
		listing.scan = attr_scan_new(dir->view, handle->list.items[from].ino, handle->list.items[handle->list.count - 1].ino);
	return listing;
}

static size_t add_entry(fuse_req_t req, const struct dir_handle *handle, const struct item *item, char *out, size_t size,
                        const struct fuse_entry_param *entry)
{
	const char *name = (const char *)handle->names.data + item->name;
	const struct stat stat_buf = {.st_ino = item->number, .st_mode = DTTOIF(item->type)};

	return entry ? fuse_add_direntry_plus(req, out, size, name, entry, (off_t)item->cookie)
	             : fuse_add_direntry(req, out, size, name, &stat_buf, (off_t)item->cookie);
}

/* Fills the buffer from behind `offset`; returns its length or what went wrong. */
static ssize_t fill(fuse_req_t req, const struct target *dir, const struct dir_handle *handle, uint64_t offset, char *out,
                    size_t size, bool plus)
{
	const size_t from = find(handle, offset);
	struct listing listing = listing_begin(req, dir, handle, from, plus);
	size_t used = 0;
	int result = 0;

	for (size_t i = from; i < handle->list.count; i++) {
		const struct item *item = &handle->list.items[i];
		struct fuse_entry_param entry;
		size_t need;

		result = plus ? entry_now(&listing, item, &entry) : 0;
		if (result == -ENOENT || result == -ESTALE)
			continue;
		if (result)
			break;
		need = add_entry(req, handle, item, out + used, size - used, plus ? &entry : NULL);
		if (need > size - used)
			break;
		used += need;
	}
	attr_scan_free(listing.scan);
	return used || result == -ENOENT || result == -ESTALE ? (ssize_t)used : result;
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
	pthread_mutex_lock(&handle->lock);
	if (!got && (!handle->loaded || offset == 0))
		got = load(handle, &target);
	if (!got)
		got = fill(req, &target, handle, (uint64_t)offset, buffer, MIN(size, SESSION_TRANSFER_MAX), plus);
	pthread_mutex_unlock(&handle->lock);
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
