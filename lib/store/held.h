/* Snapshots that are held are not destroyed, alone or with their dataset. */
#ifndef CORPUSFS_STORE_HELD_H
#define CORPUSFS_STORE_HELD_H

#include "lib/store/catalog.h"

/* 0; -EBUSY: it is, by whom, and the commands that end that. */
WARN_UNUSED int held_check(const struct snapshot *snapshot, struct error *err);

#endif
