/*
 * A directory as a source. One thread walks it, makes the directories and hands out lists of names; the others read the files.
 *
 *   walk --queue of lists--> copy, several threads --batches, streams--> the view
 *
 * Directories are entered with the descriptor of the one above (never by path), and what is found is opened without following links, so
 * nothing outside is read, whoever changes the tree meanwhile.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <uthash.h>

#include "lib/base/queue.h"
#include "lib/transfer/import_parts.h"

#define LIST_NAMES 128
#define QUEUE_LISTS 64
#define WORKERS_MAX 16

/* A directory of the source, open while something of it is still to be read. */
struct source_dir {
	atomic_uint refs;
	int fd;
	dev_t dev;
	char *path; /* relative, for messages */
	uint64_t ino; /* where it goes */
	bool existed;
	struct timespec atime, mtime;
};

struct found {
	char *name;
	uint64_t ino;
	uint8_t type;
};

struct list {
	struct source_dir *dir;
	struct found items[LIST_NAMES];
	size_t count;
};

/* A file with several names: which one came first, or has one. */
struct first_name {
	struct {
		uint64_t dev, ino;
	} key;
	uint64_t dir;
	char *name;
	UT_hash_handle hh;
};

struct later_name {
	char *dir_path, *name;
	uint64_t dir;
	const struct first_name *first;
	struct later_name *next;
};

struct tree_import {
	struct import *import;
	struct source_dir *root;
	struct queue *queue;
	struct stat store; /* its directory, which is not imported into itself */

	pthread_mutex_t lock; /* guards the names */
	struct first_name *firsts;
	struct later_name *laters;
};

static struct source_dir *dir_new(int fd, dev_t dev, char *path)
{
	struct source_dir *dir = xcalloc(1, sizeof(*dir));

	*dir = (struct source_dir){.fd = fd, .dev = dev, .path = path};
	atomic_init(&dir->refs, 1);
	return dir;
}

static struct source_dir *dir_ref(struct source_dir *dir)
{
	atomic_fetch_add(&dir->refs, 1);
	return dir;
}

static void dir_put(struct source_dir *dir)
{
	if (atomic_fetch_sub(&dir->refs, 1) > 1)
		return;
	close(dir->fd);
	free(dir->path);
	free(dir);
}

/* --- copying: workers --- */

struct copy {
	struct tree_import *tree;
	struct batch *batch;
	uint8_t *piece; /* for big files; made when first needed */
};

static struct member member_of(const struct source_dir *dir, const char *name, const struct stat *st)
{
	return (struct member){.dir_path = dir->path, .name = name, .dir = dir->ino, .dir_existed = dir->existed, .mode = st->st_mode,
	                       .uid = st->st_uid, .gid = st->st_gid, .rdev = st->st_rdev, .size = (uint64_t)st->st_size,
	                       .atime = st->st_atim, .mtime = st->st_mtim};
}

static void told_changed(struct copy *copy, const struct member *member)
{
	transfer_problem(&copy->tree->import->transfer, member->dir_path, member->name, -EAGAIN, "it changed while it was read");
}

static bool is_changed(int fd, const struct member *member)
{
	struct stat st;

	return fstat(fd, &st) < 0 || (uint64_t)st.st_size != member->size || st.st_mtim.tv_sec != member->mtime.tv_sec ||
	       st.st_mtim.tv_nsec != member->mtime.tv_nsec;
}

static void copy_small(struct copy *copy, struct member *member, int fd)
{
	uint8_t *room = batch_room(copy->batch, member->size);
	ssize_t got;

	if (!room)
		return;
	got = source_read(fd, room, member->size, 0);
	if (got < 0) {
		transfer_problem(&copy->tree->import->transfer, member->dir_path, member->name, (int)got, NULL);
		return;
	}
	if ((uint64_t)got != member->size || is_changed(fd, member)) {
		told_changed(copy, member);
		return;
	}
	batch_add(copy->batch, member, (size_t)got);
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

		transfer_store_result(transfer, "", "", got == -ENOSPC || got == -ESTALE || got == -EROFS ? (int)got : 0);
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
	batch_flush(copy->batch);
	if (stream_begin(import, member, &inode) < 0)
		return;
	if (!copy->piece)
		copy->piece = xmalloc(IMPORT_PIECE);
	r = copy_content(copy, inode, fd, member->size, has_holes);
	if (r == 0 && is_changed(fd, member))
		r = -EAGAIN;
	if (r == -EAGAIN)
		told_changed(copy, member);
	else if (r < 0 && !transfer_stopped(&import->transfer))
		transfer_problem(&import->transfer, member->dir_path, member->name, r, NULL);
	stream_end(import, member, inode, r);
}

/* Whether the file came with another name already; if not, this is the first. */
static bool is_later_name(struct copy *copy, struct source_dir *dir, const char *name, const struct stat *st)
{
	struct tree_import *tree = copy->tree;
	struct first_name *first = NULL, key = {.key = {.dev = st->st_dev, .ino = st->st_ino}};
	struct later_name *later;

	pthread_mutex_lock(&tree->lock);
	HASH_FIND(hh, tree->firsts, &key.key, sizeof(key.key), first);
	if (first) {
		later = xcalloc(1, sizeof(*later));
		*later = (struct later_name){.dir_path = xstrdup(dir->path), .name = xstrdup(name), .dir = dir->ino, .first = first,
		                             .next = tree->laters};
		tree->laters = later;
	} else {
		struct first_name *fresh = xcalloc(1, sizeof(*fresh));
		fresh->key = key.key;
		fresh->dir = dir->ino;
		fresh->name = xstrdup(name);
		HASH_ADD(hh, tree->firsts, key, sizeof(fresh->key), fresh);
	}
	pthread_mutex_unlock(&tree->lock);
	return first != NULL;
}

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

static void copy_regular(struct copy *copy, struct source_dir *dir, const char *name)
{
	struct import *import = copy->tree->import;
	AUTO_CLOSE int fd = open_file(copy, dir, name);
	struct member member;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		transfer_problem(&import->transfer, dir->path, name, fd < 0 ? fd : -errno, NULL);
		return;
	}
	member = member_of(dir, name, &st);
	if (!S_ISREG(st.st_mode)) {
		told_changed(copy, &member);
		return;
	}
	if (!member_accept(import, &member) || (st.st_nlink > 1 && is_later_name(copy, dir, name, &st)) ||
	    member_is_there(import, &member))
		return;
	source_xattrs(NULL, fd, &member.xattrs);
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
static void copy_other(struct copy *copy, struct source_dir *dir, const char *name, const struct stat *st)
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
	source_xattrs(path, -1, &member.xattrs);
	impersonate_end(caller);
	member.target = S_ISLNK(st->st_mode) ? target : NULL;
	if (r < 0)
		transfer_problem(&import->transfer, dir->path, name, r, NULL);
	else if (!member_is_there(import, &member) && batch_room(copy->batch, 0))
		batch_add(copy->batch, &member, 0);
	xattrs_clear(&member.xattrs);
}

static void copy_one(struct copy *copy, struct source_dir *dir, const struct found *found)
{
	const struct impersonate *caller = &copy->tree->import->transfer.caller;
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
		transfer_problem(&copy->tree->import->transfer, dir->path, found->name, r, NULL);
	else
		copy_other(copy, dir, found->name, &st);
}

static void list_free(struct list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i].name);
	dir_put(list->dir);
	free(list);
}

static void copy_main(void *arg)
{
	struct copy copy = {.tree = arg, .batch = batch_new(((struct tree_import *)arg)->import)};
	struct list *list;

	while ((list = queue_pop(copy.tree->queue))) {
		for (size_t i = 0; i < list->count && !transfer_stopped(&copy.tree->import->transfer); i++)
			copy_one(&copy, list->dir, &list->items[i]);
		list_free(list);
	}
	batch_free(copy.batch);
	free(copy.piece);
}

/* --- walking --- */

static void walk(struct tree_import *tree, struct source_dir *dir);

static int by_ino(const void *left, const void *right)
{
	const struct found *a = left, *b = right;

	return a->ino < b->ino ? -1 : a->ino > b->ino;
}

struct listing {
	struct found *items;
	size_t count, cap;
};

static uint8_t type_of(struct tree_import *tree, const struct source_dir *dir, const struct dirent *entry)
{
	struct stat st;
	int r;

	if (entry->d_type != DT_UNKNOWN)
		return entry->d_type;
	impersonate_begin(&tree->import->transfer.caller);
	r = fstatat(dir->fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW);
	impersonate_end(&tree->import->transfer.caller);
	return r < 0 ? DT_UNKNOWN : (uint8_t)IFTODT(st.st_mode);
}

static int read_directory(struct tree_import *tree, const struct source_dir *dir, struct listing *listing)
{
	int fd = fcntl(dir->fd, F_DUPFD_CLOEXEC, 3), r;
	DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;

	if (!stream) {
		r = -errno;
		if (fd >= 0)
			close(fd);
		return r;
	}
	for (errno = 0; (entry = readdir(stream)); errno = 0) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (listing->count == listing->cap) {
			listing->cap = MAX(2 * listing->cap, 64);
			listing->items = xrealloc(listing->items, listing->cap * sizeof(*listing->items));
		}
		listing->items[listing->count++] =
			(struct found){.name = xstrdup(entry->d_name), .ino = entry->d_ino, .type = type_of(tree, dir, entry)};
	}
	r = -errno;
	closedir(stream);
	return r;
}

/* Opens a directory for reading and looks at it; -errno. */
static int enter(struct tree_import *tree, const struct source_dir *parent, const char *name, struct stat *ret_st)
{
	const struct impersonate *caller = &tree->import->transfer.caller;
	struct statfs fs;
	int fd, r = 0;

	impersonate_begin(caller);
	fd = openat(parent->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, ret_st) < 0)
		r = -errno;
	impersonate_end(caller);
	if (r == 0 && ret_st->st_dev == tree->store.st_dev && ret_st->st_ino == tree->store.st_ino)
		r = -ELOOP;
	/* It may be a mount of this very store: reading it would not end. */
	if (r == 0 && ret_st->st_dev != parent->dev && fstatfs(fd, &fs) == 0 && fs.f_type == FUSE_SUPER_MAGIC)
		r = -EXDEV;
	if (r < 0 && fd >= 0)
		close(fd);
	return r < 0 ? r : fd;
}

static const char *why_not_entered(int code)
{
	if (code == -ELOOP)
		return "it is the store itself";
	return code == -EXDEV ? "a FUSE filesystem is mounted there: import it by itself" : NULL;
}

static void walk_into(struct tree_import *tree, struct source_dir *parent, const char *name)
{
	struct import *import = tree->import;
	struct member member;
	struct source_dir *dir;
	struct stat st;
	int fd = enter(tree, parent, name, &st);

	if (fd < 0) {
		transfer_problem(&import->transfer, parent->path, name, fd, why_not_entered(fd));
		return;
	}
	member = member_of(parent, name, &st);
	source_xattrs(NULL, fd, &member.xattrs);
	dir = dir_new(fd, st.st_dev, xasprintf("%s%s%s", parent->path, parent->path[0] ? "/" : "", name));
	if (member_accept(import, &member) && import_directory(import, &member, &dir->ino, &dir->existed) == 0) {
		import_directory_done(import, dir->ino, st.st_atim, st.st_mtim);
		walk(tree, dir);
	}
	xattrs_clear(&member.xattrs);
	dir_put(dir);
}

/* A few names may be of big files: while one is cut and hashed, another is written. */
static size_t names_of_a_list(const struct listing *listing)
{
	return MAX(1, MIN(LIST_NAMES, listing->count / (transfer_workers() / 2)));
}

static void hand_out(struct tree_import *tree, struct source_dir *dir, struct listing *listing)
{
	const size_t most = names_of_a_list(listing);
	struct list *list = NULL;

	for (size_t i = 0; i < listing->count && !transfer_stopped(&tree->import->transfer); i++) {
		struct found *found = &listing->items[i];

		if (found->type == DT_DIR)
			continue;
		if (!list) {
			list = xcalloc(1, sizeof(*list));
			list->dir = dir_ref(dir);
		}
		list->items[list->count++] = *found;
		found->name = NULL;
		if (list->count == most)
			queue_push(tree->queue, steal_ptr(list));
	}
	if (list)
		queue_push(tree->queue, list);
}

static void walk(struct tree_import *tree, struct source_dir *dir)
{
	struct listing listing = {0};
	int r = read_directory(tree, dir, &listing);

	if (r < 0)
		transfer_problem(&tree->import->transfer, dir->path, "", r, NULL);
	/* The order of inodes is that in which a disk likes to be read. */
	if (listing.count > 1)
		qsort(listing.items, listing.count, sizeof(*listing.items), by_ino);
	hand_out(tree, dir, &listing);
	for (size_t i = 0; i < listing.count; i++) {
		if (listing.items[i].name && !transfer_stopped(&tree->import->transfer))
			walk_into(tree, dir, listing.items[i].name);
		free(listing.items[i].name);
	}
	free(listing.items);
}

static void walk_main(void *arg)
{
	struct tree_import *tree = arg;

	walk(tree, tree->root);
	queue_close(tree->queue);
}

/* --- how much there is, for the progress --- */

static void count_main(void *arg)
{
	struct tree_import *tree = arg;
	struct transfer *transfer = &tree->import->transfer;

	impersonate_begin(&transfer->caller);
	source_count(transfer, tree->root->fd, ".");
	impersonate_end(&transfer->caller);
}

/* --- the whole --- */

static void link_later_names(struct tree_import *tree)
{
	while (tree->laters) {
		struct later_name *later = tree->laters;
		struct member member = {.dir_path = later->dir_path, .name = later->name, .dir = later->dir};

		tree->laters = later->next;
		if (!transfer_stopped(&tree->import->transfer))
			import_link(tree->import, &member, later->first->dir, later->first->name);
		free(later->dir_path);
		free(later->name);
		free(later);
	}
}

static void forget_first_names(struct tree_import *tree)
{
	struct first_name *first, *next;

	HASH_ITER(hh, tree->firsts, first, next) {
		HASH_DEL(tree->firsts, first);
		free(first->name);
		free(first);
	}
}

/* The target itself becomes what the source's directory is. */
static struct source_dir *take_root(struct import *import, int fd)
{
	struct source_dir *root;
	struct member member;
	struct stat st;
	int own = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	if (own < 0 || fstat(own, &st) < 0) {
		transfer_fail(&import->transfer, -errno, "%s: %s", import->options->source, strerror(errno));
		if (own >= 0)
			close(own);
		return NULL;
	}
	root = dir_new(own, st.st_dev, xstrdup(""));
	root->ino = import->root;
	root->existed = true;
	member = member_of(root, "", &st);
	if (!impersonate_is_root(&import->transfer.caller)) {
		member.uid = import->transfer.options->uid;
		member.gid = import->transfer.options->gid;
	}
	source_xattrs(NULL, own, &member.xattrs);
	import_directory_attributes(import, &member, import->root);
	import_directory_done(import, import->root, st.st_atim, st.st_mtim);
	xattrs_clear(&member.xattrs);
	return root;
}

void import_tree(struct import *import, int fd)
{
	struct tree_import tree = {.import = import, .queue = queue_new(QUEUE_LISTS)};
	transfer_fn functions[WORKERS_MAX + 2] = {walk_main};
	size_t count = 1;

	pthread_mutex_init(&tree.lock, NULL);
	(void)!stat(store_path(import->store), &tree.store);
	tree.root = take_root(import, fd);
	if (tree.root) {
		for (unsigned i = 0; i < MIN(transfer_workers(), WORKERS_MAX); i++)
			functions[count++] = copy_main;
		if (import->transfer.options->count)
			functions[count++] = count_main;
		transfer_run(&import->transfer, functions, count, &tree);
		link_later_names(&tree);
		dir_put(tree.root);
	}
	forget_first_names(&tree);
	queue_free(tree.queue);
	pthread_mutex_destroy(&tree.lock);
}
