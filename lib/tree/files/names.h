/* What the files that change names share. Internal to lib/tree. */
#ifndef CORPUSFS_TREE_FILES_NAMES_H
#define CORPUSFS_TREE_FILES_NAMES_H

#include "lib/tree/files/files.h"
#include "lib/tree/inodes/transaction.h"

/* An entry as the view sees it. */
struct entry {
	struct entry_record record;
	uint64_t epoch; /* of its version; also when there is only a tombstone. For version_put */
	bool is_last;   /* no older version is stored. For entry_delete */
};

/* -ENOENT when there is no such entry; then only ret_entry->epoch is set. The caller must not hold the epoch lock. */
WARN_UNUSED int entry_get(struct view *view, uint64_t dir, const char *name, struct entry *ret_entry);
void entry_put(struct transaction *transaction, uint64_t dir, const char *name, uint64_t old_epoch, const struct entry_record *record);
/* `entry` is what entry_get found; view->names has been held since. */
WARN_UNUSED int entry_delete(struct transaction *transaction, uint64_t dir, const char *name, const struct entry *entry);

/* -ENOTEMPTY or 0. */
WARN_UNUSED int dir_check_empty(struct view *view, uint64_t dir);

/* A referenced directory; -ENOTDIR, -ESTALE. */
WARN_UNUSED int dir_get(struct view *view, uint64_t ino, struct inode **ret_dir);
/* Of a locked directory: -ENOENT when it was removed and nothing can be made in it. */
WARN_UNUSED int dir_check_alive(const struct inode *dir);
/* The directory's entries changed: its times, and its link count with the subdirectories it won or lost. */
void dir_changed(struct transaction *transaction, struct inode *dir, int subdirectories, struct timespec now);

/* A locked inode loses a name: with the last one (a directory has one only) it goes. */
WARN_UNUSED int inode_unlinked(struct transaction *transaction, struct inode *inode, struct timespec now);
uint64_t inode_left(struct inode *inode); /* its number, if it has a name; 0. Not of a locked one */

#endif
