/*
 * RocksDB's own log: warnings and errors of its background work. RocksDB renames the last log and begins a new one even where it then
 * refuses to open the database, but a database that is refused must not be touched. So the log is begun in a directory beside the database,
 * and becomes DB/LOG when the database is open. Internal to lib/kv.
 */
#ifndef CORPUSFS_KV_INFO_LOG_H
#define CORPUSFS_KV_INFO_LOG_H

#include <stdbool.h>

#include <rocksdb/c.h>

/* Returns the directory. NULL: it cannot be made, and RocksDB writes its log in the database as it always does. */
char *info_log_begin(const char *db, rocksdb_options_t *options);

/* No log at all, for a database that is opened read-only. */
void info_log_none(rocksdb_options_t *options);

/* Frees and removes the directory; `opened`: the log replaces the last one. */
void info_log_end(char *directory, const char *db, bool opened);

#endif
