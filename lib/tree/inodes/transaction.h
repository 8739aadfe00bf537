/*
 * One change of some inodes of a view as one write batch. Internal to lib/tree.
 *
 *   transaction_begin    locks the inodes in ascending order, then the epoch
 *   ...                  the caller alters inode->record and inode->size, adds to transaction.batch, and names the inodes whose records go
 *                        into it (transaction_put)
 *   transaction_write    writes, unless `result` is an error already; on failure records, sizes and inline data are as they were before
 *   transaction_end      unlocks; always called, also when nothing was written
 *   orphan_finish        (orphan.h) where a name may have gone: after transaction_end, without locks
 *
 * What else is changed in memory, buffered content above all, is changed after transaction_write said that all is written.
 *
 * A transaction belongs to one thread.
 */
#ifndef CORPUSFS_TREE_INODES_TRANSACTION_H
#define CORPUSFS_TREE_INODES_TRANSACTION_H

#include "lib/base/array.h"
#include "lib/tree/inodes/inode.h"

struct transaction_item {
	struct inode *inode;
	struct inode_record saved;
	uint64_t saved_size;
	struct buf saved_inline;
	bool is_inline_saved, had_inline_data;
	bool put;
	unsigned noted; /* so many of its last records in the journal are of this change */
	struct journal_record *discard; /* NULL: none. Counted when the batch is written */
	uint64_t discard_offset, discard_len;
};

struct transaction {
	struct view *view;
	struct kv_batch *batch; /* owned */
	ARRAY(struct transaction_item) items; /* by inode number */
	bool is_locked_by_caller;
	struct inode *dying;   /* lost its last name and is not open: `gone` once that is written */
	bool is_dying_removed; /* its records go in the batch itself */
	uint64_t made;         /* bytes of content of files that the batch makes past the inodes */
	bool is_promised;      /* the quota was asked when the content was accepted */
};

/* NULLs and repetitions are fine. */
void transaction_begin(struct transaction *transaction, struct view *view, struct inode *const *inodes, size_t count);
/* The same for one inode that the caller has locked; it stays locked. */
void transaction_begin_locked(struct transaction *transaction, struct inode *inode);
void transaction_put(struct transaction *transaction, struct inode *inode);
/* Replaces inline content, in the batch and the record; `data` is copied. len 0: none. Whoever still needs what was there has loaded it. */
WARN_UNUSED int transaction_set_inline(struct transaction *transaction, struct inode *inode, const void *data, size_t len);
/*
 * The journal is told of a change that goes past what is buffered (J3 in journal.h), if it has anything older of the inode. The
 * times need not be set yet. -ENOMEM
 */
WARN_UNUSED int transaction_note(struct transaction *transaction, struct inode *inode, enum journal_kind kind, uint64_t offset, uint64_t len);
/* The same for a range of which the committed content is to count (JOURNAL_DISCARD): one of an inode in a transaction. */
WARN_UNUSED int transaction_note_discard(struct transaction *transaction, struct inode *inode, uint64_t offset, uint64_t len);
WARN_UNUSED int transaction_write(struct transaction *transaction, int result);
void transaction_end(struct transaction *transaction);

#endif
