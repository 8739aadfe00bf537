/*
 * One change of a few inodes as one write batch. Internal to lib/tree.
 *
 *   change_begin     locks the inodes in ascending order, then the epoch
 *   ...              the caller alters inode->record, adds to change.batch, and names the inodes whose records go into it (change_put)
 *   change_write     writes, unless `result` is an error already; on failure the records are as they were before, and nothing is dying
 *   change_end       unlocks; always called, also when nothing was written
 *   change_finish    after change_end, without locks: removes what the change left without a name
 *
 * A change belongs to one thread.
 */
#ifndef CORPUSFS_TREE_RECORDS_TRANSACTION_H
#define CORPUSFS_TREE_RECORDS_TRANSACTION_H

#include "lib/tree/records/inode.h"

#define CHANGE_INODES 4

struct change {
	struct view *view;
	struct kv_batch *batch;
	struct change_item {
		struct inode *inode;
		struct inode_record saved;
		uint64_t saved_size;
		bool put;
	} items[CHANGE_INODES]; /* by inode number */
	size_t count;
	struct inode *dying;     /* lost its last name in this change and is not open */
	bool is_dying_removed;   /* its records go in the batch itself */
};

/* NULLs and repetitions are fine. `drained`, with one inode only: waits until no committer is at work on it. */
void change_begin(struct change *change, struct view *view, struct inode *const *inodes, size_t count, bool drained);
void change_put(struct change *change, struct inode *inode);
WARN_UNUSED int change_write(struct change *change, int result);
void change_end(struct change *change);

/* orphan.c: the inode lost its last name (record.nlink is 0). Adds to the batch the removal of its records, or that it is an orphan. */
WARN_UNUSED int change_orphan(struct change *change, struct inode *inode);
void change_finish(struct change *change);

/* orphan.c: removes what belongs to an inode that is `gone`. The caller has a reference and no lock. */
WARN_UNUSED int inode_bury(struct inode *inode);
/* Drops buffered content of an inode that is `gone` and drained. Caller holds inode->lock. */
void inode_drop_buffered(struct inode *inode);

/* inode.c: of a locked inode */
void inode_fill_attr(const struct inode *inode, struct attr *ret_attr);
/* inode.c: of one that is not in memory */
struct attr record_attr(uint64_t ino, const struct inode_record *record);
/* inode.c: forgets all inodes of a view that is being closed. */
void inode_cache_empty(struct view *view);

#endif
