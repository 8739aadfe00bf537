#include "lib/tree/files/names.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/clock.h"

/* A name may be replaced between the look at its entry and the look at its inode; not for ever. */
#define LOOKUP_TRIES 16

/* --- entries --- */

int entry_get(struct view *view, uint64_t dir, const char *name, struct entry *ret_entry)
{
	struct tree_key stem = tree_stem_entry(view->family_id, dir, name);
	AUTO_BUF value = BUF_INIT;

	ret_entry->epoch = 0;
	rwlock_read(&view->epoch_lock);

	int r = version_newest_of(view->tree->kv, &view->line, &stem, &value, &ret_entry->epoch, &ret_entry->is_last);

	rwlock_give(&view->epoch_lock);
	if (r == 0 && value.len == 0)
		return -ENOENT;
	if (r == 0)
		r = entry_record_decode(value.data, value.len, &ret_entry->record);
	return r == -EBADMSG ? -EIO : r;
}

void entry_put(struct transaction *transaction, uint64_t dir, const char *name, uint64_t old_epoch, const struct entry_record *record)
{
	struct tree_key stem = tree_stem_entry(transaction->view->family_id, dir, name);
	AUTO_BUF value = BUF_INIT;

	entry_record_encode(record, &value);
	version_put(transaction->view, transaction->batch, &stem, old_epoch, value.data, value.len);
}

int entry_delete(struct transaction *transaction, uint64_t dir, const char *name, const struct entry *entry)
{
	struct tree_key stem = tree_stem_entry(transaction->view->family_id, dir, name);

	if (!entry->is_last)
		return version_delete(transaction->view, transaction->batch, &stem, NULL);
	version_delete_last(transaction->view, transaction->batch, &stem, entry->epoch);
	return 0;
}

/* --- directories --- */

int dir_get(struct view *view, uint64_t ino, struct inode **ret_dir)
{
	struct inode *dir;
	int r = inode_get(view, ino, &dir);

	if (r < 0)
		return r;
	if (!S_ISDIR(dir->record.mode)) {
		inode_put(dir);
		return -ENOTDIR;
	}
	*ret_dir = dir;
	return 0;
}

int dir_check_alive(const struct inode *dir)
{
	return dir->gone || dir->record.nlink == 0 ? -ENOENT : 0;
}

void dir_changed(struct transaction *transaction, struct inode *dir, int subdirectories, struct timespec now)
{
	dir->record.mtime = dir->record.ctime = now;
	dir->record.nlink += (uint32_t)subdirectories;
	transaction_put(transaction, dir);
}

static struct version_iter *iterate(struct view *view, uint64_t dir, const char *after)
{
	struct tree_key prefix = tree_prefix_kind(view->family_id, dir, KEY_ENTRY), end = tree_prefix_end(prefix);
	/* no version has epoch 0, so this lies between the last version of the name and the next name */
	struct tree_key first = *after ? tree_key_at(tree_stem_entry(view->family_id, dir, after), 0) : prefix;

	rwlock_read(&view->epoch_lock);

	struct version_iter *iter = version_iter_new(view->tree->kv, &view->line, &first, &end, 0);

	rwlock_give(&view->epoch_lock);
	return iter;
}

int dir_check_empty(struct view *view, uint64_t dir)
{
	struct version_iter *iter = iterate(view, dir, "");
	int r = version_iter_next(iter) ? -ENOTEMPTY : version_iter_status(iter);

	version_iter_free(iter);
	return r;
}

int view_list(struct view *view, uint64_t dir, const char *after, view_entry_fn each, void *arg)
{
	struct inode *inode;
	int r = strlen(after) > NAME_LEN_MAX ? -ENAMETOOLONG : dir_get(view, dir, &inode);

	if (r < 0)
		return r;
	inode_put(inode);

	struct version_iter *iter = iterate(view, dir, after);
	bool is_stopped = false;

	while (r == 0 && !is_stopped && version_iter_next(iter)) {
		struct entry_record entry;
		size_t len;
		const uint8_t *value = version_iter_value(iter, &len);
		r = entry_record_decode(value, len, &entry);
		if (r == 0)
			is_stopped = each(arg, version_iter_parts(iter)->name, entry.ino, entry.type) != 0;
	}
	if (r == 0)
		r = version_iter_status(iter);
	version_iter_free(iter);
	return r == -EBADMSG ? -EIO : r;
}

int view_parent(struct view *view, uint64_t dir, uint64_t *ret_parent)
{
	struct inode *inode;
	int r = dir_get(view, dir, &inode);

	if (r < 0)
		return r;
	mutex_take(&inode->lock);
	*ret_parent = inode->record.parent;
	mutex_give(&inode->lock);
	inode_put(inode);
	return 0;
}

/* --- looking up --- */

static int lookup_entry(struct view *view, uint64_t dir, const char *name, struct attr *ret_attr)
{
	struct entry entry;
	int r = -ESTALE;

	for (unsigned i = 0; i < LOOKUP_TRIES && r == -ESTALE; i++) {
		r = entry_get(view, dir, name, &entry);
		if (r == 0)
			r = view_getattr(view, entry.record.ino, ret_attr);
	}
	/* an entry whose inode is not there: damaged, and not to be mistaken for no entry (I9) */
	return r == -ESTALE ? -EIO : r;
}

int view_lookup(struct view *view, uint64_t dir, const char *name, struct attr *ret_attr)
{
	struct inode *inode;
	uint64_t parent;
	int r = dir_get(view, dir, &inode);

	if (r < 0)
		return r;
	inode_put(inode);
	if (strcmp(name, ".") == 0)
		return view_getattr(view, dir, ret_attr);
	if (strcmp(name, "..") == 0) {
		r = view_parent(view, dir, &parent);
		return r < 0 ? r : view_getattr(view, parent, ret_attr);
	}
	r = name_check(name);
	return r < 0 ? r : lookup_entry(view, dir, name, ret_attr);
}

int view_name_type(struct view *view, uint64_t dir, const char *name, uint64_t *ret_ino, uint8_t *ret_type)
{
	struct entry entry;
	int r = name_check(name);

	if (r == 0)
		r = entry_get(view, dir, name, &entry);
	if (r < 0)
		return r;
	*ret_ino = entry.record.ino;
	*ret_type = entry.record.type;
	return 0;
}

int view_resolve(struct view *view, const char *path, struct attr *ret_attr)
{
	AUTO_FREE char *copy = xstrdup(path);
	struct attr attr;
	char *rest = copy, *name;
	int r = view_getattr(view, ROOT_INO, &attr);

	while (r == 0 && (name = strsep(&rest, "/")) != NULL) {
		if (*name)
			r = view_lookup(view, attr.ino, name, &attr);
	}
	if (r == 0)
		*ret_attr = attr;
	return r;
}

int view_readlink(struct view *view, uint64_t ino, struct buf *target)
{
	struct inode *inode;
	int r = inode_get(view, ino, &inode);

	if (r < 0)
		return r;
	mutex_take(&inode->lock);
	if (S_ISLNK(inode->record.mode)) {
		buf_reset(target);
		buf_reserve(target, inode->inline_data.len + 1);
		buf_add(target, inode->inline_data.data, inode->inline_data.len);
		target->data[target->len] = '\0';
	} else {
		r = -EINVAL;
	}
	mutex_give(&inode->lock);
	inode_put(inode);
	return r;
}
