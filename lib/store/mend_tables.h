/*
 * Putting what can still be read of damaged, short and missing tables of the database in their place, so that the store can be used again.
 * First the whole database is kept as it is, as for a damaged log (lib/store/mend.h). What was in the records that are lost is not looked
 * after here: lib/verify/repair_tables.h.
 */
#ifndef CORPUSFS_STORE_MEND_TABLES_H
#define CORPUSFS_STORE_MEND_TABLES_H

#include "lib/base/error.h"
#include "lib/kv/kv.h"

struct store_mend_tables {
	bool apply;                              /* else it only looks */
	int (*step)(void *arg, uint64_t bytes); /* that were read since; may be NULL */
	kv_damaged_table_fn each;
	int (*mended)(void *arg, struct kv *kv); /* the database, mended, before anybody else opens it */
	void *arg;
};

/*
 * Reads all tables of metadata, and those of content if the mark of damaged tables is there (store.h). *ret_kept: where the database is
 * kept as it was, freed by the caller; NULL: nothing was changed. *ret_lost: what a damaged log has lost as well, or NULL. -EBUSY: the store is in use; others.
 */
WARN_UNUSED int store_mend_tables(const char *path, const struct store_mend_tables *options, char **ret_kept, char **ret_lost,
				  struct error *err);

#endif
