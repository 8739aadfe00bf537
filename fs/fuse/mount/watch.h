/*
 * Looks whether requests of the group's mounts wait for long, and has each such request told once, with its age and where it waits. The
 * same is to be had by mount_get_waiting().
 */
#ifndef CORPUSFS_FUSE_MOUNT_WATCH_H
#define CORPUSFS_FUSE_MOUNT_WATCH_H

#include "fs/fuse/mount/mount.h"

struct watch;

struct watch *watch_new(struct mount_group *group);
void watch_free(struct watch *watch);

#endif
