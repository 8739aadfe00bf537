/*
 * Which tables of a database have blocks that are not whole, and between which keys what is lost lies. Internal to lib/kv, but for what
 * kv.h has of it; any thread.
 */
#ifndef CORPUSFS_KV_DAMAGED_TABLES_H
#define CORPUSFS_KV_DAMAGED_TABLES_H

#include "lib/kv/file_numbers.h"
#include "lib/kv/kv.h"
#include "lib/kv/table_look.h"

/* A table as the manifest or the engine has it. */
struct table_named {
	enum kv_family family;
	uint64_t number, bytes;
	const uint8_t *first, *last; /* keys; without sequence number and type */
	size_t first_len, last_len;
};

/* Tells of the table if it is damaged. */
WARN_UNUSED int damaged_table_tell(const struct table_named *table, const struct table_look *look, bool missing, kv_damaged_table_fn each, void *arg);

#endif
