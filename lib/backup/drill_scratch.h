/*
 * The scratch space of a drill: a directory of its own, corpusfs-drill-XXXXXX, in a place where others may write as well, /var/tmp for example. Its file
 * "lock" is held (flock) as long as the drill lives. What a drill that was killed has left, perhaps a whole dataset, the next one there removes.
 *
 *   D1  Removed is only what is ours: a directory of that name, no symbolic link to one, on the filesystem of the place, that belongs to us and in which
 *       nobody else may write, if we can take its lock. What cannot be removed stays, and keeps no drill from its work.
 *   D2  The lock goes last. So a directory without one is just being made, or was as good as gone: if it is empty, it goes.
 *   D3  Whoever finds that the directory he makes is gone, or that somebody has its lock, makes another one.
 *
 * Where a filesystem has no locks, what a killed drill has left stays.
 *
 * One thread.
 */
#ifndef CORPUSFS_BACKUP_DRILL_SCRATCH_H
#define CORPUSFS_BACKUP_DRILL_SCRATCH_H

#include "lib/base/error.h"

struct drill_scratch {
	char *path; /* owned */
	int place, dir, lock;
};
#define DRILL_SCRATCH_NONE ((struct drill_scratch){NULL, -1, -1, -1})

/* Removes what drills of this user that have died left in the place. */
void drill_scratch_sweep(const char *place);
WARN_UNUSED int drill_scratch_make(const char *place, struct drill_scratch *ret_scratch, struct error *err);
/* With all that is in it. Ends the object, whatever it returns. */
WARN_UNUSED int drill_scratch_remove(struct drill_scratch *scratch);

#endif
