#include "lib/transfer/import.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/store/datasets.h"
#include "lib/transfer/import_parts.h"

#define MADE_MODE 0755 /* of a dataset, and of directories on the way to the target */

/* --- the target --- */

static int open_dataset(struct import *import, struct error *err)
{
	const struct import_options *options = import->options;
	int r = store_head(import->store, options->dataset, &import->view);

	if (r == -ENOENT) {
		r = dataset_create(import->store, options->dataset, MADE_MODE, options->transfer.uid, options->transfer.gid,
		                   options->level, err);
		if (r == 0 || r == -EEXIST)
			r = store_head(import->store, options->dataset, &import->view);
	}
	return r < 0 ? error_default(err, r, "dataset \"%s\"", options->dataset) : 0;
}

static int step_down(struct import *import, const char *name)
{
	struct create create = {.mode = S_IFDIR | MADE_MODE, .uid = import->options->transfer.uid, .gid = import->options->transfer.gid};
	struct attr attr;
	int r = view_create(import->view, import->root, name, &create, &attr, NULL);

	if (r == -EEXIST)
		r = view_lookup(import->view, import->root, name, &attr);
	else if (r == 0)
		store_entry_changed(import->store, view_number(import->view), import->root, name);
	if (r == 0 && !S_ISDIR(attr.mode))
		r = -ENOTDIR;
	if (r == 0)
		import->root = attr.ino;
	return r;
}

static int open_target(struct import *import, struct error *err)
{
	AUTO_FREE char *copy = xstrdup(import->options->path);
	char *rest = copy, *name;
	int r = open_dataset(import, err);

	import->root = ROOT_INO;
	while (r == 0 && (name = strsep(&rest, "/")) != NULL) {
		if (!*name)
			continue;
		r = import->root == ROOT_INO && strcmp(name, ".snapshots") == 0 ? -EINVAL : step_down(import, name);
		if (r < 0)
			error_set(err, r, "%s/%s: \"%s\": %s", import->options->dataset, import->options->path, name, strerror(-r));
	}
	return r;
}

/* --- the end --- */

static void set_directory_times(struct import *import)
{
	/* Last made, first done: what is inside comes before what is around it. */
	for (size_t i = import->dir_count; i-- > 0 && import->transfer.failure.code != -ENOSPC;) {
		const struct done_dir *dir = &import->dirs[i];
		struct setattr set = {.mask = SET_ATIME | SET_MTIME, .atime = dir->atime, .mtime = dir->mtime};
		struct attr attr;

		transfer_store_result(&import->transfer, "", "", view_setattr(import->view, dir->ino, &set, &attr));
		store_entry_changed(import->store, view_number(import->view), dir->ino, "");
	}
}

static void finish(struct import *import)
{
	int r;

	set_directory_times(import);
	transfer_tell(&import->transfer, "sync");
	r = store_sync(import->store);
	if (r < 0)
		transfer_fail(&import->transfer, r, "what was imported could not be brought to the disk: %s", strerror(-r));
}

static int is_store(struct import *import, const struct stat *st)
{
	struct stat store;

	return stat(store_path(import->store), &store) == 0 && store.st_dev == st->st_dev && store.st_ino == st->st_ino;
}

static int run(struct import *import, int fd, struct error *err)
{
	const char *source = import->options->source;
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return error_set(err, -errno, "%s: %s", source, strerror(errno));
	if (S_ISDIR(st.st_mode) && is_store(import, &st))
		return error_set(err, -EINVAL, "%s is the store itself", source);
	if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode) && !S_ISFIFO(st.st_mode) && !S_ISSOCK(st.st_mode))
		return error_set(err, -EINVAL, "%s is neither a directory nor an archive", source);
	if (!S_ISDIR(st.st_mode)) {
		r = import_archive_open(import, fd, err);
		if (r < 0)
			return r;
	}
	r = open_target(import, err);
	if (r < 0)
		return r;
	import->batch_bytes = MIN(16ULL << 20, bulk_budget(import->view) / 2 / transfer_workers());
	if (S_ISDIR(st.st_mode))
		import_tree(import, fd);
	else
		import_archive(import, fd);
	finish(import);
	return 0;
}

int import_run(struct store *store, const struct import_options *options, struct transfer_counts *ret_counts, struct error *err)
{
	struct import import = {.store = store, .options = options};
	int r = store_check_writable(store, err), failed;

	if (r < 0)
		return r;
	transfer_begin(&import.transfer, &options->transfer);
	pthread_mutex_init(&import.lock, NULL);
	r = run(&import, options->source_fd, err);
	if (import.view)
		store_view_put(store, import.view);
	archive_in_free(import.archive);
	free(import.dirs);
	pthread_mutex_destroy(&import.lock);
	failed = transfer_end(&import.transfer, ret_counts, r < 0 ? NULL : err);
	return r < 0 ? r : failed;
}

/* --- members --- */

void xattrs_add(struct xattrs *xattrs, const char *name, const void *value, size_t len)
{
	void *copy = xmalloc(len + 1);

	memcpy(copy, value, len);
	xattrs->items = xrealloc(xattrs->items, (xattrs->count + 1) * sizeof(*xattrs->items));
	xattrs->items[xattrs->count++] = (struct xattr_init){.name = xstrdup(name), .value = copy, .len = len};
}

void xattrs_clear(struct xattrs *xattrs)
{
	for (size_t i = 0; i < xattrs->count; i++) {
		free((char *)xattrs->items[i].name);
		free((void *)xattrs->items[i].value);
	}
	free(xattrs->items);
	*xattrs = (struct xattrs){0};
}

bool member_accept(struct import *import, struct member *member)
{
	struct transfer *transfer = &import->transfer;
	int r = name_check(member->name);

	if (r < 0) {
		transfer_problem(transfer, member->dir_path, member->name, r, "its name cannot be taken over");
		return false;
	}
	if (member->dir == ROOT_INO && strcmp(member->name, ".snapshots") == 0) {
		transfer_problem(transfer, member->dir_path, member->name, -EINVAL,
		                 "the name belongs to the dataset's snapshots");
		return false;
	}
	if ((S_ISCHR(member->mode) || S_ISBLK(member->mode)) && !impersonate_is_root(&transfer->caller)) {
		transfer_problem(transfer, member->dir_path, member->name, -EPERM, "only root imports device nodes");
		return false;
	}
	if (!impersonate_is_root(&transfer->caller)) {
		member->uid = transfer->options->uid;
		member->gid = transfer->options->gid;
	}
	return true;
}

static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool same_target(struct import *import, uint64_t ino, const char *target)
{
	AUTO_BUF there = BUF_INIT;

	return view_readlink(import->view, ino, &there) == 0 && strcmp((const char *)there.data, target) == 0;
}

bool member_is_there(struct import *import, const struct member *member)
{
	struct attr attr;

	if (!member->dir_existed || import->transfer.options->all)
		return false;
	if (view_lookup(import->view, member->dir, member->name, &attr) < 0)
		return false;
	if (attr.mode != member->mode || !same_time(attr.mtime, member->mtime) ||
	    (S_ISREG(attr.mode) && attr.size != member->size) ||
	    (S_ISLNK(attr.mode) && !same_target(import, attr.ino, member->target)))
		return false;
	atomic_fetch_add(&import->transfer.skipped, 1);
	atomic_fetch_add(&import->transfer.skipped_bytes, S_ISREG(attr.mode) ? attr.size : 0);
	return true;
}

int import_directory(struct import *import, const struct member *member, uint64_t *ret_ino, bool *ret_existed)
{
	struct create create = {.mode = member->mode, .uid = member->uid, .gid = member->gid, .xattrs = member->xattrs.items,
	                        .xattr_count = member->xattrs.count};
	struct attr attr;
	bool existed;
	int r = view_create(import->view, member->dir, member->name, &create, &attr, NULL);

	existed = r == -EEXIST;
	if (existed)
		r = view_lookup(import->view, member->dir, member->name, &attr);
	if (r == 0 && !S_ISDIR(attr.mode))
		r = -ENOTDIR;
	if (r < 0) {
		transfer_store_result(&import->transfer, member->dir_path, member->name, r);
		return r;
	}
	if (existed)
		import_directory_attributes(import, member, attr.ino);
	else
		store_entry_changed(import->store, view_number(import->view), member->dir, member->name);
	atomic_fetch_add(&import->transfer.directories, 1);
	*ret_ino = attr.ino;
	*ret_existed = existed;
	return 0;
}

void import_directory_attributes(struct import *import, const struct member *member, uint64_t ino)
{
	struct setattr set = {.mask = SET_MODE | SET_UID | SET_GID, .mode = member->mode, .uid = member->uid, .gid = member->gid};
	struct attr attr;
	int r = view_getattr(import->view, ino, &attr);

	if (r == 0 && (attr.mode != member->mode || attr.uid != member->uid || attr.gid != member->gid))
		r = view_setattr(import->view, ino, &set, &attr);
	for (size_t i = 0; i < member->xattrs.count && r == 0; i++) {
		const struct xattr_init *xattr = &member->xattrs.items[i];
		r = view_xattr_set(import->view, ino, xattr->name, xattr->value, xattr->len, 0);
	}
	store_entry_changed(import->store, view_number(import->view), ino, "");
	transfer_store_result(&import->transfer, member->dir_path, member->name, r);
}

void import_directory_done(struct import *import, uint64_t ino, struct timespec atime, struct timespec mtime)
{
	pthread_mutex_lock(&import->lock);
	if (import->dir_count == import->dir_cap) {
		import->dir_cap = MAX(2 * import->dir_cap, 64);
		import->dirs = xrealloc(import->dirs, import->dir_cap * sizeof(*import->dirs));
	}
	import->dirs[import->dir_count++] = (struct done_dir){.ino = ino, .atime = atime, .mtime = mtime};
	pthread_mutex_unlock(&import->lock);
}

void import_link(struct import *import, const struct member *member, uint64_t from_dir, const char *from_name)
{
	struct attr attr;
	int r = view_lookup(import->view, from_dir, from_name, &attr);

	if (r == 0)
		r = view_link_over(import->view, attr.ino, member->dir, member->name);
	if (r == 0) {
		store_entry_changed(import->store, view_number(import->view), member->dir, member->name);
		atomic_fetch_add(&import->transfer.links, 1);
	} else if (r == -ENOENT) {
		transfer_problem(&import->transfer, member->dir_path, member->name, r, "the file that it is a hard link of is missing");
	} else {
		transfer_store_result(&import->transfer, member->dir_path, member->name, r);
	}
}
