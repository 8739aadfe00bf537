/*
 * What the kernel remembers of a head that was replaced: names by the million, perhaps. None of them answers any more (hooks.c), but they take
 * up memory, and whoever comes first to a name at the dataset's root would wait until all below it are gone. So they go in the background, one
 * name in a directory of the root after the other, and nobody waits for more than one of them. Those directories are nodes of the old head;
 * names at the root itself are left, since the root is the new head's as well, and somebody may stand in what they stand for by now.
 *
 * Threads: any.
 */
#ifndef CORPUSFS_FUSE_NOTIFY_LET_GO_H
#define CORPUSFS_FUSE_NOTIFY_LET_GO_H

#include <stdint.h>

struct mount;

/* What the mount remembers of `old_view`, in whose place `view` came. Returns at once. */
void let_go(struct mount *mount, uint32_t old_view, uint32_t view);

#endif
