/*
 * When content is committed, and by whom. Internal to lib/tree; inode.h has what others use.
 *
 * Inodes with something to commit stand on one list, oldest first. A committer (one of two background threads, or whoever calls
 * committer_run) claims some of one view, commits them as one group (commit.c) and gives them up. Two threads, so that the cutting and
 * hashing of one group overlaps with the writing of the other.
 *
 *   clean --committer_note--> listed --claim--> claimed --success--> clean
 *                               ^---------------- | failure, or written meanwhile
 */
#ifndef CORPUSFS_TREE_CONTENT_COMMITTER_H
#define CORPUSFS_TREE_CONTENT_COMMITTER_H

#include "lib/tree/records/inode.h"

#define COMMIT_GROUP_INODES 4096
#define COMMIT_GROUP_BYTES (64ULL << 20)

/* -ENOSPC when the disk has no room for `len` more bytes beside those already buffered. */
WARN_UNUSED int committer_check_space(struct tree *tree, size_t len);
/* Accounts bytes without waiting. */
void committer_charge(struct tree *tree, size_t len);
uint64_t committer_budget(const struct tree *tree);
struct block_pool *committer_blocks(struct tree *tree);

/*
 * commit.c: commits claimed inodes of one view, whole or, on failure, in part: what was not committed is buffered and listed again.
 * Caller holds no lock but the claims.
 */
WARN_UNUSED int commit_group(struct view *view, struct inode **inodes, size_t count);

#endif
