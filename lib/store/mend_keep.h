/*
 * What all repairs of a database do: they hold the store's lock, and before they change it, all of it is kept beside it. Internal to lib/store; the
 * caller of all but mend_locked() holds the lock.
 */
#ifndef CORPUSFS_STORE_MEND_KEEP_H
#define CORPUSFS_STORE_MEND_KEEP_H

#include "lib/store/mend.h"
#include "lib/store/store_dir.h"

#define MENDING_NAME "mending"           /* a copy that is being changed, or is not needed any more */
#define MENDING_KEPT_NAME "mending-kept" /* a copy that is being made */

/*
 * Runs `mend` with the lock of the store at `path`. Unless it says that it has changed the database, the record of the last owner is as it was then.
 * Errors: those of opening and locking, and of `mend`.
 */
typedef int (*mend_fn)(void *arg, const struct store_dir *dir, bool *changed, struct error *err);
WARN_UNUSED int mend_locked(const char *path, mend_fn mend, void *arg, struct error *err);

/* Of a repair that was interrupted. Nobody needs what it left: what is to be kept gets its name, before-repair-TIME, once it is whole. */
bool mend_is_unfinished(const struct store_dir *dir);
void mend_sweep(const struct store_dir *dir); /* removes it */
void mend_remove(const struct store_dir *dir, const char *name); /* a directory of files, if it is there */

/* The database that is to be mended: its name in the store, its path, and what people call it; both are the caller's. -EBADMSG: there is none. */
WARN_UNUSED int mend_find(const struct store_dir *dir, char ret_name[DATABASE_NAME_MAX], char **ret_path, char **ret_shown, struct error *err);

/*
 * Makes the directory before-repair-TIME of the store, a database that can take the place of this one. *ret_kept: its path, for people,
 * freed by the caller. What an interrupted repair has left is removed first. It shares what never changes with the database, so it takes
 * little room until that is merged.
 */
WARN_UNUSED int mend_keep(const struct store_dir *dir, const char *db, char **ret_kept, struct error *err);

#endif
