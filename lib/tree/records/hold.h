/*
 * Holding writers back for a moment. A thread that buffers a write enters before it and leaves after it. A thread that begins to hold waits
 * until all who entered have left. Newcomers wait until the hold ends. The view may have been locked or retired meanwhile: whoever has entered
 * looks (view_check_change). Internal to lib/tree.
 *
 * Between entering and leaving, a writer waits for nothing: he holds no lock when he enters, he has his room in the budget by then, and he
 * enters one hold at a time. So a hold begins as soon as the writers inside have copied their bytes.
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
