/*
 * A directory as a source. One thread walks it, makes the directories and hands out lists of names; the others read the files.
 *
 *   walk --queue of lists--> copy, several threads --batches, streams--> the view
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/vfs.h>

#include "lib/transfer/import_copy.h"

#define QUEUE_LISTS 64
#define WORKERS_MAX 16

struct listing {
	ARRAY_FIELDS(struct found_name);
};

/* --- walking --- */

static int by_ino(const void *left, const void *right)
{
	const struct found_name *a = left, *b = right;

	return a->ino < b->ino ? -1 : a->ino > b->ino;
}

static uint8_t type_of(const struct impersonate *who, const struct source_dir *dir, const struct dirent *entry)
{
	struct stat st;
	int r;

	if (entry->d_type != DT_UNKNOWN)
		return entry->d_type;
	impersonate_begin(who);
	r = fstatat(dir->fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW);
	impersonate_end(who);
	return r < 0 ? DT_UNKNOWN : (uint8_t)IFTODT(st.st_mode);
}

static int read_directory(const struct impersonate *who, const struct source_dir *dir, struct listing *listing)
{
	DIR *stream = source_dir_entries(dir, who);
	struct dirent *entry;
	int r;

	if (!stream)
		return -errno;
	for (errno = 0; (entry = readdir(stream)); errno = 0) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		array_add(listing, (struct found_name){.name = xstrdup(entry->d_name), .ino = entry->d_ino, .type = type_of(who, dir, entry)});
	}
	r = -errno;
	closedir(stream);
	return r;
}

/* A few names may be of big files: while one is cut and hashed, another is written. */
static size_t names_of_a_list(const struct listing *listing)
{
	return MAX(1, MIN(LIST_NAMES, listing->count / (transfer_workers() / 2)));
}

/* What is no directory. */
static void hand_out(struct tree_import *tree, struct source_dir *dir, struct listing *listing)
{
	const size_t most = names_of_a_list(listing);
	struct list *list = NULL;

	for (size_t i = 0; i < listing->count && !transfer_stopped(&tree->import->transfer); i++) {
		struct found_name *found = &listing->items[i];

		if (found->type == DT_DIR)
			continue;
		if (!list) {
			list = xcalloc(1, sizeof(*list));
			list->dir = source_dir_ref(dir);
		}
		list->items[list->count++] = *found;
		found->name = NULL;
		if (list->count == most)
			queue_push(tree->queue, steal_ptr(list));
	}
	if (list)
		queue_push(tree->queue, list);
}

static void take_names(struct tree_import *tree, struct source_walk *walk, struct source_dir *dir)
{
	struct listing listing = {0};
	struct member member = {.trail = dir->trail, .name = ""};
	int r = read_directory(&tree->import->transfer.caller, dir, &listing);

	if (r < 0)
		member_problem(tree->import, &member, r, NULL);
	/* The order of inodes is that in which a disk likes to be read. */
	if (listing.count > 1)
		qsort(listing.items, listing.count, sizeof(*listing.items), by_ino);
	hand_out(tree, dir, &listing);
	for (size_t i = 0; i < listing.count; i++) {
		if (listing.items[i].name && listing.items[i].type == DT_DIR)
			source_walk_below(walk, listing.items[i].name);
		free(listing.items[i].name);
	}
	array_clear(&listing);
}

/* Why it may not be entered, if it may not. */
static const char *check_dir(const struct tree_import *tree, const struct source_dir *dir)
{
	struct statfs fs;

	if (dir->st.st_dev == tree->store.st_dev && dir->st.st_ino == tree->store.st_ino)
		return "it is the store itself";
	/* It may be a mount of this very store: reading it would not end. */
	if (dir->trail && dir->st.st_dev != dir->dev_above && fstatfs(dir->fd, &fs) == 0 && fs.f_type == FUSE_SUPER_MAGIC)
		return "a FUSE filesystem is mounted there: import it by itself";
	return NULL;
}

/* Makes or finds it in the dataset, which is told to the walk. */
static int place_dir(struct tree_import *tree, struct source_dir *dir)
{
	struct import *import = tree->import;
	struct member member = {.trail = trail_above(dir->trail), .name = trail_name(dir->trail), .dir = dir->ino_above, .dir_existed = dir->existed_above,
	                        .mode = dir->st.st_mode, .uid = dir->st.st_uid, .gid = dir->st.st_gid, .atime = dir->st.st_atim,
	                        .mtime = dir->st.st_mtim};
	struct attr attr;
	int r = member_accept(import, &member) ? 0 : -EPERM;

	if (r < 0)
		return r;
	source_xattrs(import, &member, NULL, dir->fd);
	r = import_directory(import, &member, &dir->ino);
	if (r == -EEXIST) {
		r = view_lookup(import->view, member.dir, member.name, &attr);
		if (r == 0 && !S_ISDIR(attr.mode))
			r = -ENOTDIR;
		member_result(import, &member, r);
		if (r == 0) {
			import_directory_attributes(import, &member, attr.ino);
			atomic_fetch_add(&import->transfer.directories, 1);
			dir->ino = attr.ino;
			dir->existed = true;
		}
	}
	if (r == 0)
		import_directory_done(import, dir->ino, &member);
	xattrs_clear(&member.xattrs);
	return r;
}

/* The target itself becomes what the source's directory is. */
static void place_top(struct tree_import *tree, struct source_dir *dir)
{
	struct import *import = tree->import;
	struct member member = member_of(dir, "", &dir->st);

	dir->ino = import->root;
	dir->existed = true;
	member_own(import, &member);
	source_xattrs(import, &member, NULL, dir->fd);
	import_directory_attributes(import, &member, import->root);
	import_directory_done(import, import->root, &member);
	xattrs_clear(&member.xattrs);
}

static void take_dir(struct tree_import *tree, struct source_walk *walk, struct source_dir *dir)
{
	struct member member = {.trail = dir->trail, .name = ""};
	const char *why = check_dir(tree, dir);

	if (why) {
		member_problem(tree->import, &member, -EXDEV, why);
		return;
	}
	if (!dir->trail)
		place_top(tree, dir);
	else if (place_dir(tree, dir) < 0)
		return;
	source_walk_set(walk, dir->ino, dir->existed);
	take_names(tree, walk, dir);
}

static void walk_main(void *arg)
{
	struct tree_import *tree = arg;
	struct source_walk *walk = source_walk_new(tree->fd, &tree->import->transfer.caller);
	struct source_dir *dir;
	int r;

	while (!transfer_stopped(&tree->import->transfer) && (r = source_walk_next(walk, &dir)) != 0) {
		struct member member = {0};

		if (r > 0) {
			take_dir(tree, walk, dir);
			continue;
		}
		member.name = source_walk_failed(walk, &member.trail);
		member_problem(tree->import, &member, r, r == -ESTALE ? "it was moved while it was read" : NULL);
	}
	source_walk_free(walk);
	queue_close(tree->queue);
}

/* --- how much there is, for the progress --- */

static void count_dir(struct tree_import *tree, struct source_walk *walk, const struct source_dir *dir)
{
	const struct impersonate *who = &tree->import->transfer.caller;
	struct listing listing = {0};
	uint64_t total = 0;
	struct stat st;

	(void)!read_directory(who, dir, &listing);
	impersonate_begin(who);
	for (size_t i = 0; i < listing.count; i++) {
		if (listing.items[i].type == DT_DIR)
			source_walk_below(walk, listing.items[i].name);
		else if (fstatat(dir->fd, listing.items[i].name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
			total += (uint64_t)st.st_size;
		free(listing.items[i].name);
	}
	impersonate_end(who);
	array_clear(&listing);
	atomic_fetch_add(&tree->import->transfer.total, total);
}

static void count_main(void *arg)
{
	struct tree_import *tree = arg;
	struct source_walk *walk = source_walk_new(tree->fd, &tree->import->transfer.caller);
	struct source_dir *dir;
	int r;

	while (!transfer_stopped(&tree->import->transfer) && (r = source_walk_next(walk, &dir)) != 0)
		if (r > 0 && !check_dir(tree, dir))
			count_dir(tree, walk, dir);
	source_walk_free(walk);
}

/* --- the whole --- */

void import_tree(struct import *import, int fd)
{
	struct tree_import tree = {.import = import, .fd = fd, .queue = queue_new(QUEUE_LISTS)};
	transfer_fn functions[WORKERS_MAX + 2] = {walk_main};
	size_t count = 1;

	pthread_mutex_init(&tree.lock, NULL);
	(void)!fstat(store_dir_fd(import->store), &tree.store);
	for (unsigned i = 0; i < MIN(transfer_workers(), WORKERS_MAX); i++)
		functions[count++] = copy_main;
	if (import->transfer.options->count)
		functions[count++] = count_main;
	transfer_run(&import->transfer, functions, count, &tree);
	copy_links(&tree);
	queue_free(tree.queue);
	pthread_mutex_destroy(&tree.lock);
}
