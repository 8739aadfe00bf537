/*
 * Whether those who look files up go on to read them whole, by what they did with the last ones: programs that read many files one after the
 * other do, `ls -l` and find do not. A guess, and of use only if a wrong one does no harm.
 *
 *   habit_looked_up(habit, node)    a file was looked up; true: whoever did that will probably read it now
 *   habit_read(habit, node)         a file is read, all of it at once
 *
 * Threads: any, without locks.
 */
#ifndef CORPUSFS_FUSE_GROUP_HABIT_H
#define CORPUSFS_FUSE_GROUP_HABIT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* So many files may have been looked up, by several processes, before the first of them is read. */
#define HABIT_FILES 32
/* So many in a row must have been read before one is expected to be. */
#define HABIT_ENOUGH 4

/* All zeros at first. */
struct habit {
	_Atomic uint64_t waiting[HABIT_FILES]; /* nodes that were looked up and not read yet; 0: none */
	atomic_uint next;
	atomic_uint kept; /* grows with each that was read, and is halved by each that was not */
};

bool habit_looked_up(struct habit *habit, uint64_t node);
void habit_read(struct habit *habit, uint64_t node);

#endif
