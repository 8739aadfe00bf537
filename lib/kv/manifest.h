/*
 * What the database's manifest says: which logs are needed, which table files there are, of which family, how long. RocksDB opens a
 * database whole or not at all; this tells what is wrong with one that it will not open, and what it would not notice.
 *
 * The manifest is a log (lib/kv/log_file.h) of edits; an edit is a row of fields, each a varint tag and what belongs to it
 * (version_edit.h). A field that an older program may pass over says so by its tag. Any other that is not known here gives -ENOTSUP: it
 * is of a newer RocksDB. Internal to lib/kv; any thread.
 */
#ifndef CORPUSFS_KV_MANIFEST_H
#define CORPUSFS_KV_MANIFEST_H

#include <inttypes.h>

#include "lib/base/array.h"
#include "lib/base/clean.h"
#include "lib/base/error.h"
#include "lib/kv/kv.h"

#define MANIFEST_NAME_MAX 32
#define MANIFEST_PREFIX "MANIFEST-"
#define MANIFEST_NAME_FORMAT MANIFEST_PREFIX "%06" PRIu64

struct manifest_table {
	uint32_t family; /* RocksDB's number of it */
	uint64_t number, bytes;
	struct buf first, last; /* keys, without sequence number and type */
};

struct manifest_family {
	uint32_t number; /* RocksDB's */
	char name[16];
	uint64_t first_log; /* what older logs have of it is in tables */
};

struct manifest {
	char name[MANIFEST_NAME_MAX];
	uint64_t number;
	uint64_t bytes, whole; /* the file's length, and how much of it is whole edits */
	uint64_t first_log;    /* older logs are not needed */
	uint64_t next_file;
	ARRAY(struct manifest_family) families;
	ARRAY(struct manifest_table) tables; /* by number */
};

/*
 * Reads the one that CURRENT names, as far as it is whole: what follows the last whole edit may be one that was being written when power
 * failed. `shown` is what people call the directory. -EBADMSG: CURRENT or the manifest is missing or damaged; -ENOTSUP
 * (without a text).
 */
WARN_UNUSED int manifest_read(int dir, const char *shown, struct manifest *ret_manifest, struct error *err);
/* The same of its bytes, without its name. -EBADMSG: nothing of them is whole. */
WARN_UNUSED int manifest_of_bytes(const void *bytes, size_t len, struct manifest *ret_manifest);
void manifest_clear(struct manifest *manifest);

/* What CURRENT says: the number and name of the manifest. -ENOENT, -EBADMSG. */
WARN_UNUSED int manifest_current(int dir, char ret_name[MANIFEST_NAME_MAX], uint64_t *ret_number);

/* The family of a table: KV_FAMILY_COUNT for one that holds nothing of ours. */
enum kv_family manifest_family_of(const struct manifest *manifest, uint32_t number);

/* A base-128 number, the low bits first. */
uint64_t manifest_varint(struct reader *reader);

#endif
