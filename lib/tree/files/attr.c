#include <errno.h>
#include <sys/stat.h>

#include "lib/base/clock.h"
#include "lib/tree/content/content.h"
#include "lib/tree/content/pending.h"
#include "lib/tree/files/acl.h"
#include "lib/tree/files/files.h"
#include "lib/tree/files/xattr.h"

#define SET_TIMES (SET_ATIME | SET_MTIME)

/* Gives the reference back. */
static int take_attr(struct inode *inode, bool removed_too, struct attr *ret_attr)
{
	int r = 0;

	mutex_take(&inode->lock);
	if (inode->gone && !removed_too)
		r = -ESTALE;
	else
		inode_fill_attr(inode, ret_attr);
	mutex_give(&inode->lock);
	inode_put(inode);
	return r;
}

static int get_attr(struct view *view, uint64_t ino, bool removed_too, struct attr *ret_attr)
{
	struct inode *inode;
	int r = inode_get(view, ino, &inode);

	return r < 0 ? r : take_attr(inode, removed_too, ret_attr);
}

int view_getattr(struct view *view, uint64_t ino, struct attr *ret_attr)
{
	return get_attr(view, ino, false, ret_attr);
}

int view_getattr_removed(struct view *view, uint64_t ino, struct attr *ret_attr)
{
	return get_attr(view, ino, true, ret_attr);
}

/* --- of many --- */

/*
 * What is in memory is newer than what is on disk, so it is asked first. What was not there may have been there when the scan of the disk
 * began, and have been written since: then the scan begins anew.
 */
struct attr_scan {
	struct view *view;
	struct tree_key first, end;
	struct version_scan *versions; /* NULL: not begun */
	uint64_t evictions;            /* when it was begun */
};

struct attr_scan *attr_scan_new(struct view *view, uint64_t first, uint64_t last)
{
	struct attr_scan *scan = xcalloc(1, sizeof(*scan));

	scan->view = view;
	scan->first = tree_prefix_inode(view->family_id, first);
	scan->end = tree_prefix_end(tree_prefix_inode(view->family_id, last));
	return scan;
}

void attr_scan_free(struct attr_scan *scan)
{
	if (!scan)
		return;
	version_scan_free(scan->versions);
	free(scan);
}

static void begin(struct attr_scan *scan, uint64_t evictions)
{
	struct view *view = scan->view;

	version_scan_free(scan->versions);
	scan->evictions = evictions;
	rwlock_read(&view->epoch_lock);
	scan->versions = version_scan_new(view->tree->kv, &view->line, &scan->first, &scan->end);
	rwlock_give(&view->epoch_lock);
}

static int scan_disk(struct attr_scan *scan, uint64_t ino, struct attr *ret_attr)
{
	struct tree_key stem = tree_stem_inode(scan->view->family_id, ino);
	uint64_t evictions = atomic_load(&scan->view->tree->evictions);
	struct inode_record record;
	const uint8_t *value;
	size_t len;
	int r;

	if (!scan->versions || scan->evictions != evictions)
		begin(scan, evictions);
	r = version_scan_get(scan->versions, &stem, &value, &len);
	if (r == 0)
		r = inode_record_decode(value, len, &record);
	if (r < 0)
		return r == -ENOENT ? -ESTALE : r == -EBADMSG ? -EIO : r;
	*ret_attr = attr_of_record(ino, &record);
	return 0;
}

int attr_scan_get(struct attr_scan *scan, uint64_t ino, struct attr *ret_attr)
{
	struct inode *inode;
	int r = inode_find(scan->view, ino, &inode);

	if (r == -ENOENT)
		return scan_disk(scan, ino, ret_attr);
	return r < 0 ? r : take_attr(inode, false, ret_attr);
}

/* --- parts of a transaction; the inode is locked --- */

static int set_mode(struct transaction *transaction, struct inode *inode, uint32_t mode)
{
	AUTO_BUF acl = BUF_INIT;
	int r;

	inode->record.mode = (inode->record.mode & S_IFMT) | (mode & 07777);
	r = xattr_load(transaction, inode, ACL_ACCESS, &acl);
	if (r < 0)
		return r == -ENODATA ? 0 : r;
	r = acl_chmod(&acl, mode);
	if (r < 0)
		return r == -EINVAL ? -EIO : r;
	return xattr_put(transaction, inode, ACL_ACCESS, acl.data, acl.len);
}

static void set_times(struct inode *inode, const struct setattr *set, struct timespec now)
{
	struct inode_record *record = &inode->record;

	if (set->mask & SET_SIZE)
		record->mtime = now;
	if (set->mask & SET_ATIME)
		record->atime = set->atime;
	if (set->mask & SET_MTIME)
		record->mtime = set->mtime;
	record->ctime = now;
}

static int apply(struct transaction *transaction, struct inode *inode, const struct setattr *set)
{
	int r = inode->gone && (set->mask & SET_SIZE) ? -ESTALE : 0;

	if (r == 0 && (set->mask & (SET_UID | SET_GID | SET_KILL_PRIV)))
		r = content_kill_privileges_in(transaction, inode, set->mask & SET_OUTSIDER);
	if (r == 0 && (set->mask & SET_UID))
		inode->record.uid = set->uid;
	if (r == 0 && (set->mask & SET_GID))
		inode->record.gid = set->gid;
	if (r == 0 && (set->mask & SET_MODE))
		r = set_mode(transaction, inode, set->mode);
	if (r == 0 && (set->mask & SET_SIZE))
		r = content_truncate(transaction, inode, set->size);
	if (r == 0)
		set_times(inode, set, clock_now());
	return r;
}

/* --- the whole --- */

/* Times alone, of a file whose content waits to be committed, go with that commit: `cp -p` and `tar` set them right after writing. */
static bool defer_times(struct inode *inode, const struct setattr *set, struct attr *ret_attr)
{
	struct journal *journal = inode->view->tree->journal;
	struct journal_record *record = NULL;
	bool is_deferred = false;

	if ((set->mask & ~SET_TIMES) != 0)
		return false;
	mutex_take(&inode->lock);
	if (journal && inode->active.records.count > 0)
		record = journal_take(journal, 0);
	if (inode->active.bytes > 0 && !inode->gone && (record || !journal)) {
		set_times(inode, set, clock_now());
		inode->times_dirty = true;
		inode_count_record(inode, record, JOURNAL_TIMES, 0, 0);
		dirty_keep_last(&inode->active);
		pending_note(inode);
		inode_fill_attr(inode, ret_attr);
		is_deferred = true;
	} else if (record) {
		journal_forget(journal, record);
	}
	mutex_give(&inode->lock);
	return is_deferred;
}

static int change_attributes(struct inode *inode, const struct setattr *set, struct attr *ret_attr)
{
	bool is_resized = set->mask & SET_SIZE;
	struct transaction transaction;
	int r = is_resized ? content_shorten(inode, set->size) : 0;

	if (r < 0)
		return r;
	mutex_take(&inode->lock);
	if (is_resized)
		inode_wait_drained(inode);
	transaction_begin_locked(&transaction, inode);
	r = apply(&transaction, inode, set);
	/* nothing of what was removed is stored any more */
	if (!inode->gone)
		transaction_put(&transaction, inode);
	r = transaction_write(&transaction, r);
	transaction_end(&transaction);
	if (r == 0 && is_resized)
		content_truncated(inode);
	if (r == 0)
		inode_fill_attr(inode, ret_attr);
	mutex_give(&inode->lock);
	return r;
}

int view_setattr(struct view *view, uint64_t ino, const struct setattr *change, struct attr *ret_attr)
{
	struct inode *inode;
	int r = view_check_change(view);

	if (r == 0)
		r = inode_get(view, ino, &inode);
	if (r < 0)
		return r;
	if ((change->mask & SET_SIZE) && !S_ISREG(inode->record.mode))
		r = S_ISDIR(inode->record.mode) ? -EISDIR : -EINVAL;
	else if (!defer_times(inode, change, ret_attr))
		r = change_attributes(inode, change, ret_attr);
	inode_put(inode);
	return r;
}
