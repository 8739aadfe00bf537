/*
 * Holding writers back for a moment. Whoever buffers a write enters before it and leaves after it; whoever begins to hold waits until
 * all who entered have left, and newcomers wait until the hold ends. Internal to lib/tree.
 *
 * Whoever enters holds no lock, waits for no room in a budget before he leaves, and enters one hold at a time; so beginning to hold
 * ends as soon as the writers inside have copied their bytes.
 */
#ifndef CORPUSFS_TREE_RECORDS_HOLD_H
#define CORPUSFS_TREE_RECORDS_HOLD_H

#include "lib/base/locks.h"

struct hold {
	struct mutex lock; /* guards the numbers */
	pthread_cond_t changed;
	unsigned writers; /* inside */
	unsigned holders;
};

void hold_init(struct hold *hold);
void hold_clear(struct hold *hold);

void hold_enter(struct hold *hold);
void hold_leave(struct hold *hold);

void hold_begin(struct hold *hold);
void hold_end(struct hold *hold);

#endif
