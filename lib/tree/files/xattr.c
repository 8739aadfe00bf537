#include "lib/tree/files/xattr.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/clock.h"
#include "lib/tree/content/space.h"
#include "lib/tree/files/acl.h"

static int check_name(const char *name)
{
	size_t len = strlen(name);

	return len < 1 || len > NAME_LEN_MAX ? -ERANGE : 0;
}

/* --- values; the epoch lock is held --- */

/* With the version byte, if there is one; -ENOENT. */
static int find(const struct view *view, uint64_t ino, const char *name, struct buf *value, uint64_t *ret_epoch)
{
	struct tree_key stem = tree_stem_xattr(view->family_id, ino, name);

	return version_newest(view->tree->kv, &view->line, &stem, value, ret_epoch);
}

static int load(const struct view *view, uint64_t ino, const char *name, struct buf *value)
{
	AUTO_BUF stored = BUF_INIT;
	uint64_t epoch;
	int r = find(view, ino, name, &stored, &epoch);

	if (r == -ENOENT || (r == 0 && stored.len == 0))
		return -ENODATA;
	if (r < 0)
		return r;
	if (stored.data[0] != FORMAT_VERSION)
		return -EIO;
	buf_reset(value);
	buf_add(value, stored.data + 1, stored.len - 1);
	return 0;
}

int xattr_load(struct transaction *transaction, const struct inode *inode, const char *name, struct buf *value)
{
	return load(transaction->view, inode->ino, name, value);
}

int xattr_put(struct transaction *transaction, const struct inode *inode, const char *name, const void *value, size_t len)
{
	struct tree_key stem = tree_stem_xattr(transaction->view->family_id, inode->ino, name);
	AUTO_BUF stored = BUF_INIT;
	uint64_t old_epoch = 0;
	int r = find(transaction->view, inode->ino, name, &stored, &old_epoch);

	if (r < 0 && r != -ENOENT)
		return r;
	buf_reset(&stored);
	buf_add_u8(&stored, FORMAT_VERSION);
	buf_add(&stored, value, len);
	version_put(transaction->view, transaction->batch, &stem, old_epoch, stored.data, stored.len);
	return 0;
}

void xattr_put_first(struct transaction *transaction, uint64_t ino, const struct create *create)
{
	for (size_t i = 0; i < create->xattr_count; i++) {
		const struct xattr_init *xattr = &create->xattrs[i];
		struct tree_key stem = tree_stem_xattr(transaction->view->family_id, ino, xattr->name);
		AUTO_BUF value = BUF_INIT;

		buf_add_u8(&value, FORMAT_VERSION);
		buf_add(&value, xattr->value, xattr->len);
		version_put(transaction->view, transaction->batch, &stem, 0, value.data, value.len);
	}
}

int xattr_delete(struct transaction *transaction, const struct inode *inode, const char *name)
{
	struct tree_key stem = tree_stem_xattr(transaction->view->family_id, inode->ino, name);

	return version_delete(transaction->view, transaction->batch, &stem, NULL);
}

/* --- reading --- */

int view_xattr_get(struct view *view, uint64_t ino, const char *name, struct buf *value)
{
	struct inode *inode;
	int r = check_name(name);

	if (r == 0)
		r = inode_get(view, ino, &inode);
	if (r < 0)
		return r;
	inode_put(inode);
	rwlock_read(&view->epoch_lock);
	r = load(view, ino, name, value);
	rwlock_give(&view->epoch_lock);
	return r;
}

int view_xattr_list(struct view *view, uint64_t ino, struct buf *names)
{
	struct tree_key first = tree_prefix_kind(view->family_id, ino, KEY_XATTR), end = tree_prefix_end(first);
	struct inode *inode;
	int r = inode_get(view, ino, &inode);

	if (r < 0)
		return r;
	inode_put(inode);
	rwlock_read(&view->epoch_lock);

	struct version_iter *iter = version_iter_new(view->tree->kv, &view->line, &first, &end, 0);

	rwlock_give(&view->epoch_lock);
	buf_reset(names);
	while (version_iter_next(iter)) {
		const struct tree_key_parts *parts = version_iter_parts(iter);
		buf_add(names, parts->name, parts->name_len + 1);
	}
	r = version_iter_status(iter);
	version_iter_free(iter);
	return r;
}

/* --- changing; the inode is locked --- */

static int set_plain(struct transaction *transaction, struct inode *inode, const char *name, const void *value, size_t len, unsigned flags)
{
	AUTO_BUF old = BUF_INIT;
	int r = flags & (XATTR_SET_CREATE | XATTR_SET_REPLACE) ? xattr_load(transaction, inode, name, &old) : -ENODATA;

	if (r < 0 && r != -ENODATA)
		return r;
	if ((flags & XATTR_SET_CREATE) && r == 0)
		return -EEXIST;
	if ((flags & XATTR_SET_REPLACE) && r == -ENODATA)
		return -ENODATA;
	return xattr_put(transaction, inode, name, value, len);
}

/* An ACL without entries means that there is to be none. */
static int set_default_acl(struct transaction *transaction, struct inode *inode, const void *value, size_t len, unsigned flags)
{
	size_t entries = 0;
	int r = len > 0 ? acl_check(value, len, &entries) : 0;

	if (r < 0)
		return r;
	if (entries == 0)
		return xattr_delete(transaction, inode, ACL_DEFAULT);
	if (!S_ISDIR(inode->record.mode))
		return -EACCES;
	return set_plain(transaction, inode, ACL_DEFAULT, value, len, flags);
}

/* The permission bits follow the ACL, and an ACL that says no more than they do is not kept. */
static int set_access_acl(struct transaction *transaction, struct inode *inode, const void *value, size_t len, unsigned flags)
{
	bool is_equivalent = false;
	uint32_t mode;
	size_t entries = 0;
	int r = len > 0 ? acl_check(value, len, &entries) : 0;

	if (r == 0 && entries > 0)
		r = acl_to_mode(value, len, inode->record.mode, &mode, &is_equivalent);
	if (r < 0)
		return r;
	if (entries > 0)
		inode->record.mode = mode;
	if (flags & XATTR_SET_KILL_SGID)
		inode->record.mode &= ~(uint32_t)S_ISGID;
	if (entries == 0 || is_equivalent)
		return xattr_delete(transaction, inode, ACL_ACCESS);
	return set_plain(transaction, inode, ACL_ACCESS, value, len, flags);
}

static int set_any(struct transaction *transaction, struct inode *inode, const char *name, const void *value, size_t len, unsigned flags)
{
	bool is_access = strcmp(name, ACL_ACCESS) == 0, is_default = strcmp(name, ACL_DEFAULT) == 0;

	if ((is_access || is_default) && S_ISLNK(inode->record.mode))
		return -EOPNOTSUPP;
	if (is_access)
		return set_access_acl(transaction, inode, value, len, flags);
	if (is_default)
		return set_default_acl(transaction, inode, value, len, flags);
	return set_plain(transaction, inode, name, value, len, flags);
}

static int finish(struct transaction *transaction, struct inode *inode, int r)
{
	inode->record.ctime = clock_now();
	transaction_put(transaction, inode);
	r = transaction_write(transaction, r);
	transaction_end(transaction);
	inode_put(inode);
	return r;
}

int view_xattr_set(struct view *view, uint64_t ino, const char *name, const void *value, size_t len, unsigned flags)
{
	struct transaction transaction;
	struct inode *inode;
	int r = view_check_change(view);

	if (r == 0)
		r = check_name(name);
	if (r == 0 && len > XATTR_VALUE_MAX)
		r = -E2BIG;
	if (r == 0)
		r = space_check(view->tree->space, len, 0);
	if (r == 0)
		r = inode_get(view, ino, &inode);
	if (r < 0)
		return r;
	transaction_begin(&transaction, view, &inode, 1);
	r = inode->gone ? -ESTALE : set_any(&transaction, inode, name, value, len, flags);
	return finish(&transaction, inode, r);
}

int view_xattr_remove(struct view *view, uint64_t ino, const char *name)
{
	AUTO_BUF old = BUF_INIT;
	struct transaction transaction;
	struct inode *inode;
	int r = view_check_change(view);

	if (r == 0)
		r = check_name(name);
	if (r == 0)
		r = inode_get(view, ino, &inode);
	if (r < 0)
		return r;
	transaction_begin(&transaction, view, &inode, 1);
	r = inode->gone ? -ESTALE : xattr_load(&transaction, inode, name, &old);
	if (r == 0)
		r = xattr_delete(&transaction, inode, name);
	return finish(&transaction, inode, r);
}
