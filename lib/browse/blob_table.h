/*
 * Which blobs a cache on disk has, and where: by the first bytes of their names, in a table of open addressing, 24 bytes a slot.
 * What is in a segment that is gone is nowhere; it is left out, unless a pin needs it, when the table is made anew, which it is when three quarters of
 * it are used.
 *
 * Internal to lib/browse. One thread at a time.
 */
#ifndef CORPUSFS_BROWSE_BLOB_TABLE_H
#define CORPUSFS_BROWSE_BLOB_TABLE_H

#include "lib/browse/segment_file.h"

struct blob_table;

struct blob_table *blob_table_new(bool (*has_segment)(void *arg, uint32_t number), void *arg);
void blob_table_free(struct blob_table *table); /* NULL is fine */

bool blob_table_find(struct blob_table *table, uint64_t key, bool is_tree, struct blob_spot *ret_spot);
void blob_table_set(struct blob_table *table, const struct blob_spot *spot); /* in place of what it had of that key; its pins stay */
/* Unless it is somewhere else now, or was forgotten: false. */
bool blob_table_forget(struct blob_table *table, const struct blob_spot *spot);

/* One more pin needs the blob, wherever it is; returns what the table has of it now. */
struct blob_spot blob_table_pin(struct blob_table *table, uint64_t key, uint32_t length);
/* One less; ret_spot: what the table has of it now. False: none needed it. */
bool blob_table_unpin(struct blob_table *table, uint64_t key, bool is_tree, struct blob_spot *ret_spot);
void blob_table_unpin_all(struct blob_table *table); /* none needs any */

#endif
