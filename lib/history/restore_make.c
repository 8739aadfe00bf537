#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/history/restore_parts.h"

void restore_add_task(struct restore *restore, uint64_t source, uint64_t dir, const char *name, const char *only)
{
	array_add(&restore->tasks, (struct task){.source = source, .dir = dir, .name = xstrdup(name), .only = only});
}

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
	restore_add_task(children->restore, ino, children->dir, name, NULL);
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
		restore_add_task(restore, attr.ino, made, name, task->only[len] ? task->only + len + 1 : NULL);
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
	array_add(&restore->dirs, (struct dir_times){.made = children.dir, .atime = attr.atime, .mtime = attr.mtime});
	if (task->only)
		return add_next_part(restore, task, children.dir);
	return view_list(restore->snapshot, task->source, "", add_child, &children);
}

int restore_perform(struct restore *restore)
{
	int result = 0;

	while (restore->tasks.count > 0 && result == 0) {
		struct task task = array_pop(&restore->tasks);
		result = restore->cancelled && restore->cancelled(restore->arg) ? -ECANCELED : perform(restore, &task);
		free(task.name);
	}
	for (size_t i = restore->dirs.count; i-- > 0 && result == 0;) {
		const struct dir_times *dir = &restore->dirs.items[i];
		struct setattr times = {.mask = SET_ATIME | SET_MTIME, .atime = dir->atime, .mtime = dir->mtime};
		struct attr attr;
		result = view_setattr(restore->head, dir->made, &times, &attr);
	}
	return result;
}
