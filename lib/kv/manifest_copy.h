/*
 * A copy of the manifest, kept beside it while the database is open: the list of tables is the one file of a database that nothing else can
 * be asked for. Table files alone do not tell which of them count, nor which of two records with the same key is the newer one.
 *
 *   file MANIFEST.copy = u32 CRC-32C of what follows | u32 1 | u64 number of the manifest | its bytes, from the first on   little-endian
 *
 * MC1. The copy is of the manifest that was current when it was made, or later; it is made when the database is opened, and made anew when
 *      another manifest becomes current.
 * MC2. A manifest only grows, so each look adds what came since. What was copied once is never read again: damage does not come across.
 * MC3. Each edit of before the last manifest_copy_follow() is in the copy; of before the last one with `sync`, on disk.
 * MC4. What is in the copy is on disk in the manifest: one that has less is damaged.
 *
 * A copy that cannot be written is no failure: the next look tries again.
 *
 * Internal to lib/kv. Any thread, but for manifest_copy_open and manifest_copy_close.
 */
#ifndef CORPUSFS_KV_MANIFEST_COPY_H
#define CORPUSFS_KV_MANIFEST_COPY_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/buf.h"

#define MANIFEST_COPY_NAME "MANIFEST.copy"
#define MANIFEST_BYTES_MAX (1U << 30) /* RocksDB begins another one then */

struct manifest_copy;

/* `path` is the database's directory, opened for writing by the caller alone. NULL: there can be none. */
struct manifest_copy *manifest_copy_open(const char *path);
void manifest_copy_close(struct manifest_copy *copy); /* NULL is fine, here and below */

void manifest_copy_follow(struct manifest_copy *copy, bool sync);

/* `dir` is a descriptor. Gives the number of the manifest that it is of, and what it has of it. -ENOENT; -EBADMSG: not even that can be told. */
WARN_UNUSED int manifest_copy_read(int dir, uint64_t *ret_number, struct buf *ret_bytes);

#endif
