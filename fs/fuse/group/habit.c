#include "fs/fuse/group/habit.h"

/* Two or three that were not read end what many have shown. */
#define KEPT_MAX (4U * HABIT_ENOUGH)

bool habit_looked_up(struct habit *habit, uint64_t node)
{
	const unsigned place = atomic_fetch_add(&habit->next, 1) % HABIT_FILES;

	if (atomic_exchange(&habit->waiting[place], node))
		atomic_store(&habit->kept, atomic_load(&habit->kept) / 2);
	return atomic_load(&habit->kept) >= HABIT_ENOUGH;
}

void habit_read(struct habit *habit, uint64_t node)
{
	for (unsigned i = 0; i < HABIT_FILES; i++) {
		uint64_t waiting = node;

		if (!atomic_compare_exchange_strong(&habit->waiting[i], &waiting, 0))
			continue;
		if (atomic_load(&habit->kept) < KEPT_MAX)
			atomic_fetch_add(&habit->kept, 1);
		return;
	}
}
