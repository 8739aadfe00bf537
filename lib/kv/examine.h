/*
 * Whether the files of a database are those that it had: looked at before RocksDB opens it, because RocksDB takes a log that ends early
 * for a shorter history. Nothing is changed. Damage is one of:
 *
 *   the manifest   missing, not whole, older or shorter than it was known to be: nothing can be told of the rest
 *   a log          ends before what was known to be on disk (lib/kv/synced.h); a tail that nobody was promised is no damage
 *   SYNCED         missing or damaged: nothing can be told of the logs
 *   a table        missing or of another length than the manifest says
 *
 * Internal to lib/kv; any thread.
 */
#ifndef CORPUSFS_KV_EXAMINE_H
#define CORPUSFS_KV_EXAMINE_H

#include "lib/kv/manifest.h"
#include "lib/kv/synced.h"

struct examined_table {
	uint64_t number, bytes; /* bytes: that it should have */
	int64_t found;          /* that it has; -1: it is missing */
	enum kv_family family;
};

struct examined {
	bool understood; /* false: the database is of a newer RocksDB, and nothing was looked at */
	const char *synced_lost; /* why nobody knows how far the log was on disk: SYNCED "is missing", "is damaged"; NULL: it is known */
	/* A log is damaged when log_number is not 0. */
	uint64_t log_number, log_at, log_bytes; /* at: where its last whole record ends */
	bool log_missing;
	uint64_t changes_lost; /* that were on disk; 0: not known */
	int64_t synced_time;   /* when the last of them was known to be on disk; 0: not known */
	ARRAY(struct examined_table) tables; /* those that are damaged */
};

/* -EBADMSG: the manifest or CURRENT; others: it cannot be read. Damage of logs, tables and SYNCED is in `ret_examined`, and 0. */
WARN_UNUSED int examine_database(const char *path, const char *shown, struct examined *ret_examined, struct error *err);
/* Of that the manifest and CURRENT, alone; clear `manifest` in any case. -ENOTSUP as manifest_read. */
WARN_UNUSED int examine_manifest(int dir, const char *shown, const struct synced_state *synced, struct manifest *manifest, struct error *err);
/* Whether the logs that a manifest needs are there, as far as they are known to have been on disk. `first`: so must the first one be, known or not. */
WARN_UNUSED bool examine_has_logs(int dir, const struct synced_state *synced, const struct manifest *manifest, bool first);
void examined_clear(struct examined *examined);

#endif
