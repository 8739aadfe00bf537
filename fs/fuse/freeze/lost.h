/*
 * What was accepted before a crash, and could not be taken over (lib/tree/content/replay.h); above all what programs stored into mapped
 * files, and the daemon could not take when the kernel wrote it back: the disk or a quota was full, say. The
 * kernel forgets such pages, and tells only who calls fsync or msync. So it is kept here which files they were of, until those were told who
 * rely on it: who asks for everything to be on disk (sync, umount, the end of a mount), and who takes a snapshot. Each kind is told once, but
 * whoever unmounts a place is told although the end of the mount comes later.
 *
 * Threads: any.
 */
#ifndef CORPUSFS_FUSE_FREEZE_LOST_H
#define CORPUSFS_FUSE_FREEZE_LOST_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "fs/fuse/session/node.h"

struct lost_file;

struct lost {
	pthread_mutex_t lock; /* guards the table */
	struct lost_file *by_node;
	_Atomic int *kept; /* the error, while not all were told; NULL: nowhere */
};

void lost_init(struct lost *lost);
/* A daemon that goes on after a crash finds there that something was lost. */
void lost_keep(struct lost *lost, _Atomic int *kept);
void lost_clear(struct lost *lost);

/* `error`: negative errno. True: nobody knew of this file. */
bool lost_note(struct lost *lost, uint64_t node, int error);

/* What was told of: the first error, and of which file. Of the whole mount, as after a crash: its root. */
struct lost_told {
	int error; /* 0: of nothing */
	struct node file;
};
/* What that asker was not told of yet, and now is. Of one view (by `root`), or of all when it is 0. */
enum lost_asker { LOST_SYNC, LOST_SNAPSHOT, LOST_LOOK }; /* the last: nobody counts as told */
void lost_tell(struct lost *lost, enum lost_asker asker, uint32_t view, const struct node_root *root, struct lost_told *told);

#endif
