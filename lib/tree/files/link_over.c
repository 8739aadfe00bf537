/* A name is given to a file in the place of what has it. */
#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

#include "lib/base/clock.h"
#include "lib/tree/files/bulk.h"
#include "lib/tree/files/names.h"
#include "lib/tree/files/orphan.h"

/* What lost its name is returned with a reference. */
static int link_over_locked(struct inode *dir, const char *name, struct inode *inode, struct transaction *transaction, struct inode **ret_old)
{
	struct view *view = dir->view;
	struct entry_record record = {.ino = inode->ino, .type = DT_REG};
	struct small_key orphan = catalog_key_orphan(view->dataset, inode->ino);
	struct timespec now = clock_now();
	struct inode *old = NULL;
	struct entry entry;
	int r = entry_get(view, dir->ino, name, &entry);

	if (r == 0 && entry.record.type == DT_DIR)
		return -EISDIR;
	if (r == 0 && entry.record.ino == inode->ino)
		return 0;
	if (r == 0)
		r = inode_get(view, entry.record.ino, &old);
	if (r < 0 && r != -ENOENT)
		return r == -ESTALE ? -EIO : r;
	transaction_begin(transaction, view, (struct inode *[]){dir, inode, old}, 3);
	r = dir_check_alive(dir);
	if (r == 0 && (inode->gone || (inode->record.nlink == 0 && inode->opens == 0)))
		r = -ENOENT;
	if (r == 0 && inode->record.nlink == UINT32_MAX)
		r = -EMLINK;
	if (r == 0) {
		record.type = (uint8_t)IFTODT(inode->record.mode);
		if (inode->record.nlink++ == 0)
			kv_batch_delete(transaction->batch, KV_CATALOG, orphan.bytes, orphan.len);
		inode->record.ctime = now;
		inode->record.parent = dir->ino;
		entry_put(transaction, dir->ino, name, entry.epoch, &record);
		dir_changed(transaction, dir, 0, now);
		transaction_put(transaction, inode);
		r = old ? inode_unlinked(transaction, old, now) : 0;
	}
	r = transaction_write(transaction, r);
	transaction_end(transaction);
	*ret_old = old;
	return r;
}

int view_link_over(struct view *view, uint64_t ino, uint64_t dir, const char *name, uint64_t *ret_replaced)
{
	struct inode *parent, *inode, *old = NULL;
	struct transaction transaction = {.view = view};
	int r = view_check_change(view);

	if (r == 0)
		r = name_check(name);
	if (r == 0)
		r = dir_get(view, dir, &parent);
	if (r < 0)
		return r;
	r = inode_get(view, ino, &inode);
	if (r == 0 && S_ISDIR(inode->record.mode)) {
		inode_put(inode);
		r = -EPERM;
	}
	if (r == 0) {
		mutex_take(&view->names);
		r = link_over_locked(parent, name, inode, &transaction, &old);
		mutex_give(&view->names);
		orphan_finish(&transaction);
		*ret_replaced = old ? old->ino : 0;
		if (old)
			inode_put(old);
		inode_put(inode);
	}
	inode_put(parent);
	return r;
}
