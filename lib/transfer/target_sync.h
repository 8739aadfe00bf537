/*
 * Bringing all that was made in a target to the disk. Other filesystems may be mounted within the target, and syncfs(2) is of one only.
 *
 *   (all zero) -> target_sync_meet of each directory that something is made in -> target_sync_all -> target_sync_clear
 *
 * A filesystem in user space never hears of syncfs: Linux sends its dirty pages, does not wait, and asks its daemon for nothing. There each file and
 * each directory is to be synced by who made it.
 *
 * One thread.
 */
#ifndef CORPUSFS_TRANSFER_TARGET_SYNC_H
#define CORPUSFS_TRANSFER_TARGET_SYNC_H

#include <stdbool.h>

#include <sys/types.h>

#include "lib/base/array.h"

struct target_sync {
	ARRAY(struct target_disk {
		dev_t dev;
		int fd; /* a directory there; ours */
		bool by_file;
	}) disks;
};

/* True: what is made in this directory, and at last the directory, is to be synced one by one. */
bool target_sync_meet(struct target_sync *sync, int dir);
WARN_UNUSED int target_sync_all(struct target_sync *sync);
void target_sync_clear(struct target_sync *sync);

#endif
