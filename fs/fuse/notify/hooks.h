/*
 * What the store tells the mounts: which views to freeze, and what changed past them, so that no kernel cache shows what is no longer so.
 *
 * Threads: hooks_set and hooks_clear while no operation of the store runs.
 */
#ifndef CORPUSFS_FUSE_NOTIFY_HOOKS_H
#define CORPUSFS_FUSE_NOTIFY_HOOKS_H

#include "fs/fuse/group/mount_group.h"

void hooks_set(struct mount_group *group);
void hooks_clear(struct mount_group *group);

/* What the daemon before this one has not told to the kernel any more, whatever it is. */
void hooks_tell_all(struct mount *mount);

#endif
