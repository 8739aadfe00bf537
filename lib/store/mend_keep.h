/* Before a repair changes a database: all of it is kept beside it. Internal to lib/store; the caller holds the store's lock. */
#ifndef CORPUSFS_STORE_MEND_KEEP_H
#define CORPUSFS_STORE_MEND_KEEP_H

#include "lib/store/mend.h"
#include "lib/store/store_dir.h"

/*
 * Makes the directory before-repair-TIME of the store, a database that can take the place of this one. *ret_kept: its path, for people,
 * freed by the caller. It shares what never changes with the database, so it takes little room until that is merged.
 */
WARN_UNUSED int mend_keep(const struct store_dir *dir, const char *db, char **ret_kept, struct error *err);

#endif
