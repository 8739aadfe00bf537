/*
 * Rename. All of it is one batch: both names, the link counts and times of both directories, the moved inode, and the end of what is
 * replaced. view->names is held from the look at the entries until the batch is written, so the shape of the tree stands still meanwhile.
 */
#include <dirent.h>
#include <errno.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/stat.h>

#include "lib/base/clock.h"
#include "lib/tree/content/committer.h"
#include "lib/tree/content/space.h"
#include "lib/tree/files/names.h"
#include "lib/tree/files/orphan.h"

#define NAME_SPACE 8192

struct rename_side {
	struct inode *dir;
	const char *name;
	struct entry entry;
	bool exists;
	struct inode *inode; /* referenced if it exists */
};

struct rename {
	struct view *view;
	struct rename_side from, to;
	bool exchange;
	struct transaction transaction;
};

static bool is_dir(const struct rename_side *side)
{
	return side->exists && side->entry.record.type == DT_DIR;
}

static int look_at(struct view *view, struct rename_side *side)
{
	int r = entry_get(view, side->dir->ino, side->name, &side->entry);

	if (r == 0) {
		side->exists = true;
		r = inode_get(view, side->entry.record.ino, &side->inode);
		return r == -ESTALE ? -EIO : r;
	}
	return r == -ENOENT ? 0 : r;
}

/*
 * -EINVAL when `dir` is `ancestor` or lies below it. Directories have one parent, so the way up is the only way. A damaged way that comes
 * back to itself is noticed: -EIO.
 */
static int check_not_below(struct view *view, uint64_t dir, uint64_t ancestor)
{
	uint64_t passed = 0;
	int r = 0;

	for (uint64_t steps = 1; dir != ancestor && dir != ROOT_INO && r == 0; steps++) {
		if ((steps & (steps - 1)) == 0)
			passed = dir;
		r = view_parent(view, dir, &dir);
		if (r == 0 && dir == passed)
			r = -EIO;
	}
	if (r < 0)
		return r;
	return dir == ancestor ? -EINVAL : 0;
}

static int check_replaced(const struct rename *rename)
{
	if (!rename->to.exists)
		return 0;
	if (is_dir(&rename->from) && !is_dir(&rename->to))
		return -ENOTDIR;
	if (!is_dir(&rename->from) && is_dir(&rename->to))
		return -EISDIR;
	return is_dir(&rename->to) ? dir_check_empty(rename->view, rename->to.entry.record.ino) : 0;
}

/* 1 when both names are of one inode: then nothing is to be done. */
static int check(const struct rename *rename, unsigned flags)
{
	const struct rename_side *from = &rename->from, *to = &rename->to;
	int r = 0;

	if (!from->exists)
		return -ENOENT;
	if ((flags & RENAME_NOREPLACE) && to->exists)
		return -EEXIST;
	if (rename->exchange && !to->exists)
		return -ENOENT;
	if (to->exists && from->entry.record.ino == to->entry.record.ino)
		return 1;
	if (is_dir(from))
		r = check_not_below(rename->view, to->dir->ino, from->entry.record.ino);
	if (r == 0 && is_dir(to) && rename->exchange)
		r = check_not_below(rename->view, from->dir->ino, to->entry.record.ino);
	if (r == 0 && !rename->exchange)
		r = check_replaced(rename);
	return r;
}

/* A moved inode gets its new parent. */
static void moved(struct rename *rename, struct inode *inode, const struct inode *to_dir, struct timespec now)
{
	inode->record.ctime = now;
	inode->record.parent = to_dir->ino;
	transaction_put(&rename->transaction, inode);
}

/* All inodes are locked. */
static int apply(struct rename *rename)
{
	struct transaction *transaction = &rename->transaction;
	struct rename_side *from = &rename->from, *to = &rename->to;
	struct timespec now = clock_now();
	int r = dir_check_alive(to->dir);

	if (r < 0)
		return r;
	entry_put(transaction, to->dir->ino, to->name, to->entry.epoch, &from->entry.record);
	moved(rename, from->inode, to->dir, now);
	if (rename->exchange) {
		entry_put(transaction, from->dir->ino, from->name, from->entry.epoch, &to->entry.record);
		moved(rename, to->inode, from->dir, now);
	} else {
		r = entry_delete(transaction, from->dir->ino, from->name, &from->entry);
		if (r == 0 && to->exists)
			r = inode_unlinked(transaction, to->inode, now);
	}
	/* a subdirectory leaves `from` or comes there in exchange; one leaves `to`, replaced or exchanged */
	dir_changed(transaction, from->dir, (rename->exchange && is_dir(to)) - is_dir(from), now);
	dir_changed(transaction, to->dir, is_dir(from) - is_dir(to), now);
	return r;
}

/* view->names is held. As check(). */
static int look(struct rename *rename, unsigned flags)
{
	int r = look_at(rename->view, &rename->from);

	if (r == 0)
		r = look_at(rename->view, &rename->to);
	return r < 0 ? r : check(rename, flags);
}

static void forget(struct rename_side *side)
{
	if (side->inode)
		inode_put(side->inode);
	side->inode = NULL;
	side->exists = false;
}

/*
 * Whoever writes a new file and renames it over the old one wants one of the two after a crash. So the content is committed before the name
 * changes. view->names is not held meanwhile, because others need it, and both names are looked up again afterwards.
 */
static int commit_before_replacing(struct rename *rename, unsigned flags)
{
	int r;

	if (flags != 0 || !rename->to.exists || rename->from.entry.record.type != DT_REG)
		return 0;
	mutex_give(&rename->view->names);
	r = committer_run(rename->view->tree, rename->view, rename->from.inode);
	mutex_take(&rename->view->names);
	forget(&rename->from);
	forget(&rename->to);
	return r < 0 ? r : look(rename, flags);
}

/* view->names is held. */
static int rename_locked(struct rename *rename, unsigned flags, struct renamed *ret_renamed)
{
	int r = look(rename, flags);

	if (r == 0)
		r = commit_before_replacing(rename, flags);
	if (r != 0)
		return r < 0 ? r : 0;

	struct inode *inodes[] = {rename->from.dir, rename->to.dir, rename->from.inode, rename->to.inode};

	transaction_begin(&rename->transaction, rename->view, inodes, ARRAY_SIZE(inodes));
	r = transaction_write(&rename->transaction, apply(rename));
	transaction_end(&rename->transaction);
	if (r == 0)
		*ret_renamed = (struct renamed){.moved = inodes[2]->ino, .left = inodes[3] ? inode_left(inodes[3]) : 0};
	return r;
}

static int check_arguments(struct view *view, const char *name, const char *new_name, unsigned flags)
{
	int r = view_check_change(view);

	if (r == 0)
		r = name_check(name);
	if (r == 0)
		r = name_check(new_name);
	if (r < 0)
		return r;
	if ((flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE)) != 0 || flags == (RENAME_NOREPLACE | RENAME_EXCHANGE))
		return -EINVAL;
	return space_check(view->tree->space, NAME_SPACE, 0);
}

int view_rename(struct view *view, uint64_t dir, const char *name, uint64_t new_dir, const char *new_name, unsigned flags)
{
	struct renamed renamed;

	return view_rename_told(view, dir, name, new_dir, new_name, flags, &renamed);
}

int view_rename_told(struct view *view, uint64_t dir, const char *name, uint64_t new_dir, const char *new_name, unsigned flags,
		     struct renamed *ret_renamed)
{
	struct rename rename = {.view = view, .exchange = flags & RENAME_EXCHANGE, .from.name = name, .to.name = new_name};
	int r = check_arguments(view, name, new_name, flags);

	if (r == 0)
		r = dir_get(view, dir, &rename.from.dir);
	if (r == 0)
		r = dir_get(view, new_dir, &rename.to.dir);
	if (r == 0) {
		mutex_take(&view->names);
		r = rename_locked(&rename, flags, ret_renamed);
		mutex_give(&view->names);
		orphan_finish(&rename.transaction);
	}
	forget(&rename.from);
	forget(&rename.to);
	if (rename.from.dir)
		inode_put(rename.from.dir);
	if (rename.to.dir)
		inode_put(rename.to.dir);
	return r;
}
