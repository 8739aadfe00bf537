/* Removing what nobody needs of one inode. Internal to lib/reclaim; prune.c has the rule and its proof. */
#ifndef CORPUSFS_RECLAIM_PRUNE_INODE_H
#define CORPUSFS_RECLAIM_PRUNE_INODE_H

#include "lib/reclaim/visibility.h"

/* A run over a family's destroyed views. */
struct pruning {
	struct store *store;
	uint32_t view;              /* whose 'P' record says what is done */
	struct prune_record record; /* a copy; the one in the catalogue follows with every written cursor */
	struct visibility *visibility;
	uint64_t *looked_at; /* hashed by inode: those that were looked at in this run; NULL: none was */
	int (*step)(void *arg, uint64_t inodes, uint64_t versions);
	void *arg;
};

void pruning_clear(struct pruning *pruning);

/* Nothing, when the inode was looked at lately in this run. */
WARN_UNUSED int prune_inode(struct pruning *pruning, uint64_t ino);

#endif
