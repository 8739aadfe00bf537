/* One thing that comes in: what of it may, whether it is there already; directories and links. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/transfer/import_parts.h"
#include "lib/tree/inodes/inode.h"
#include "lib/tree/records/extent.h"

void member_problem(struct import *import, const struct member *member, int code, const char *text)
{
	AUTO_FREE char *path = trail_text(member->trail, member->name);

	transfer_problem(&import->transfer, "", path, code, text);
}

void member_result(struct import *import, const struct member *member, int code)
{
	AUTO_FREE char *path = code < 0 ? trail_text(member->trail, member->name) : NULL;

	/* The dataset is still what it was: only the directory was removed by somebody. */
	if (code == -ESTALE && view_check_change(import->view) == 0)
		code = -ENOENT;
	if (code < 0)
		transfer_store_result(&import->transfer, "", path, code);
}

void import_changed(struct import *import, uint64_t dir, const char *name, uint64_t replaced)
{
	store_entry_changed(import->store, view_number(import->view), dir, name);
	/* It may have other names, and one link less. */
	if (replaced)
		store_entry_changed(import->store, view_number(import->view), replaced, "");
}

void member_own(struct import *import, struct member *member)
{
	if (impersonate_is_root(&import->transfer.caller))
		return;
	member->uid = import->transfer.options->uid;
	member->gid = import->transfer.options->gid;
}

bool member_accept(struct import *import, struct member *member)
{
	struct transfer *transfer = &import->transfer;
	int r = name_check(member->name);

	if (r < 0) {
		member_problem(import, member, r, "its name cannot be taken over");
		return false;
	}
	if (member->dir == ROOT_INO && strcmp(member->name, IMPORT_RESERVED) == 0) {
		member_problem(import, member, -EINVAL, IMPORT_RESERVED_TEXT);
		return false;
	}
	if ((S_ISCHR(member->mode) || S_ISBLK(member->mode)) && !impersonate_is_root(&transfer->caller)) {
		member_problem(import, member, -EPERM, "only root imports device nodes");
		return false;
	}
	member_own(import, member);
	return true;
}

/* --- what is there --- */

static bool is_same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool is_before(struct timespec a, struct timespec b)
{
	return a.tv_sec != b.tv_sec ? a.tv_sec < b.tv_sec : a.tv_nsec < b.tv_nsec;
}

static bool is_same_target(struct import *import, uint64_t ino, const char *target)
{
	AUTO_BUF there = BUF_INIT;

	return view_readlink(import->view, ino, &there) == 0 && strcmp((const char *)there.data, target) == 0;
}

static int is_damaged(void *arg, const struct extent *extent)
{
	return extent->record.chunk != CHUNK_NONE && chunks_known_damaged(arg, extent->record.chunk);
}

/* A file that is known to be damaged is not the same, whatever its size and time say: what comes in heals it. */
static bool is_whole(struct import *import, const struct attr *attr)
{
	struct chunks *chunks = store_chunks(import->store);

	return !S_ISREG(attr->mode) || !chunks_any_damage(chunks) || view_extents(import->view, attr->ino, is_damaged, chunks) == 0;
}

bool member_is_there(struct import *import, const struct member *member, struct attr *ret_attr)
{
	struct attr attr;

	if (!member->dir_existed || import->transfer.options->all)
		return false;
	if (view_lookup(import->view, member->dir, member->name, &attr) < 0)
		return false;
	/* What this import made or linked says nothing about what this member holds. */
	if (attr.ino >= import->first_new || !is_before(attr.ctime, import->began))
		return false;
	if (attr.mode != member->mode || attr.uid != member->uid || attr.gid != member->gid || !is_same_time(attr.mtime, member->mtime) ||
	    (S_ISREG(attr.mode) && attr.size != member->size) ||
	    ((S_ISCHR(attr.mode) || S_ISBLK(attr.mode)) && attr.rdev != member->rdev) || (S_ISLNK(attr.mode) && !is_same_target(import, attr.ino, member->target)) ||
	    !is_whole(import, &attr))
		return false;
	*ret_attr = attr;
	return true;
}

void member_skipped(struct import *import, const struct attr *attr)
{
	atomic_fetch_add(&import->transfer.skipped, 1);
	atomic_fetch_add(&import->transfer.skipped_bytes, S_ISREG(attr->mode) ? attr->size : 0);
}

/* --- directories --- */

int import_directory(struct import *import, const struct member *member, uint64_t *ret_ino)
{
	struct create create = {.mode = member->mode, .uid = member->uid, .gid = member->gid, .xattrs = member->xattrs.items,
	                        .xattr_count = member->xattrs.count};
	struct attr attr;
	int r = view_create(import->view, member->dir, member->name, &create, &attr, NULL);

	if (r == -EEXIST)
		return r;
	member_result(import, member, r);
	if (r < 0)
		return r;
	import_changed(import, member->dir, member->name, 0);
	atomic_fetch_add(&import->transfer.directories, 1);
	*ret_ino = attr.ino;
	return 0;
}

bool member_has_xattr(struct import *import, uint64_t ino, const struct xattr_init *xattr)
{
	AUTO_BUF value = BUF_INIT;

	return view_xattr_get(import->view, ino, xattr->name, &value) == 0 && value.len == xattr->len &&
	       (value.len == 0 || memcmp(value.data, xattr->value, value.len) == 0);
}

static bool names_xattr(const struct member *member, const char *name)
{
	for (size_t i = 0; i < member->xattrs.count; i++)
		if (strcmp(member->xattrs.items[i].name, name) == 0)
			return true;
	return false;
}

static int remove_other_xattrs(struct import *import, const struct member *member, uint64_t ino)
{
	AUTO_BUF names = BUF_INIT;
	int r = view_xattr_list(import->view, ino, &names);

	for (size_t at = 0; at < names.len && r == 0; at += strlen((char *)names.data + at) + 1)
		if (!names_xattr(member, (char *)names.data + at))
			r = view_xattr_remove(import->view, ino, (char *)names.data + at);
	return r;
}

void import_directory_attributes(struct import *import, const struct member *member, uint64_t ino)
{
	struct setattr set = {.mask = SET_MODE | SET_UID | SET_GID, .mode = member->mode, .uid = member->uid, .gid = member->gid};
	struct attr attr;
	int r = import->options->exact ? remove_other_xattrs(import, member, ino) : 0;

	if (r == 0)
		r = view_getattr(import->view, ino, &attr);
	if (r == 0 && (attr.mode != member->mode || attr.uid != member->uid || attr.gid != member->gid))
		r = view_setattr(import->view, ino, &set, &attr);
	for (size_t i = 0; i < member->xattrs.count && r == 0; i++) {
		const struct xattr_init *xattr = &member->xattrs.items[i];
		if (!member_has_xattr(import, ino, xattr))
			r = view_xattr_set(import->view, ino, xattr->name, xattr->value, xattr->len, 0);
	}
	import_changed(import, ino, "", 0);
	member_result(import, member, r);
}

void import_directory_done(struct import *import, uint64_t ino, const struct member *member)
{
	pthread_mutex_lock(&import->lock);
	array_add(&import->dirs, (struct done_dir){.ino = ino, .atime = member->atime, .mtime = member->mtime});
	pthread_mutex_unlock(&import->lock);
}

void import_set_directory_times(struct import *import)
{
	/* In their order: of a directory that was told twice, what was told last is right. */
	for (size_t i = 0; i < import->dirs.count && import->transfer.failure.code != -ENOSPC; i++) {
		const struct done_dir *dir = &import->dirs.items[i];
		struct setattr set = {.mask = SET_ATIME | SET_MTIME, .atime = dir->atime, .mtime = dir->mtime};
		struct attr attr;
		int r = view_setattr(import->view, dir->ino, &set, &attr);

		/* It was removed meanwhile. */
		if (r == -ESTALE)
			r = view_check_change(import->view);
		transfer_store_result(&import->transfer, "", "", r);
		import_changed(import, dir->ino, "", 0);
	}
}

int import_remove_directory(struct import *import, const struct member *member)
{
	int r = view_rmdir(import->view, member->dir, member->name);

	if (r == 0)
		import_changed(import, member->dir, member->name, 0);
	return r;
}

/* --- links --- */

int import_link_over(struct import *import, const struct member *member, uint64_t ino)
{
	uint64_t replaced = 0;
	int r = view_link_over(import->view, ino, member->dir, member->name, &replaced);

	if (r == -EISDIR && import->is_archive && import_remove_directory(import, member) == 0)
		r = view_link_over(import->view, ino, member->dir, member->name, &replaced);
	if (r == 0)
		import_changed(import, member->dir, member->name, replaced);
	return r;
}

void import_link(struct import *import, const struct member *member, uint64_t ino)
{
	int r = import_link_over(import, member, ino);

	member_result(import, member, r);
	if (r < 0)
		return;
	/* It has one link more. */
	import_changed(import, ino, "", 0);
	atomic_fetch_add(&import->transfer.links, 1);
}
