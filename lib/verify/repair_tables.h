/*
 * Mending a store of which tables are damaged: what can be read is kept (lib/store/mend_tables.h), and what can be derived is made anew
 * (rebuild.h). The store is in nobody's hands. Any thread.
 */
#ifndef CORPUSFS_VERIFY_REPAIR_TABLES_H
#define CORPUSFS_VERIFY_REPAIR_TABLES_H

#include "lib/base/error.h"
#include "lib/kv/kv.h"
#include "lib/verify/rebuild.h"

struct repaired_tables {
	char *kept, *lost; /* as store_mend_tables tells it, owned */
	bool content_lost; /* of files: it is in the damage list now; if nothing was applied, perhaps */
	bool records_lost; /* that cannot be made anew; or they would be */
	struct rebuilt rebuilt;
};

/* `each` is told of each table, as kv_each_damaged_table does. Clear `ret_repaired` also after a failure. */
WARN_UNUSED int repair_tables(const char *path, bool apply, kv_damaged_table_fn each, void *arg, struct repaired_tables *ret_repaired,
			      struct error *err);
void repaired_tables_clear(struct repaired_tables *repaired);

#endif
