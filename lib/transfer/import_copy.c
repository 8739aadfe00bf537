/* The workers of import_tree: each takes lists of names, opens the files without following links, and brings them in. */
#include "lib/transfer/import_copy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <uthash.h>

#include "lib/base/pages.h"

struct source_key {
	uint64_t dev, ino;
};

/* A file with several names: which one came first, or has one. */
struct first_name {
	UT_hash_handle hh;
	struct source_key key;
	uint64_t dir;
	char *name;
	uint64_t there; /* the file of the dataset that was found to be the same; 0: none, it is to come in */
};

struct later_name {
	struct trail *trail;
	char *name;
	uint64_t dir;
	const struct first_name *first;
	struct later_name *next;
};

/* A file with several names in the dataset, and the file of the source that was found to be the same: no other one is. */
struct claim {
	UT_hash_handle hh;
	uint64_t ino;
	struct source_key source;
};

struct copy {
	struct tree_import *tree;
	struct batch *batch;
	struct room room;
	uint8_t *piece; /* for big files; made when first needed */
};

struct member member_of(const struct source_dir *dir, const char *name, const struct stat *st)
{
	return (struct member){.trail = dir->trail, .name = name, .dir = dir->ino, .dir_existed = dir->existed, .mode = st->st_mode,
	                       .uid = st->st_uid, .gid = st->st_gid, .rdev = st->st_rdev, .size = (uint64_t)st->st_size,
	                       .atime = st->st_atim, .mtime = st->st_mtim};
}

static void flush(struct copy *copy)
{
	batch_flush(copy->batch);
	room_reset(&copy->room);
}

/* --- content --- */

static void tell_changed(struct copy *copy, const struct member *member)
{
	member_problem(copy->tree->import, member, -EAGAIN, "it changed while it was read");
}

static bool is_changed(int fd, const struct member *member)
{
	struct stat st;

	return fstat(fd, &st) < 0 || (uint64_t)st.st_size != member->size || st.st_mtim.tv_sec != member->mtime.tv_sec ||
	       st.st_mtim.tv_nsec != member->mtime.tv_nsec;
}

static void copy_small(struct copy *copy, struct member *member, int fd)
{
	uint8_t *data;
	ssize_t got;

	if (batch_is_full(copy->batch) || !room_has(&copy->room, member->size))
		flush(copy);
	data = room_take(&copy->room, member->size);
	if (!data)
		return;
	got = source_read(fd, data, member->size, 0);
	if (got < 0)
		member_problem(copy->tree->import, member, (int)got, NULL);
	else if ((uint64_t)got != member->size || is_changed(fd, member))
		tell_changed(copy, member);
	else
		batch_add(copy->batch, member, data, (size_t)got);
}

/* Reads and writes up to `len` bytes; those of a whole block are not copied. Returns how many, or -errno. */
static ssize_t copy_part(struct copy *copy, struct inode *inode, int fd, uint64_t offset, size_t len)
{
	void *block;
	ssize_t got;
	int r;

	if (len < BULK_BLOCK) {
		got = source_read(fd, copy->piece, MIN(len, IMPORT_PIECE), (off_t)offset);
		r = got > 0 ? inode_write(inode, offset, copy->piece, (size_t)got, 0) : 0;
		return r < 0 ? r : got;
	}
	r = bulk_block_take(inode, &block);
	if (r < 0)
		return r;
	got = source_read(fd, block, BULK_BLOCK, (off_t)offset);
	if (got <= 0) {
		bulk_block_drop(inode, block);
		return got;
	}
	r = bulk_block_write(inode, offset, block, (size_t)got);
	return r < 0 ? r : got;
}

/* One stretch of data, [offset, end). */
static int copy_stretch(struct copy *copy, struct inode *inode, int fd, uint64_t offset, uint64_t end)
{
	struct transfer *transfer = &copy->tree->import->transfer;

	while (offset < end) {
		ssize_t got = copy_part(copy, inode, fd, offset, end - offset);

		transfer_store_result(transfer, "", "", got == -ENOSPC || got == -EDQUOT || got == -ESTALE || got == -EROFS ? (int)got : 0);
		if (got <= 0)
			return got < 0 ? (int)got : -EAGAIN;
		if (transfer_stopped(transfer))
			return -ECANCELED;
		offset += (uint64_t)got;
		atomic_fetch_add(&transfer->bytes, (uint64_t)got);
	}
	return 0;
}

/* Stretch by stretch, holes left out. */
static int copy_content(struct copy *copy, struct inode *inode, int fd, uint64_t size, bool has_holes)
{
	uint64_t at = 0;
	int r = 0;

	posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	while (r == 0 && at < size) {
		off_t data = has_holes ? lseek(fd, (off_t)at, SEEK_DATA) : (off_t)at;
		off_t hole = has_holes && data >= 0 ? lseek(fd, data, SEEK_HOLE) : (off_t)size;

		if (data < 0 && errno == ENXIO)
			break;
		if (data < 0 || hole < 0)
			return -errno;
		at = (uint64_t)MIN(hole, (off_t)size);
		r = copy_stretch(copy, inode, fd, (uint64_t)data, at);
	}
	return r;
}

static void copy_big(struct copy *copy, struct member *member, int fd, bool has_holes)
{
	struct import *import = copy->tree->import;
	struct inode *inode;
	int r;

	/* While this thread waits for room in the write buffer, it may not hold some itself. */
	flush(copy);
	if (!copy->piece)
		copy->piece = pages_alloc(IMPORT_PIECE);
	if (!copy->piece) {
		member_problem(import, member, -ENOMEM, NULL);
		return;
	}
	if (stream_begin(import, member, &inode) < 0)
		return;
	r = copy_content(copy, inode, fd, member->size, has_holes);
	if (r == 0 && is_changed(fd, member))
		r = -EAGAIN;
	if (r == -EAGAIN)
		tell_changed(copy, member);
	else if (r < 0 && !transfer_stopped(&import->transfer))
		member_problem(import, member, r, NULL);
	(void)stream_end(import, member, inode, r);
}

/* --- files with several names --- */

/* Whether the file came with another name already; if not, this is the first. */
static bool is_later_name(struct copy *copy, const struct source_dir *dir, const char *name, const struct stat *st)
{
	struct tree_import *tree = copy->tree;
	struct source_key key = {.dev = st->st_dev, .ino = st->st_ino};
	struct first_name *first = NULL;
	struct later_name *later;

	pthread_mutex_lock(&tree->lock);
	HASH_FIND(hh, tree->firsts, &key, sizeof(key), first);
	if (first) {
		later = xcalloc(1, sizeof(*later));
		*later = (struct later_name){.trail = trail_ref(dir->trail), .name = xstrdup(name), .dir = dir->ino, .first = first,
		                             .next = tree->laters};
		tree->laters = later;
	} else {
		struct first_name *fresh = xcalloc(1, sizeof(*fresh));
		fresh->key = key;
		fresh->dir = dir->ino;
		fresh->name = xstrdup(name);
		HASH_ADD(hh, tree->firsts, key, sizeof(fresh->key), fresh);
	}
	pthread_mutex_unlock(&tree->lock);
	return first != NULL;
}

static bool claim(struct tree_import *tree, uint64_t ino, const struct stat *st)
{
	struct source_key source = {.dev = st->st_dev, .ino = st->st_ino};
	struct claim *claim;
	bool is_ours;

	pthread_mutex_lock(&tree->lock);
	HASH_FIND(hh, tree->claims, &ino, sizeof(ino), claim);
	if (!claim) {
		claim = xcalloc(1, sizeof(*claim));
		claim->ino = ino;
		claim->source = source;
		HASH_ADD(hh, tree->claims, ino, sizeof(claim->ino), claim);
	}
	is_ours = claim->source.dev == source.dev && claim->source.ino == source.ino;
	pthread_mutex_unlock(&tree->lock);
	return is_ours;
}

static void note_there(struct tree_import *tree, const struct stat *st, uint64_t ino)
{
	struct source_key key = {.dev = st->st_dev, .ino = st->st_ino};
	struct first_name *first;

	pthread_mutex_lock(&tree->lock);
	HASH_FIND(hh, tree->firsts, &key, sizeof(key), first);
	if (first)
		first->there = ino;
	pthread_mutex_unlock(&tree->lock);
}

/* The same is there, and no other file of the source is the same file there. */
static bool is_there(struct copy *copy, const struct member *member, const struct stat *st)
{
	struct attr attr;

	if (!member_is_there(copy->tree->import, member, &attr) || (attr.nlink > 1 && !claim(copy->tree, attr.ino, st)))
		return false;
	if (st->st_nlink > 1)
		note_there(copy->tree, st, attr.ino);
	member_skipped(copy->tree->import, &attr);
	return true;
}

/* If the first name did not come in, what stands under it in the dataset is another file. */
static void copy_link(struct tree_import *tree, const struct later_name *later)
{
	struct member member = {.trail = later->trail, .name = later->name, .dir = later->dir};
	struct attr attr;
	int r = view_lookup(tree->import->view, later->first->dir, later->first->name, &attr);

	if (r == 0 && attr.ino < tree->import->first_new && attr.ino != later->first->there)
		r = -ENOENT;
	if (r == 0)
		import_link(tree->import, &member, attr.ino);
	else if (r == -ENOENT)
		member_problem(tree->import, &member, r, "the file that it is a hard link of is missing");
	else
		member_result(tree->import, &member, r);
}

void copy_links(struct tree_import *tree)
{
	struct first_name *first, *next_first;
	struct claim *claim, *next_claim;

	while (tree->laters) {
		struct later_name *later = tree->laters;

		tree->laters = later->next;
		if (!transfer_stopped(&tree->import->transfer))
			copy_link(tree, later);
		trail_put(later->trail);
		free(later->name);
		free(later);
	}
	HASH_ITER(hh, tree->firsts, first, next_first) {
		HASH_DEL(tree->firsts, first);
		free(first->name);
		free(first);
	}
	HASH_ITER(hh, tree->claims, claim, next_claim) {
		HASH_DEL(tree->claims, claim);
		free(claim);
	}
}

/* --- one name --- */

static int open_file(struct copy *copy, const struct source_dir *dir, const char *name)
{
	const struct impersonate *caller = &copy->tree->import->transfer.caller;
	const int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
	int fd;

	impersonate_begin(caller);
	fd = openat(dir->fd, name, flags | O_NOATIME);
	if (fd < 0 && errno == EPERM)
		fd = openat(dir->fd, name, flags);
	impersonate_end(caller);
	return fd < 0 ? -errno : fd;
}

static void copy_regular(struct copy *copy, const struct source_dir *dir, const char *name)
{
	struct import *import = copy->tree->import;
	AUTO_CLOSE int fd = open_file(copy, dir, name);
	struct member member = {.trail = dir->trail, .name = name};
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		member_problem(import, &member, fd < 0 ? fd : -errno, NULL);
		return;
	}
	member = member_of(dir, name, &st);
	if (!S_ISREG(st.st_mode)) {
		tell_changed(copy, &member);
		return;
	}
	if (!member_accept(import, &member) || (st.st_nlink > 1 && is_later_name(copy, dir, name, &st)) || is_there(copy, &member, &st))
		return;
	source_xattrs(import, &member, NULL, fd);
	bool has_holes = (uint64_t)st.st_blocks * 512 < member.size;
	if (member.size <= MIN(IMPORT_PIECE, import->batch_bytes) && !has_holes)
		copy_small(copy, &member, fd);
	else
		copy_big(copy, &member, fd, has_holes);
	xattrs_clear(&member.xattrs);
}

static int read_target(const struct source_dir *dir, const char *name, char target[SYMLINK_MAX + 2])
{
	ssize_t len = readlinkat(dir->fd, name, target, SYMLINK_MAX + 1);

	if (len < 0)
		return -errno;
	if (len > SYMLINK_MAX)
		return -ENAMETOOLONG;
	target[len] = '\0';
	return 0;
}

/* Symlinks, FIFOs, sockets, device nodes. */
static void copy_other(struct copy *copy, const struct source_dir *dir, const char *name, const struct stat *st)
{
	struct import *import = copy->tree->import;
	const struct impersonate *caller = &import->transfer.caller;
	AUTO_FREE char *path = xasprintf("/proc/self/fd/%d/%s", dir->fd, name);
	struct member member = member_of(dir, name, st);
	char target[SYMLINK_MAX + 2];
	int r = 0;

	if (!member_accept(import, &member) || (st->st_nlink > 1 && is_later_name(copy, dir, name, st)))
		return;
	impersonate_begin(caller);
	if (S_ISLNK(st->st_mode))
		r = read_target(dir, name, target);
	source_xattrs(import, &member, path, -1);
	impersonate_end(caller);
	member.target = S_ISLNK(st->st_mode) ? target : NULL;
	if (batch_is_full(copy->batch))
		flush(copy);
	if (r < 0)
		member_problem(import, &member, r, NULL);
	else if (!is_there(copy, &member, st))
		batch_add(copy->batch, &member, NULL, 0);
	xattrs_clear(&member.xattrs);
}

static void copy_one(struct copy *copy, const struct source_dir *dir, const struct found_name *found)
{
	const struct impersonate *caller = &copy->tree->import->transfer.caller;
	struct member member = {.trail = dir->trail, .name = found->name};
	struct stat st;
	int r;

	if (found->type == DT_REG) {
		copy_regular(copy, dir, found->name);
		return;
	}
	impersonate_begin(caller);
	r = fstatat(dir->fd, found->name, &st, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
	impersonate_end(caller);
	if (r < 0)
		member_problem(copy->tree->import, &member, r, NULL);
	else
		copy_other(copy, dir, found->name, &st);
}

void list_free(struct list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i].name);
	source_dir_put(list->dir);
	free(list);
}

void copy_main(void *tree)
{
	struct copy copy = {.tree = tree, .batch = batch_new(((struct tree_import *)tree)->import)};
	struct list *list;

	/* who has failed still takes what others put into the queue */
	const bool failed = room_init(&copy.room, copy.tree->import) < 0;
	while ((list = queue_pop(copy.tree->queue))) {
		for (size_t i = 0; i < list->count && !failed && !transfer_stopped(&copy.tree->import->transfer); i++)
			copy_one(&copy, list->dir, &list->items[i]);
		list_free(list);
	}
	flush(&copy);
	room_clear(&copy.room);
	batch_free(copy.batch);
	free(copy.piece);
}
