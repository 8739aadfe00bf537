/*
 * A directory as a target. One thread walks the view and makes the directories, the others write files into them.
 *
 * A directory gets its final mode and times when the last thing in it is done: whoever is still at work in it, or below it, holds a
 * reference. A file is written under a name of its own and renamed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <uthash.h>

#include "lib/base/queue.h"
#include "lib/transfer/export_parts.h"

#define LIST_NAMES 128
#define QUEUE_LISTS 64
#define WORKERS_MAX 16
#define TEMPORARY ".corpusfs-part-%llu"
#define TEMPORARY_MAX 48

struct target_dir {
	atomic_uint refs;
	struct target_dir *parent; /* referenced; NULL for the top */
	int fd;
	char *path; /* in the target, for messages and links */
	struct attr attr;
};

struct list {
	struct target_dir *dir;
	struct name items[LIST_NAMES];
	size_t count;
};

struct waiting_link {
	struct target_dir *dir;
	char *name;
	struct waiting_link *next;
};

/* A file with several names: the first is written, the others are links to it. */
struct linked {
	uint64_t ino;
	char *path; /* of the first name */
	bool is_done, failed;
	struct waiting_link *waiting;
	UT_hash_handle hh;
};

struct tree_export {
	struct export *export;
	struct target_dir *top;
	int top_fd; /* for links; not owned */
	struct queue *queue;

	pthread_mutex_t lock; /* guards the links */
	struct linked *links;
};

struct copy {
	struct tree_export *tree;
	uint8_t *piece;
};

/* --- what belongs to a file; under the caller's caller --- */

static int set_xattrs(int fd, const char *path, const struct extras *extras)
{
	for (size_t i = 0; i < extras->xattr_count; i++) {
		const struct archive_pair *xattr = &extras->xattrs[i];
		int r = fd >= 0 ? fsetxattr(fd, xattr->name, xattr->value, xattr->len, 0)
		                : lsetxattr(path, xattr->name, xattr->value, xattr->len, 0);

		if (r < 0)
			return -errno;
	}
	return 0;
}

/* A user may not give files away: then they are the user's, and lose what would be dangerous with another owner. */
static int set_owner(const struct export *export, int dir_fd, const char *name, const struct attr *attr, mode_t *mode)
{
	if (fchownat(dir_fd, name, attr->uid, attr->gid, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) == 0)
		return 0;
	if (impersonate_is_root(&export->transfer.caller))
		return -errno;
	if (errno == EPERM && (attr->uid != export->options->transfer.uid || attr->gid != export->options->transfer.gid))
		*mode &= ~(mode_t)(S_ISUID | S_ISGID);
	return 0;
}

static int set_attributes(const struct export *export, int fd, const struct attr *attr, const struct extras *extras)
{
	const struct timespec times[] = {attr->atime, attr->mtime};
	mode_t mode = attr->mode & 07777;
	int r = set_owner(export, fd, "", attr, &mode);

	if (r == 0 && fchmod(fd, mode) < 0)
		r = -errno;
	if (r == 0)
		r = set_xattrs(fd, NULL, extras);
	if (r == 0 && futimens(fd, times) < 0)
		r = -errno;
	return r;
}

/* --- directories --- */

static struct target_dir *dir_ref(struct target_dir *dir)
{
	atomic_fetch_add(&dir->refs, 1);
	return dir;
}

static void finish_dir(struct tree_export *tree, struct target_dir *dir)
{
	struct export *export = tree->export;
	struct extras extras = {0};
	int r = extras_load(export, &dir->attr, &extras);

	impersonate_begin(&export->transfer.caller);
	if (r == 0)
		r = set_attributes(export, dir->fd, &dir->attr, &extras);
	impersonate_end(&export->transfer.caller);
	if (r < 0)
		transfer_problem(&export->transfer, dir->path, "", r, NULL);
	extras_clear(&extras);
}

static void dir_put(struct tree_export *tree, struct target_dir *dir)
{
	while (dir && atomic_fetch_sub(&dir->refs, 1) == 1) {
		struct target_dir *parent = dir->parent;

		finish_dir(tree, dir);
		close(dir->fd);
		free(dir->path);
		free(dir);
		dir = parent;
	}
}

/* --- files --- */

struct writing {
	int fd;
};

static int write_piece(void *arg, const void *data, size_t len, uint64_t offset)
{
	const struct writing *writing = arg;
	size_t done = 0;

	while (done < len) {
		ssize_t written = pwrite(writing->fd, (const char *)data + done, len - done, (off_t)(offset + done));

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return -errno;
		done += (size_t)written;
	}
	return 0;
}

static int write_content(struct copy *copy, const struct attr *attr, const struct extras *extras, int fd)
{
	struct export *export = copy->tree->export;
	struct writing writing = {.fd = fd};
	struct inode *inode;
	int r = inode_open(export->view, attr->ino, &inode);

	if (r < 0)
		return r;
	if (extras->has_holes && ftruncate(fd, (off_t)attr->size) < 0)
		r = -errno;
	if (r == 0)
		r = content_read(export, inode, attr->size, extras, copy->piece, write_piece, &writing);
	inode_close(inode);
	return r;
}

static int make_regular(struct copy *copy, struct target_dir *dir, const char *temporary, const struct attr *attr,
			const struct extras *extras)
{
	struct export *export = copy->tree->export;
	const struct impersonate *caller = &export->transfer.caller;
	AUTO_CLOSE int fd = -1;
	int r;

	impersonate_begin(caller);
	fd = openat(dir->fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	r = fd < 0 ? -errno : 0;
	impersonate_end(caller);
	if (r == 0)
		r = write_content(copy, attr, extras, fd);
	impersonate_begin(caller);
	if (r == 0)
		r = set_attributes(export, fd, attr, extras);
	impersonate_end(caller);
	return r;
}

static int bind_socket(const struct target_dir *dir, const char *name)
{
	return mknodat(dir->fd, name, S_IFSOCK | 0600, 0) < 0 ? -errno : 0;
}

static int make_other(struct copy *copy, struct target_dir *dir, const char *temporary, const struct attr *attr,
		      const struct extras *extras)
{
	struct export *export = copy->tree->export;
	AUTO_FREE char *path = xasprintf("/proc/self/fd/%d/%s", dir->fd, temporary);
	const struct timespec times[] = {attr->atime, attr->mtime};
	mode_t mode = attr->mode & 07777;
	int r;

	impersonate_begin(&export->transfer.caller);
	if (S_ISLNK(attr->mode))
		r = symlinkat((const char *)extras->target.data, dir->fd, temporary) < 0 ? -errno : 0;
	else if (S_ISSOCK(attr->mode))
		r = bind_socket(dir, temporary);
	else
		r = mknodat(dir->fd, temporary, (attr->mode & S_IFMT) | 0600, attr->rdev) < 0 ? -errno : 0;
	if (r == 0)
		r = set_owner(export, dir->fd, temporary, attr, &mode);
	if (r == 0 && !S_ISLNK(attr->mode) && fchmodat(dir->fd, temporary, mode, 0) < 0)
		r = -errno;
	if (r == 0)
		r = set_xattrs(-1, path, extras);
	if (r == 0 && utimensat(dir->fd, temporary, times, AT_SYMLINK_NOFOLLOW) < 0)
		r = -errno;
	impersonate_end(&export->transfer.caller);
	return r;
}

/* Writes under a temporary name, then gives the name. */
static int make_file(struct copy *copy, struct target_dir *dir, const char *name, const struct attr *attr)
{
	struct export *export = copy->tree->export;
	char temporary[TEMPORARY_MAX];
	struct extras extras = {0};
	int r = extras_load(export, attr, &extras);

	snprintf(temporary, sizeof(temporary), TEMPORARY, (unsigned long long)attr->ino);
	if (r == 0 && S_ISREG(attr->mode))
		r = make_regular(copy, dir, temporary, attr, &extras);
	else if (r == 0)
		r = make_other(copy, dir, temporary, attr, &extras);
	impersonate_begin(&export->transfer.caller);
	if (r == 0 && renameat(dir->fd, temporary, dir->fd, name) < 0)
		r = -errno;
	if (r < 0 && r != -EEXIST)
		unlinkat(dir->fd, temporary, 0);
	impersonate_end(&export->transfer.caller);
	extras_clear(&extras);
	return r;
}

static void tell_result(struct copy *copy, const struct target_dir *dir, const char *name, int r)
{
	struct transfer *transfer = &copy->tree->export->transfer;

	if (r == -ENOSPC || r == -EDQUOT)
		transfer_fail(transfer, r, "no room is left for %s", copy->tree->export->options->target);
	else if (r == -EAGAIN)
		transfer_problem(transfer, dir->path, name, r, "it changed while it was read");
	else if (r < 0 && r != -ECANCELED)
		transfer_problem(transfer, dir->path, name, r, NULL);
	else if (r == 0)
		atomic_fetch_add(&transfer->files, 1);
}

/* --- links --- */

static void make_link(struct copy *copy, const struct linked *linked, struct target_dir *dir, const char *name)
{
	struct export *export = copy->tree->export;
	int r = -ENOENT;

	if (!linked->failed) {
		impersonate_begin(&export->transfer.caller);
		r = linkat(copy->tree->top_fd, linked->path, dir->fd, name, 0) < 0 ? -errno : 0;
		impersonate_end(&export->transfer.caller);
	}
	if (r == 0)
		atomic_fetch_add(&export->transfer.links, 1);
	else
		transfer_problem(&export->transfer, dir->path, name, r, linked->failed ? "the file that it is a hard link of is missing" : NULL);
}

/* The first name's copy is there, or not: those who waited are linked to it. */
static void end_first(struct copy *copy, struct linked *linked, int r)
{
	struct waiting_link *waiting;

	pthread_mutex_lock(&copy->tree->lock);
	linked->is_done = true;
	linked->failed = r < 0;
	waiting = steal_ptr(linked->waiting);
	pthread_mutex_unlock(&copy->tree->lock);
	while (waiting) {
		struct waiting_link *next = waiting->next;

		make_link(copy, linked, waiting->dir, waiting->name);
		dir_put(copy->tree, waiting->dir);
		free(waiting->name);
		free(waiting);
		waiting = next;
	}
}

/* *ret_first: this is the first name, to be written and then ended with end_first. */
static struct linked *find_linked(struct copy *copy, struct target_dir *dir, const char *name, uint64_t ino, bool *ret_first)
{
	struct tree_export *tree = copy->tree;
	struct linked *linked;

	pthread_mutex_lock(&tree->lock);
	HASH_FIND(hh, tree->links, &ino, sizeof(ino), linked);
	*ret_first = !linked;
	if (!linked) {
		linked = xcalloc(1, sizeof(*linked));
		linked->ino = ino;
		linked->path = xasprintf("%s%s%s", dir->path, dir->path[0] ? "/" : "", name);
		HASH_ADD(hh, tree->links, ino, sizeof(linked->ino), linked);
	} else if (!linked->is_done) {
		struct waiting_link *waiting = xcalloc(1, sizeof(*waiting));
		*waiting = (struct waiting_link){.dir = dir_ref(dir), .name = xstrdup(name), .next = linked->waiting};
		linked->waiting = waiting;
		linked = NULL;
	}
	pthread_mutex_unlock(&tree->lock);
	return linked;
}

static void copy_one(struct copy *copy, struct target_dir *dir, const struct name *name)
{
	struct export *export = copy->tree->export;
	struct linked *linked = NULL;
	bool first = true;
	struct attr attr;
	int r = view_getattr(export->view, name->ino, &attr);

	if (r == 0 && attr.nlink > 1) {
		linked = find_linked(copy, dir, name->text, attr.ino, &first);
		if (linked && !first)
			make_link(copy, linked, dir, name->text);
		if (!first)
			return;
	}
	if (r == 0)
		r = make_file(copy, dir, name->text, &attr);
	tell_result(copy, dir, name->text, r);
	if (linked)
		end_first(copy, linked, r);
}

static void copy_main(void *arg)
{
	struct copy copy = {.tree = arg, .piece = xmalloc(EXPORT_PIECE)};
	struct list *list;

	while ((list = queue_pop(copy.tree->queue))) {
		for (size_t i = 0; i < list->count; i++) {
			if (!transfer_stopped(&copy.tree->export->transfer))
				copy_one(&copy, list->dir, &list->items[i]);
			free(list->items[i].text);
		}
		dir_put(copy.tree, list->dir);
		free(list);
	}
	free(copy.piece);
}

/* --- walking --- */

static void walk(struct tree_export *tree, struct target_dir *dir);

static void walk_into(struct tree_export *tree, struct target_dir *parent, const char *name, const struct attr *attr)
{
	struct export *export = tree->export;
	struct target_dir *dir;
	int fd = -1, r;

	impersonate_begin(&export->transfer.caller);
	r = mkdirat(parent->fd, name, 0700) < 0 ? -errno : 0;
	if (r == 0) {
		fd = openat(parent->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		r = fd < 0 ? -errno : 0;
	}
	impersonate_end(&export->transfer.caller);
	if (r == -ENOSPC || r == -EDQUOT)
		transfer_fail(&export->transfer, r, "no room is left for %s", export->options->target);
	else if (r < 0)
		transfer_problem(&export->transfer, parent->path, name, r, NULL);
	if (r < 0)
		return;
	dir = xcalloc(1, sizeof(*dir));
	*dir = (struct target_dir){.parent = dir_ref(parent), .fd = fd, .attr = *attr,
	                           .path = xasprintf("%s%s%s", parent->path, parent->path[0] ? "/" : "", name)};
	atomic_init(&dir->refs, 1);
	atomic_fetch_add(&export->transfer.directories, 1);
	walk(tree, dir);
	dir_put(tree, dir);
}

static void hand_out(struct tree_export *tree, struct target_dir *dir, struct name *name, struct list **list)
{
	if (!*list) {
		*list = xcalloc(1, sizeof(**list));
		(*list)->dir = dir_ref(dir);
	}
	(*list)->items[(*list)->count++] = *name;
	name->text = NULL;
	if ((*list)->count == LIST_NAMES)
		queue_push(tree->queue, steal_ptr(*list));
}

static void walk(struct tree_export *tree, struct target_dir *dir)
{
	struct transfer *transfer = &tree->export->transfer;
	struct names names = {0};
	struct list *list = NULL;
	int r = names_load(tree->export, dir->attr.ino, &names);

	if (r < 0)
		transfer_problem(transfer, dir->path, "", r, NULL);
	for (size_t i = 0; i < names.count && !transfer_stopped(transfer); i++) {
		struct attr attr;

		r = view_getattr(tree->export->view, names.items[i].ino, &attr);
		if (r < 0)
			transfer_problem(transfer, dir->path, names.items[i].text, r, NULL);
		else if (S_ISDIR(attr.mode))
			walk_into(tree, dir, names.items[i].text, &attr);
		else
			hand_out(tree, dir, &names.items[i], &list);
	}
	if (list)
		queue_push(tree->queue, list);
	names_clear(&names);
}

static void walk_main(void *arg)
{
	struct tree_export *tree = arg;

	walk(tree, tree->top);
	queue_close(tree->queue);
}

/* --- the whole --- */

static int check_empty(int fd, const char *target, struct error *err)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	DIR *stream = copy >= 0 ? fdopendir(copy) : NULL;
	struct dirent *entry;
	bool empty = true;

	if (!stream)
		return error_set(err, -errno, "%s: %s", target, strerror(errno));
	while ((entry = readdir(stream)))
		empty = empty && (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0);
	closedir(stream);
	if (empty)
		return 0;
	error_set(err, -ENOTEMPTY, "%s is not empty", target);
	error_hint(err, "name a directory that is empty or not there yet");
	return -ENOTEMPTY;
}

static void forget_links(struct tree_export *tree)
{
	struct linked *linked, *next;

	HASH_ITER(hh, tree->links, linked, next) {
		HASH_DEL(tree->links, linked);
		free(linked->path);
		free(linked);
	}
}

int export_tree(struct export *export, struct error *err)
{
	struct tree_export tree = {.export = export, .queue = queue_new(QUEUE_LISTS)};
	transfer_fn functions[WORKERS_MAX + 1] = {walk_main};
	AUTO_CLOSE int top_fd = -1;
	size_t count = 1;
	int fd = -1, r = S_ISDIR(export->top.mode) ? check_empty(export->options->target_fd, export->options->target, err)
	                                           : error_set(err, -ENOTDIR, "what is to be exported is not a directory");

	if (r == 0)
		fd = fcntl(export->options->target_fd, F_DUPFD_CLOEXEC, 3);
	if (fd >= 0)
		top_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (top_fd < 0) {
		queue_free(tree.queue);
		return r < 0 ? r : error_set(err, -errno, "%s: %s", export->options->target, strerror(errno));
	}
	pthread_mutex_init(&tree.lock, NULL);
	tree.top_fd = top_fd;
	tree.top = xcalloc(1, sizeof(*tree.top));
	*tree.top = (struct target_dir){.fd = fd, .path = xstrdup(""), .attr = export->top};
	atomic_init(&tree.top->refs, 1);
	for (unsigned i = 0; i < MIN(transfer_workers(), WORKERS_MAX); i++)
		functions[count++] = copy_main;
	transfer_run(&export->transfer, functions, count, &tree);
	dir_put(&tree, tree.top);
	forget_links(&tree);
	transfer_tell(&export->transfer, "sync");
	if (syncfs(top_fd) < 0)
		transfer_fail(&export->transfer, -errno, "%s could not be brought to the disk: %s", export->options->target,
		              strerror(errno));
	pthread_mutex_destroy(&tree.lock);
	queue_free(tree.queue);
	return 0;
}
