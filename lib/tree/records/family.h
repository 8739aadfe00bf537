/*
 * Families give out inode numbers and epochs. Internal to lib/tree.
 *
 * No number is given out twice, whatever crashes. The family's record holds an inode number above all that were given out: it moves in
 * strides, and is synced before the first number of a stride is used. It also holds the next epoch, written before that is given out.
 *
 * A family stays in memory from its first use until tree_free. Threads: any.
 */
#ifndef CORPUSFS_TREE_RECORDS_FAMILY_H
#define CORPUSFS_TREE_RECORDS_FAMILY_H

#include "lib/tree/records/view_inside.h"

WARN_UNUSED int family_get(struct tree *tree, uint32_t id, struct family **ret_family); /* -ENOENT, -EBADMSG */
void families_free(struct tree *tree);
WARN_UNUSED int family_next_ino(struct tree *tree, struct family *family, uint64_t *ret_ino); /* -ENOSPC: all numbers are used up */

#endif
