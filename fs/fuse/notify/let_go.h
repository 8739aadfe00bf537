/*
 * What the kernel remembers of a head that was replaced: names by the million, perhaps. None of them answers any more (hooks.c), but they take
 * up memory, and whoever comes first to the dataset's name would wait until all of them are gone. So they go in the background, one name of
 * the old root after the other, and nobody waits for more than one of them.
 *
 * Threads: any.
 */
#ifndef CORPUSFS_FUSE_NOTIFY_LET_GO_H
#define CORPUSFS_FUSE_NOTIFY_LET_GO_H

#include <stdint.h>

struct mount;

/* Of a mount of the whole store: what it remembers of `old_view`, in whose place `view` came. Returns at once. */
void let_go(struct mount *mount, uint32_t old_view, uint32_t view);

#endif
