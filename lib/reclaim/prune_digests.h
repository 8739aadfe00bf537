/* Prunes digest records ('H'), as prune.c prunes versions. Internal to lib/reclaim. */
#ifndef CORPUSFS_RECLAIM_PRUNE_DIGESTS_H
#define CORPUSFS_RECLAIM_PRUNE_DIGESTS_H

#include "lib/store/catalog.h"

/*
 * Removes the family's records that no living view would find: of each inode those that are the newest in no living line. Small batches;
 * `step` is called between them, without locks; not 0 stops with that result. Without living views all go.
 */
WARN_UNUSED int digests_prune(struct store *store, uint32_t family, int (*step)(void *arg, uint64_t inodes, uint64_t versions), void *arg);

#endif
