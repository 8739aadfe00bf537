/*
 * RocksDB's own log of text, which there shall not be: when a line of it cannot be written, on a full disk for one, the next line ends the
 * process (an assertion, which Debian's build keeps). But RocksDB opens no database without that file. It even makes it, and renames the last
 * one, where it then refuses to open the database, and a database that is refused must not be touched. So the file is made in a directory
 * beside the database, which goes when the database is open, and nothing is written to it afterwards. Internal to lib/kv.
 */
#ifndef CORPUSFS_KV_INFO_LOG_H
#define CORPUSFS_KV_INFO_LOG_H

#include <rocksdb/c.h>

/* Returns the directory. NULL: it cannot be made, and RocksDB writes its log in the database as it always does. */
char *info_log_begin(const char *db, rocksdb_options_t *options);

/* No log at all, for a database that is opened read-only. */
void info_log_none(rocksdb_options_t *options);

/*
 * Removes the directory. Where removed files that are open stay under another name (NFS, some FUSE filesystems) that must wait until RocksDB has
 * closed its log: then returns the directory, and the caller calls again when the database is closed. NULL: it is gone.
 */
char *info_log_end(char *directory);

#endif
