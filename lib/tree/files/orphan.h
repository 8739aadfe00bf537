/* The end of an inode (orphan.c). Internal to lib/tree. */
#ifndef CORPUSFS_TREE_FILES_ORPHAN_H
#define CORPUSFS_TREE_FILES_ORPHAN_H

#include "lib/tree/inodes/transaction.h"

/* The inode lost its last name (record.nlink is 0). Adds to the batch the removal of its records, or that it is an orphan. */
WARN_UNUSED int orphan_add(struct transaction *transaction, struct inode *inode);
/* After transaction_end, without locks: removes what the transaction left without a name. */
void orphan_finish(struct transaction *transaction);

/* Removes what belongs to an inode that is `gone`. The caller has a reference and no lock. */
WARN_UNUSED int orphan_bury(struct inode *inode);

#endif
