/*
 * Putting tables of what can still be read (table_mend.h) in the place of damaged, short and missing ones, in a database that nobody has
 * open. Each table is replaced at once or not at all; what was there before is for the caller to keep (kv_mend_keep).
 */
#ifndef CORPUSFS_KV_MEND_TABLES_H
#define CORPUSFS_KV_MEND_TABLES_H

#include "lib/base/error.h"
#include "lib/kv/kv.h"

/*
 * Reads all tables, those of chunks only if `chunks` (else only whether they are there, and as long as they should be), and tells of each
 * that is damaged. ret_lost NULL: nothing is changed; else it was replaced when it is told of, and of a log that is damaged, too, the rest is given up:
 * *ret_lost is what kv_mend_look says of that. `shown`: as for kv_open. -EBADMSG: the manifest is damaged, or a table cannot be mended; -ENOTSUP: the
 * database is of a newer RocksDB. `step` as for kv_each_damaged_table.
 */
WARN_UNUSED int kv_mend_tables(const char *path, const char *shown, char **ret_lost, bool chunks, int (*step)(void *arg, uint64_t bytes),
			       kv_damaged_table_fn each, void *arg, struct error *err);

#endif
