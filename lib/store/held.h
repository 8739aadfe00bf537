/* Snapshots that are held are not destroyed, alone or with their dataset. */
#ifndef CORPUSFS_STORE_HELD_H
#define CORPUSFS_STORE_HELD_H

#include "lib/store/catalog.h"

/* 0; -EBUSY: it is, by whom, and the commands that end that. */
WARN_UNUSED int held_check(const struct snapshot *snapshot, struct error *err);

/* The same of all the dataset's at once. Caller holds catalog_lock or change_lock. */
WARN_UNUSED int held_check_all(const struct dataset *dataset, struct error *err);

#endif
