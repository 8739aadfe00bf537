/*
 * What damaged tables of the database have lost: which tables, and which inodes have records that cannot be read. One block of a table that
 * is not whole loses the records between two keys, and which these were nobody can tell; but the keys say of which inodes they may have been.
 */
#ifndef CORPUSFS_VERIFY_LOST_RECORDS_H
#define CORPUSFS_VERIFY_LOST_RECORDS_H

#include "lib/store/store.h"
#include "lib/tree/records/all_versions.h"

struct lost_table {
	enum kv_family family;
	char name[KV_TABLE_NAME_MAX];
	bool missing, all_known;
	uint64_t blocks, lost;
};

/* From one inode to another, both included; across families if they differ. */
struct lost_inodes {
	bool is_content; /* nothing but the content of small files */
	uint32_t first_family, last_family;
	uint64_t first, last;
};

struct lost_keys {
	struct buf first, last;
};

struct lost_records {
	ARRAY(struct lost_table) tables;
	ARRAY(struct lost_inodes) inodes; /* names, attributes, layout, content of small files */
	ARRAY(struct lost_keys) keys;     /* of what a walk over all versions would meet */
	ARRAY(struct lost_keys) content;  /* of small files */
};

/* Reads all tables of metadata. `step` (or NULL): not 0 ends it with that. -EIO: a table cannot be looked at, others. */
WARN_UNUSED int lost_records_find(struct store *store, int (*step)(void *arg, uint64_t bytes), void *arg, struct lost_records *ret_lost);
void lost_records_clear(struct lost_records *lost);
bool lost_records_any(const struct lost_records *lost);
bool lost_records_has(const struct lost_records *lost, uint32_t family, uint64_t ino);
bool lost_records_has_layout(const struct lost_records *lost, uint32_t family, uint64_t ino); /* more than the content of a small file */
bool lost_records_has_content(const struct lost_records *lost, const struct tree_key *key); /* of a small file: this version */
bool lost_records_of(const struct lost_records *lost, uint32_t family); /* some of its inodes */

/* All versions of records that can be read, but for the content of small files; the first result that is not 0 ends it. */
WARN_UNUSED int lost_records_walk_rest(struct store *store, const struct lost_records *lost, int (*each)(void *arg, const struct stored_version *version),
				       void *arg);

#endif
