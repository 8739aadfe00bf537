#include "lib/history/restore.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <uthash.h>

#include "lib/base/clock.h"
#include "lib/base/fault.h"
#include "lib/store/catalog.h"

#define REMOVE_TRIES 3 /* somebody may be making files in what is being removed */

/* An inode of the snapshot that was made anew: its further names become links. */
struct copied {
	uint64_t source, made;
	UT_hash_handle hh;
};

/* To make: what `source` is, under a name in a directory that is there already. */
struct task {
	uint64_t source, dir;
	char *name;
	const char *only; /* of a directory above the path: the rest of the path, the only thing to be made in it */
};

/* Directories get their times when all is in them. */
struct dir_times {
	uint64_t made;
	struct timespec atime, mtime;
};

struct restore {
	struct store *store;
	struct view *head, *snapshot;
	bool (*cancelled)(void *arg);
	void *arg;
	struct restore_result result;
	struct copied *copied; /* uthash by source */
	struct task *tasks;
	size_t task_count, task_cap;
	struct dir_times *dirs;
	size_t dir_count, dir_cap;
};

static void add_task(struct restore *restore, uint64_t source, uint64_t dir, const char *name, const char *only)
{
	if (restore->task_count == restore->task_cap) {
		restore->task_cap = MAX(restore->task_cap * 2, 64U);
		restore->tasks = xrealloc(restore->tasks, restore->task_cap * sizeof(*restore->tasks));
	}
	restore->tasks[restore->task_count++] = (struct task){.source = source, .dir = dir, .name = xstrdup(name), .only = only};
}

/* --- removing --- */

struct entry_name {
	char *name;
	uint64_t ino;
	bool is_dir;
};

struct names {
	struct entry_name *items;
	size_t count, cap;
	const char *prefix;
};

static int note_name(void *arg, const char *name, uint64_t ino, uint8_t type)
{
	struct names *names = arg;

	if (names->prefix && strncmp(name, names->prefix, strlen(names->prefix)) != 0)
		return 0;
	if (names->count == names->cap) {
		names->cap = MAX(names->cap * 2, 64U);
		names->items = xrealloc(names->items, names->cap * sizeof(*names->items));
	}
	names->items[names->count++] = (struct entry_name){.name = xstrdup(name), .ino = ino, .is_dir = type == DT_DIR};
	return 0;
}

static void names_clear(struct names *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->items[i].name);
	free(names->items);
}

struct level {
	uint64_t dir;
	struct names names;
	size_t at;
};

/* Other names of the file may stay, of which a mount remembers the link count. */
static int unlink_name(struct restore *restore, uint64_t dir, const char *name, uint64_t ino)
{
	struct attr attr;
	int result = view_unlink(restore->head, dir, name);

	if (result == 0 && view_getattr(restore->head, ino, &attr) == 0)
		store_entry_changed(restore->store, view_number(restore->head), ino, "");
	return result;
}

/* Removes all that is in a directory, and below; without recursion, however deep it is. */
static int empty_dir(struct restore *restore, uint64_t top)
{
	struct view *view = restore->head;
	struct level *levels = xcalloc(1, sizeof(*levels));
	size_t depth = 1;
	int result;

	levels[0].dir = top;
	result = view_list(view, top, "", note_name, &levels[0].names);
	while (depth > 0 && result == 0) {
		struct level *level = &levels[depth - 1];
		if (level->at == level->names.count) {
			names_clear(&level->names);
			if (--depth > 0) {
				struct level *above = &levels[depth - 1];
				result = view_rmdir(view, above->dir, above->names.items[above->at++].name);
			}
			continue;
		}
		struct entry_name *entry = &level->names.items[level->at];
		if (!entry->is_dir) {
			result = unlink_name(restore, level->dir, entry->name, entry->ino);
			level->at++;
			continue;
		}
		uint64_t below = entry->ino;
		levels = xrealloc(levels, (depth + 1) * sizeof(*levels));
		levels[depth] = (struct level){.dir = below};
		result = view_list(view, below, "", note_name, &levels[depth++].names);
	}
	while (depth > 0)
		names_clear(&levels[--depth].names);
	free(levels);
	return result;
}

static int remove_entry(struct restore *restore, uint64_t dir, const char *name)
{
	struct view *view = restore->head;
	struct attr attr;
	int result = view_lookup(view, dir, name, &attr);

	if (result < 0)
		return result == -ENOENT ? 0 : result;
	if (!S_ISDIR(attr.mode))
		return unlink_name(restore, dir, name, attr.ino);
	result = empty_dir(restore, attr.ino);
	return result < 0 ? result : view_rmdir(view, dir, name);
}

/* What runs that were killed left here. */
static int remove_leftovers(struct restore *restore, uint64_t dir)
{
	struct view *view = restore->head;
	struct names names = {.prefix = RESTORE_PREFIX};
	int result = view_list(view, dir, RESTORE_PREFIX, note_name, &names);

	for (size_t i = 0; i < names.count && result == 0; i++)
		result = remove_entry(restore, dir, names.items[i].name);
	names_clear(&names);
	return result;
}

/* --- making --- */

static int copy_xattrs(struct restore *restore, uint64_t source, uint64_t made)
{
	AUTO_BUF names = BUF_INIT;
	int result = view_xattr_list(restore->snapshot, source, &names);

	for (size_t at = 0; at < names.len && result == 0; at += strlen((char *)names.data + at) + 1) {
		const char *name = (char *)names.data + at;
		AUTO_BUF value = BUF_INIT;
		result = view_xattr_get(restore->snapshot, source, name, &value);
		if (result == 0)
			result = view_xattr_set(restore->head, made, name, value.data, value.len, 0);
	}
	return result;
}

static int copy_content(struct restore *restore, uint64_t source, struct inode *made, uint64_t size)
{
	struct setattr grow = {.mask = SET_SIZE, .size = size};
	struct inode *from;
	struct attr attr;
	uint64_t offset = 0;
	int result = inode_open(restore->snapshot, source, &from);

	if (result < 0)
		return result;
	while (offset < size && result == 0) {
		ssize_t copied = inode_copy(from, offset, made, offset, size - offset);
		if (copied <= 0)
			result = copied < 0 ? (int)copied : -EIO;
		else
			offset += (uint64_t)copied;
	}
	inode_attr(made, &attr);
	if (result == 0 && attr.size != size)
		result = view_setattr(restore->head, inode_ino(made), &grow, &attr);
	if (result == 0)
		result = inode_commit(made);
	inode_close(from);
	return result;
}

static void note_dir(struct restore *restore, uint64_t made, const struct attr *attr)
{
	if (restore->dir_count == restore->dir_cap) {
		restore->dir_cap = MAX(restore->dir_cap * 2, 64U);
		restore->dirs = xrealloc(restore->dirs, restore->dir_cap * sizeof(*restore->dirs));
	}
	restore->dirs[restore->dir_count++] = (struct dir_times){.made = made, .atime = attr->atime, .mtime = attr->mtime};
}

/* After the content: writing clears set-id bits and moves times. Modes before attributes: an ACL stands for more than a mode. */
static int copy_attributes(struct restore *restore, const struct attr *source, uint64_t made)
{
	struct setattr change = {
		.mask = SET_MODE | SET_UID | SET_GID,
		.mode = source->mode & 07777,
		.uid = source->uid,
		.gid = source->gid,
	};
	struct setattr times = {.mask = SET_ATIME | SET_MTIME, .atime = source->atime, .mtime = source->mtime};
	struct attr attr;
	int result = S_ISLNK(source->mode) ? 0 : view_setattr(restore->head, made, &change, &attr);

	if (result == 0)
		result = copy_xattrs(restore, source->ino, made);
	return result < 0 ? result : view_setattr(restore->head, made, &times, &attr);
}

/* Under its name; *ret_made 0 when it became a link to what was made before. */
static int make_inode(struct restore *restore, const struct task *task, const struct attr *attr, uint64_t *ret_made)
{
	struct create create = {.mode = attr->mode, .uid = attr->uid, .gid = attr->gid, .rdev = attr->rdev};
	AUTO_BUF target = BUF_INIT;
	struct copied *copied;
	struct inode *opened;
	struct attr made;
	int result = S_ISLNK(attr->mode) ? view_readlink(restore->snapshot, task->source, &target) : 0;

	HASH_FIND(hh, restore->copied, &task->source, sizeof(task->source), copied);
	*ret_made = 0;
	if (copied)
		return view_link(restore->head, copied->made, task->dir, task->name, &made);
	if (result < 0)
		return result;
	create.target = (const char *)target.data;
	result = view_create(restore->head, task->dir, task->name, &create, &made, &opened);
	if (result < 0)
		return result;
	if (S_ISREG(attr->mode))
		result = copy_content(restore, task->source, opened, attr->size);
	inode_close(opened);
	if (!S_ISDIR(attr->mode) && attr->nlink > 1) {
		copied = xcalloc(1, sizeof(*copied));
		copied->source = task->source;
		copied->made = made.ino;
		HASH_ADD(hh, restore->copied, source, sizeof(copied->source), copied);
	}
	*ret_made = made.ino;
	return result;
}

struct children {
	struct restore *restore;
	uint64_t dir;
};

static int add_child(void *arg, const char *name, uint64_t ino, uint8_t type)
{
	struct children *children = arg;

	(void)type;
	add_task(children->restore, ino, children->dir, name, NULL);
	return 0;
}

/* The directory above the path that was made gets the next part of the path. */
static int add_next_part(struct restore *restore, const struct task *task, uint64_t made)
{
	size_t len = strcspn(task->only, "/");
	AUTO_FREE char *name = xasprintf("%.*s", (int)len, task->only);
	struct attr attr;
	int result = view_lookup(restore->snapshot, task->source, name, &attr);

	if (result == 0)
		add_task(restore, attr.ino, made, name, task->only[len] ? task->only + len + 1 : NULL);
	return result;
}

static void count_made(struct restore_result *result, const struct attr *attr)
{
	if (S_ISREG(attr->mode)) {
		result->files++;
		result->bytes += attr->size;
	} else if (S_ISDIR(attr->mode)) {
		result->directories++;
	} else {
		result->others++;
	}
}

static int perform(struct restore *restore, const struct task *task)
{
	struct children children = {.restore = restore};
	struct attr attr;
	int result = view_getattr(restore->snapshot, task->source, &attr);

	if (result == 0)
		result = make_inode(restore, task, &attr, &children.dir);
	if (result < 0 || children.dir == 0)
		return result;
	count_made(&restore->result, &attr);
	result = copy_attributes(restore, &attr, children.dir);
	if (result < 0 || !S_ISDIR(attr.mode))
		return result;
	note_dir(restore, children.dir, &attr);
	if (task->only)
		return add_next_part(restore, task, children.dir);
	return view_list(restore->snapshot, task->source, "", add_child, &children);
}

static int perform_all(struct restore *restore)
{
	int result = 0;

	while (restore->task_count > 0 && result == 0) {
		struct task task = restore->tasks[--restore->task_count];
		result = restore->cancelled && restore->cancelled(restore->arg) ? -ECANCELED : perform(restore, &task);
		free(task.name);
	}
	for (size_t i = restore->dir_count; i-- > 0 && result == 0;) {
		const struct dir_times *dir = &restore->dirs[i];
		struct setattr times = {.mask = SET_ATIME | SET_MTIME, .atime = dir->atime, .mtime = dir->mtime};
		struct attr attr;
		result = view_setattr(restore->head, dir->made, &times, &attr);
	}
	return result;
}

/* --- where --- */

/* The last directory of the path that the head has, what to put into it, and what of the path lies below that. */
struct spot {
	uint64_t dir, source;
	char *name;
	const char *rest; /* into the path; NULL: the name is the path's last */
	size_t len;       /* of the path to the name's end */
};

/* Walks both trees down. The snapshot must have all of the path, the head the directories as far as they go. */
static int find_spot(struct restore *restore, const char *path, struct spot *spot, struct error *err)
{
	uint64_t source = ROOT_INO, dir = ROOT_INO;
	struct attr attr, there;
	bool in_head = true;
	int result = view_resolve(restore->snapshot, path, &attr);

	if (result < 0)
		return result == -ENOENT || result == -ENOTDIR ? error_set(err, -ENOENT, "the snapshot has no \"%s\"", path) : result;
	for (const char *at = path; *at;) {
		size_t len = strcspn(at, "/");
		AUTO_FREE char *name = xasprintf("%.*s", (int)len, at);
		const char *rest = at[len] ? at + len + 1 : NULL;
		result = view_lookup(restore->snapshot, source, name, &attr);
		if (result < 0)
			return result;
		source = attr.ino;
		if (in_head) {
			result = view_lookup(restore->head, dir, name, &there);
			if (result < 0 && result != -ENOENT)
				return result;
			if (result == 0 && rest && !S_ISDIR(there.mode))
				return error_set(err, -ENOTDIR, "\"%.*s\" is not a directory any more", (int)(at + len - path), path);
			restore->result.replaced = result == 0 && !rest;
			in_head = result == 0 && rest;
			if (!in_head)
				*spot = (struct spot){dir, source, xstrdup(name), rest, (size_t)(at + len - path)};
			dir = there.ino;
		}
		at = rest ? rest : at + len;
	}
	return 0;
}

static int put_in_place(struct restore *restore, const struct spot *spot, const char *temporary)
{
	int result = fault_point("restore-before-exchange");

	if (result == 0)
		result = view_rename(restore->head, spot->dir, temporary, spot->dir, spot->name,
				     restore->result.replaced ? RENAME_EXCHANGE : RENAME_NOREPLACE);
	if (result == 0)
		FAULT_AFTER("restore-after-exchange");
	return result;
}

static int restore_at(struct restore *restore, const struct spot *spot, struct error *err)
{
	char temporary[64];
	int result = remove_leftovers(restore, spot->dir), removed = -ENOTEMPTY;

	if (result < 0)
		return result;
	snprintf(temporary, sizeof(temporary), RESTORE_PREFIX "%llx", (unsigned long long)clock_us());
	add_task(restore, spot->source, spot->dir, temporary, spot->rest);
	result = perform_all(restore);
	if (result == 0)
		result = put_in_place(restore, spot, temporary);
	/* after a failure what was made, after success what stood there */
	for (unsigned i = 0; i < REMOVE_TRIES && removed == -ENOTEMPTY; i++)
		removed = remove_entry(restore, spot->dir, temporary);
	if (result == 0 && removed < 0)
		result = error_set(err, removed, "\"%s\" is restored, but what stood there is left as %s: %s", spot->name, temporary,
				   strerror(-removed));
	return result < 0 ? result : view_sync(restore->head);
}

static void restore_clear(struct restore *restore)
{
	struct copied *copied, *next;

	HASH_ITER (hh, restore->copied, copied, next) {
		HASH_DEL(restore->copied, copied);
		free(copied);
	}
	for (size_t i = 0; i < restore->task_count; i++)
		free(restore->tasks[i].name);
	free(restore->tasks);
	free(restore->dirs);
}

static int open_views(struct store *store, const char *dataset, const char *snapshot, struct restore *restore, struct error *err)
{
	int result = store_head(store, dataset, &restore->head);

	if (result < 0)
		return error_set(err, result, "there is no dataset \"%s\"", dataset);
	result = store_snapshot(store, dataset, snapshot, &restore->snapshot);
	if (result < 0) {
		store_view_put(store, restore->head);
		return error_set(err, result, "there is no snapshot \"%s@%s\"", dataset, snapshot);
	}
	return 0;
}

/* Without slashes at the ends or two in a row. */
static char *clean_path(const char *path)
{
	AUTO_BUF clean = BUF_INIT;

	buf_addf(&clean, "%s", "");
	for (const char *at = path; *at;) {
		size_t len = strcspn(at, "/");
		if (len > 0)
			buf_addf(&clean, "%s%.*s", clean.len > 0 ? "/" : "", (int)len, at);
		at += len + (at[len] == '/');
	}
	return xstrdup((const char *)clean.data);
}

int dataset_restore(struct store *store, const char *dataset, const char *snapshot, const char *path, bool (*cancelled)(void *arg), void *arg,
		    struct restore_result *ret_result, struct error *err)
{
	struct restore restore = {.store = store, .cancelled = cancelled, .arg = arg};
	AUTO_FREE char *clean = clean_path(path);
	struct spot spot = {0};
	int result = store_check_writable(store, err);

	if (result < 0)
		return result;
	if (!*clean) {
		error_set(err, -EINVAL, "which file or directory?");
		error_hint(err, "the whole dataset: corpusfs rollback %s@%s", dataset, snapshot);
		return -EINVAL;
	}
	if (atomic_exchange(&store->restoring, true))
		return error_set(err, -EBUSY, "another restore is at work in this store");
	result = open_views(store, dataset, snapshot, &restore, err);
	if (result == 0) {
		result = find_spot(&restore, clean, &spot, err);
		if (result == 0)
			result = restore_at(&restore, &spot, err);
		AUTO_FREE char *changed = xasprintf("%.*s", (int)spot.len, clean);
		uint32_t id = view_dataset(restore.head);
		store_view_put(store, restore.snapshot);
		store_view_put(store, restore.head);
		if (spot.name)
			store_changed(store, STORE_TREE_CHANGED, id, changed);
	}
	atomic_store(&store->restoring, false);
	free(spot.name);
	restore_clear(&restore);
	if (result == 0)
		*ret_result = restore.result;
	return result < 0 ? error_default(err, result, "\"%s\" could not be restored: %s", clean, strerror(-result)) : 0;
}
