/*
 * Readers are counted by turns, of which two are counted at a time. The collector begins the next turn and waits until the one before is empty;
 * nobody enters that any more. Whoever enters counts himself and then looks whether the turn is still the same: so either he sees the new turn,
 * or the collector, who looks afterwards, sees him.
 */
#include "lib/tree/records/readers.h"

#include "lib/base/clock.h"
#include "lib/tree/records/view_inside.h"

#define POLL_US 2000

static _Atomic unsigned *count_of(struct readers *readers, unsigned turn)
{
	return &readers->inside[turn & 1];
}

unsigned readers_enter(struct tree *tree)
{
	struct readers *readers = &tree->readers;

	for (;;) {
		unsigned turn = atomic_load(&readers->turn);

		atomic_fetch_add(count_of(readers, turn), 1);
		if (atomic_load(&readers->turn) == turn)
			return turn;
		atomic_fetch_sub(count_of(readers, turn), 1);
	}
}

void readers_leave(struct tree *tree, unsigned turn)
{
	atomic_fetch_sub(count_of(&tree->readers, turn), 1);
}

static int wait_empty(struct readers *readers, unsigned turn, int (*step)(void *arg), void *arg)
{
	int result = 0;

	while (result == 0 && atomic_load(count_of(readers, turn)) > 0) {
		result = step(arg);
		clock_pause_us(POLL_US);
	}
	return result;
}

int readers_wait(struct tree *tree, int (*step)(void *arg), void *arg)
{
	struct readers *readers = &tree->readers;
	unsigned turn = atomic_load(&readers->turn);
	/* those of the turn before are there only if a wait was stopped */
	int result = wait_empty(readers, turn - 1, step, arg);

	if (result < 0)
		return result;
	atomic_store(&readers->turn, turn + 1);
	return wait_empty(readers, turn, step, arg);
}

uint64_t readers_moves(struct tree *tree)
{
	return atomic_load(&tree->readers.moves);
}

void readers_hold_moves(struct tree *tree)
{
	rwlock_read(&tree->readers.moving);
}

void readers_release_moves(struct tree *tree)
{
	rwlock_give(&tree->readers.moving);
}

void readers_move_begin(struct tree *tree)
{
	rwlock_write(&tree->readers.moving);
}

void readers_move_end(struct tree *tree)
{
	atomic_fetch_add(&tree->readers.moves, 1);
	rwlock_give(&tree->readers.moving);
}
