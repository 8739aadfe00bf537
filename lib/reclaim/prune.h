/*
 * Removes versions that no view sees, for each destroyed view in turn. Internal to lib/reclaim; gc.c calls it, one at a time.
 *
 * `step` is called between steps, without locks, with what was done since the last call; not 0 stops with that result. Resumable: what is
 * left is found in the 'P' records, by this process or the next.
 */
#ifndef CORPUSFS_RECLAIM_PRUNE_H
#define CORPUSFS_RECLAIM_PRUNE_H

#include "lib/store/catalog.h"

WARN_UNUSED int prune_all(struct store *store, int (*step)(void *arg, uint64_t inodes, uint64_t versions), void *arg);

/* Whether prune_all would find something: a destroyed view that nobody has open. */
bool prune_wanted(struct store *store);

#endif
