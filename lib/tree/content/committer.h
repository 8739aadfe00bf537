/*
 * Who commits, and when. Internal to lib/tree.
 *
 * A committer (one of two background threads, or whoever calls committer_run) claims some of what is pending of one view, commits it as one
 * group (commit.c) and ends the claim. Two threads, so that the cutting and hashing of one group overlaps with the writing of the other.
 */
#ifndef CORPUSFS_TREE_CONTENT_COMMITTER_H
#define CORPUSFS_TREE_CONTENT_COMMITTER_H

#include "lib/tree/inodes/inode.h"

/* tree->pending is there. */
WARN_UNUSED int committer_start(struct tree *tree);
void committer_stop(struct tree *tree);

/* Commits the inode (all of view when inode is NULL, all views when both are NULL) and waits. Caller holds no lock. */
WARN_UNUSED int committer_run(struct tree *tree, struct view *view, struct inode *inode);
/* Commits one group of what may be committed, due or not, if there is any. Caller holds no lock. */
WARN_UNUSED int committer_run_group(struct tree *tree);
/*
 * -ENOSPC when the disk has no room for `len` more bytes. What is being committed is counted twice for a while, in memory and in the file that is
 * written, and what can be compressed is counted as it is: so before it refuses, all that is buffered is committed. Caller holds no lock.
 */
WARN_UNUSED int committer_check_space(struct tree *tree, size_t len);
/* kv_sync, shared by those who ask at the same time. */
WARN_UNUSED int committer_sync(struct tree *tree);

#endif
