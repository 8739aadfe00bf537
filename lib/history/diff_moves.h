/*
 * Names that inodes of both trees lost and gained, and which of them make a rename. Internal to lib/history.
 *
 *   diff_moves_init -> diff_moves_note ... -> diff_moves_pair -> diff_moves_find ... -> diff_moves_clear
 *
 * An inode's lost names and its gained names, each in the order in which they were noted, make pairs; what is left over makes none.
 */
#ifndef CORPUSFS_HISTORY_DIFF_MOVES_H
#define CORPUSFS_HISTORY_DIFF_MOVES_H

#include "lib/base/spill.h"
#include "lib/history/diff_walk.h"

struct diff_moves {
	struct spill *lost, *gained; /* inode, order -> directory, name; of lost ones the path */
	struct spill *paired;        /* which, inode, directory, name -> of gained ones the old path */
	uint64_t order;
};

void diff_moves_init(struct diff_moves *moves, size_t memory);
void diff_moves_clear(struct diff_moves *moves);
WARN_UNUSED int diff_moves_note(struct diff_moves *moves, const struct diff_name *name);
WARN_UNUSED int diff_moves_pair(struct diff_moves *moves);

/* 1: it has a partner; the old path of a gained name is put into `old_path`, with a NUL. 0: it has none. */
WARN_UNUSED int diff_moves_find(const struct diff_moves *moves, const struct diff_name *name, struct buf *old_path, bool *ret_too_deep);

#endif
