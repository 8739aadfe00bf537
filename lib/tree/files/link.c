/* Names come and go: create, link, unlink, rmdir. Each holds view->names from its look at the entries until its batch is written. */
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/clock.h"
#include "lib/base/fault.h"
#include "lib/tree/content/space.h"
#include "lib/tree/files/names.h"
#include "lib/tree/files/orphan.h"
#include "lib/tree/files/xattr.h"
#include "lib/tree/records/family.h"

/* What a new name takes on the disk, generously. */
#define NAME_SPACE 8192

/* The name can be made in the directory; ret_epoch as in struct entry. */
static int check_absent(struct view *view, uint64_t dir, const char *name, uint64_t *ret_epoch)
{
	struct entry entry;
	int r = entry_get(view, dir, name, &entry);

	if (r == 0)
		return -EEXIST;
	if (r != -ENOENT)
		return r;
	*ret_epoch = entry.epoch;
	return 0;
}

/* --- create --- */

static int check_create(const struct create *create)
{
	size_t target_len = create->target ? strlen(create->target) : 0;

	switch (create->mode & S_IFMT) {
	case S_IFREG:
	case S_IFDIR:
	case S_IFIFO:
	case S_IFSOCK:
	case S_IFCHR:
	case S_IFBLK: return create->target ? -EINVAL : 0;
	case S_IFLNK:
		if (target_len == 0)
			return -ENOENT;
		return target_len > SYMLINK_MAX ? -ENAMETOOLONG : 0;
	default: return -EINVAL;
	}
}

static struct inode_record first_record(const struct create *create, uint64_t dir, bool is_named, struct timespec now)
{
	struct inode_record record = {
		.mode = create->mode,
		.uid = create->uid,
		.gid = create->gid,
		.nlink = is_named ? 1 : 0,
		.rdev = S_ISCHR(create->mode) || S_ISBLK(create->mode) ? create->rdev : 0,
		.parent = dir,
		.atime = now,
		.mtime = now,
		.ctime = now,
		.btime = now,
	};

	if (S_ISDIR(create->mode)) {
		record.nlink = 2;
		record.size = DIRECTORY_SIZE;
	} else if (S_ISLNK(create->mode)) {
		record.target = (const uint8_t *)create->target;
		record.target_len = (uint32_t)strlen(create->target);
		record.size = record.allocated = record.target_len;
	}
	return record;
}

/* Adds the inode and its name, or its orphan entry when it has none, and writes. */
static int write_created(struct transaction *transaction, struct inode *dir, const char *name, uint64_t old_epoch, struct inode *inode,
			 const struct create *create)
{
	struct entry_record entry = {.ino = inode->ino, .type = (uint8_t)IFTODT(create->mode)};

	if (name) {
		entry_put(transaction, dir->ino, name, old_epoch, &entry);
		dir_changed(transaction, dir, S_ISDIR(create->mode) ? 1 : 0, inode->record.btime);
	} else {
		struct small_key orphan = catalog_key_orphan(transaction->view->dataset, inode->ino);
		kv_batch_put(transaction->batch, KV_CATALOG, orphan.bytes, orphan.len, "", 0);
	}
	xattr_put_first(transaction, inode->ino, create);
	transaction_put(transaction, inode);
	return transaction_write(transaction, 0);
}

/* view->names is held. */
static int create_in(struct inode *dir, const char *name, const struct create *create, uint64_t ino, struct attr *ret_attr,
		     struct inode **ret_opened)
{
	struct view *view = dir->view;
	uint64_t old_epoch = 0;
	int r = name ? check_absent(view, dir->ino, name, &old_epoch) : 0;

	if (r < 0)
		return r;

	struct inode_record record = first_record(create, dir->ino, name != NULL, clock_now());
	struct inode *inode = inode_add(view, ino, &record);
	struct transaction transaction;

	transaction_begin(&transaction, view, (struct inode *[]){dir, inode}, 2);
	r = dir_check_alive(dir);
	if (r == 0)
		r = write_created(&transaction, dir, name, old_epoch, inode, create);
	if (r < 0)
		inode->gone = true;
	else if (ret_opened)
		inode->opens++;
	transaction_end(&transaction);
	inode_attr(inode, ret_attr);
	if (r == 0 && ret_opened)
		*ret_opened = inode;
	else
		inode_put(inode);
	return r;
}

int view_create(struct view *view, uint64_t dir, const char *name, const struct create *create, struct attr *ret_attr,
		struct inode **ret_opened)
{
	struct inode *parent;
	struct attr attr;
	uint64_t ino;
	int r = view_check_change(view);

	if (r == 0 && name)
		r = name_check(name);
	if (r == 0)
		r = !name && (!ret_opened || !S_ISREG(create->mode)) ? -EINVAL : check_create(create);
	if (r == 0)
		r = space_check(view->tree->space, NAME_SPACE, 0);
	if (r == 0)
		r = dir_get(view, dir, &parent);
	if (r < 0)
		return r;
	r = family_next_ino(view->tree, view->family, &ino);
	if (r == 0) {
		mutex_take(&view->names);
		r = create_in(parent, name, create, ino, &attr, ret_opened);
		mutex_give(&view->names);
	}
	inode_put(parent);
	if (r == 0)
		*ret_attr = attr;
	return r;
}

/* --- link --- */

static int link_locked(struct transaction *transaction, struct inode *dir, const char *name, uint64_t old_epoch, struct inode *inode)
{
	struct entry_record entry = {.ino = inode->ino, .type = (uint8_t)IFTODT(inode->record.mode)};
	struct timespec now = clock_now();
	int r = dir_check_alive(dir);

	if (r < 0)
		return r;
	if (inode->gone)
		return -ESTALE;
	/* without a name only while it is open: an O_TMPFILE gets its name, an orphan stays one */
	if (inode->record.nlink == 0 && inode->opens == 0)
		return -ENOENT;
	if (inode->record.nlink == UINT32_MAX)
		return -EMLINK;
	if (inode->record.nlink++ == 0) {
		struct small_key orphan = catalog_key_orphan(transaction->view->dataset, inode->ino);
		kv_batch_delete(transaction->batch, KV_CATALOG, orphan.bytes, orphan.len);
	}
	inode->record.ctime = now;
	inode->record.parent = dir->ino;
	entry_put(transaction, dir->ino, name, old_epoch, &entry);
	dir_changed(transaction, dir, 0, now);
	transaction_put(transaction, inode);
	return transaction_write(transaction, 0);
}

static int link_in(struct inode *dir, const char *name, struct inode *inode, struct attr *ret_attr)
{
	struct transaction transaction;
	uint64_t old_epoch = 0;
	int r = check_absent(dir->view, dir->ino, name, &old_epoch);

	if (r < 0)
		return r;
	transaction_begin(&transaction, dir->view, (struct inode *[]){dir, inode}, 2);
	r = link_locked(&transaction, dir, name, old_epoch, inode);
	transaction_end(&transaction);
	if (r == 0)
		inode_attr(inode, ret_attr);
	return r;
}

int view_link(struct view *view, uint64_t ino, uint64_t dir, const char *name, struct attr *ret_attr)
{
	struct inode *inode = NULL, *parent;
	int r = view_check_change(view);

	if (r == 0)
		r = name_check(name);
	if (r == 0)
		r = space_check(view->tree->space, NAME_SPACE, 0);
	if (r == 0)
		r = dir_get(view, dir, &parent);
	if (r < 0)
		return r;
	r = inode_get(view, ino, &inode);
	if (r == 0) {
		mutex_take(&view->names);
		r = S_ISDIR(inode->record.mode) ? -EPERM : link_in(parent, name, inode, ret_attr);
		mutex_give(&view->names);
		inode_put(inode);
	}
	inode_put(parent);
	return r;
}

/* --- unlink, rmdir --- */

int inode_unlinked(struct transaction *transaction, struct inode *inode, struct timespec now)
{
	inode->record.nlink = S_ISDIR(inode->record.mode) || inode->record.nlink == 0 ? 0 : inode->record.nlink - 1;
	inode->record.ctime = now;
	if (inode->record.nlink == 0)
		return orphan_add(transaction, inode);
	transaction_put(transaction, inode);
	return 0;
}

uint64_t inode_left(struct inode *inode)
{
	struct attr attr;

	inode_attr(inode, &attr);
	return attr.nlink > 0 ? inode->ino : 0;
}

static int remove_locked(struct transaction *transaction, struct inode *dir, const char *name, const struct entry *entry, struct inode *inode)
{
	struct timespec now = clock_now();
	int r = entry_delete(transaction, dir->ino, name, entry);

	if (r == 0)
		r = inode_unlinked(transaction, inode, now);
	dir_changed(transaction, dir, S_ISDIR(inode->record.mode) ? -1 : 0, now);
	return transaction_write(transaction, r);
}

/*
 * Nobody knows what other names it has, so only this one goes. A repair gives what is left of it a name in lost+found, if it has no other. Of a
 * directory without an inode nothing is left: it is known to be empty.
 */
static int remove_damaged(struct transaction *transaction, struct inode *dir, const char *name, const struct entry *entry)
{
	int r;

	transaction_begin(transaction, dir->view, &dir, 1);
	r = entry_delete(transaction, dir->ino, name, entry);
	dir_changed(transaction, dir, entry->record.type == DT_DIR ? -1 : 0, clock_now());
	r = transaction_write(transaction, r);
	transaction_end(transaction);
	return r;
}

/* view->names is held. What is removed is returned with a reference, if it can be read. */
static int remove_in(struct transaction *transaction, struct inode *dir, const char *name, bool want_dir, struct inode **ret_inode)
{
	struct inode *inode;
	struct entry entry;
	int r = entry_get(dir->view, dir->ino, name, &entry);

	if (r < 0)
		return r;
	if ((entry.record.type == DT_DIR) != want_dir)
		return want_dir ? -ENOTDIR : -EISDIR;
	r = want_dir ? dir_check_empty(dir->view, entry.record.ino) : 0;
	if (r == 0)
		r = fault_point("remove-before-inode");
	if (r == 0)
		r = inode_get(dir->view, entry.record.ino, &inode);
	if (r == -ESTALE || (!want_dir && r == -EIO && inode_is_damaged(dir->view, entry.record.ino)))
		return remove_damaged(transaction, dir, name, &entry);
	if (r < 0)
		return r;
	transaction_begin(transaction, dir->view, (struct inode *[]){dir, inode}, 2);
	r = remove_locked(transaction, dir, name, &entry, inode);
	transaction_end(transaction);
	*ret_inode = inode;
	return r;
}

int view_remove(struct view *view, uint64_t dir, const char *name, bool want_dir, uint64_t *ret_left)
{
	struct inode *parent, *inode = NULL;
	struct transaction transaction;
	int r = view_check_change(view);

	if (r == 0)
		r = name_check(name);
	if (r == 0)
		r = dir_get(view, dir, &parent);
	if (r < 0)
		return r;
	mutex_take(&view->names);
	r = remove_in(&transaction, parent, name, want_dir, &inode);
	mutex_give(&view->names);
	if (r == 0)
		*ret_left = inode ? inode_left(inode) : 0;
	if (inode) {
		orphan_finish(&transaction);
		inode_put(inode);
	}
	inode_put(parent);
	return r;
}

int view_unlink(struct view *view, uint64_t dir, const char *name)
{
	uint64_t left;

	return view_remove(view, dir, name, false, &left);
}

int view_rmdir(struct view *view, uint64_t dir, const char *name)
{
	uint64_t left;

	return view_remove(view, dir, name, true, &left);
}
