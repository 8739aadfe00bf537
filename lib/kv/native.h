/* RocksDB's own object: opened, closed. Internal to lib/kv; while nobody else has the database, or nobody is inside (inside.h). */
#ifndef CORPUSFS_KV_NATIVE_H
#define CORPUSFS_KV_NATIVE_H

#include "lib/kv/internal.h"

/* Sets kv->db and kv->handles, and returns NULL; or leaves kv->db NULL, and returns the message, to be freed with rocksdb_free(). */
WARN_UNUSED char *native_open(struct kv *kv, bool took_over);
void native_close(struct kv *kv); /* also one that is not open */

/* Whether all that the open one has, the log's last change as well, would be there if it were closed and opened. Read-only, so it may be tried. */
WARN_UNUSED bool native_would_come_back(struct kv *kv);

/* The next native_open() is of a database that is there, and merges by itself what is not known to be damaged by now (KD2). */
void native_reopens(struct kv *kv);

/* RocksDB's message with the directory called as people know it. Freed by the caller. */
char *native_shown(const char *message, const char *path, const char *shown);

#endif
