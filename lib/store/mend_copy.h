/*
 * A repair changes a copy of the database, which then takes the database's place at one moment: whoever dies before has changed nothing. And
 * the database as it was is kept (mend_keep.h), so nothing is removed that is not kept.
 *
 *   mend_copy_begin -> changes in copy->path -> mend_copy_finish, or mend_copy_drop
 *
 * Internal to lib/store; the caller holds the store's lock.
 */
#ifndef CORPUSFS_STORE_MEND_COPY_H
#define CORPUSFS_STORE_MEND_COPY_H

#include "lib/store/mend_keep.h"

struct mend_copy {
	char *path;  /* where it is changed */
	char *shown; /* the database, for people */
	char *kept;  /* where it is kept as it was, for people */
	char name[DATABASE_NAME_MAX];
};

/* `name` is that of the database. After a failure there is no copy, and nothing to drop. */
WARN_UNUSED int mend_copy_begin(const struct store_dir *dir, const char *name, struct mend_copy *ret_copy, struct error *err);
/* *ret_kept: copy->kept, freed by the caller. After a failure all is as it was before mend_copy_begin(). */
WARN_UNUSED int mend_copy_finish(const struct store_dir *dir, struct mend_copy *copy, char **ret_kept, struct error *err);
void mend_copy_drop(const struct store_dir *dir, struct mend_copy *copy); /* all is as it was before; also one that was never begun */

#endif
