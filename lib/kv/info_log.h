/*
 * RocksDB's log of information (warnings and errors of its background work). RocksDB makes it anew, and renames the one before, even where
 * it then refuses to open; a database that is refused shall not be touched. So it is begun in a directory of its own beside the database
 * and moves in, as DB/LOG, when the database is open. Internal to lib/kv.
 */
#ifndef CORPUSFS_KV_INFO_LOG_H
#define CORPUSFS_KV_INFO_LOG_H

#include <stdbool.h>

#include <rocksdb/c.h>

/* Returns the directory; NULL, and RocksDB does as always, where it cannot be made. */
char *info_log_begin(const char *db, rocksdb_options_t *options);

/* No log at all, for a database that is opened read-only. */
void info_log_none(rocksdb_options_t *options);

/* Frees and removes the directory; `opened`: the log replaces the last one. */
void info_log_end(char *directory, const char *db, bool opened);

#endif
