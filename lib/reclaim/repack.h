/* Gives back what is wasted in worn chunks (parts.h). Internal to lib/reclaim; one at a time. */
#ifndef CORPUSFS_RECLAIM_REPACK_H
#define CORPUSFS_RECLAIM_REPACK_H

#include "lib/reclaim/parts.h"
#include "lib/store/catalog.h"

/*
 * Copies what is named of the worn chunks into new ones, and lets the extents name these; then the next mark finds the old ones dead. It stops
 * where the disk has no room for more. `step` is called between steps, without locks, with the bytes copied since the last; not 0 stops
 * with that result. *ret_bytes: so many were copied.
 */
WARN_UNUSED int repack(struct store *store, const struct parts *parts, int (*step)(void *arg, uint64_t bytes), void *arg, uint64_t *ret_bytes);

#endif
