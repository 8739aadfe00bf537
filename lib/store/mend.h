/*
 * Opening a store again that is refused because a log ends before what was on disk: the store becomes what it was before that. First the
 * whole database is kept as it is in a directory of the store, before-repair-TIME; to undo, that directory takes the place of db.
 */
#ifndef CORPUSFS_STORE_MEND_H
#define CORPUSFS_STORE_MEND_H

#include <stdbool.h>

#include "lib/base/error.h"

#define STORE_KEPT "before-repair-" /* how the names of such directories begin */

struct store_mended {
	char *lost; /* what is lost, in one line; NULL: the store is whole, and nothing is to be done */
	bool is_unsure; /* that is only what tells whether changes are */
	char *kept; /* where the database is kept as it was; NULL: nothing was changed */
	bool unfinished; /* store_mend_manifest(): a repair was interrupted before; what it has left, copies that nobody needs, goes with `apply` */
};

/* Without `apply` it only looks. -EBUSY: the store is in use; -EBADMSG: it is damaged in a way that this does not mend; others. */
WARN_UNUSED int store_mend(const char *path, bool apply, struct store_mended *ret_mended, struct error *err);
void store_mended_clear(struct store_mended *mended);

#endif
