/*
 * Digest records ('H'): what is known of inodes as they were when an epoch was closed. lib/identity says when one may be used, lib/reclaim
 * removes those that nobody can use any more.
 *
 * A cursor finds the newest record that a line sees; asking in ascending order of inodes is cheap. It sees the database as it was when the
 * cursor was made, and belongs to one thread.
 */
#ifndef CORPUSFS_STORE_DIGESTS_H
#define CORPUSFS_STORE_DIGESTS_H

#include "lib/format/record.h"
#include "lib/kv/kv.h"

struct digests;

/* `line` must outlive the cursor. */
struct digests *digests_new(struct kv *kv, uint32_t family, const struct line *line);
void digests_free(struct digests *digests); /* NULL is fine */

/* -ENOENT when there is none. */
WARN_UNUSED int digests_newest(struct digests *digests, uint64_t ino, struct digest_record *ret_record, uint64_t *ret_epoch);

void digests_put(struct kv_batch *batch, uint32_t family, uint64_t ino, uint64_t epoch, const struct digest_record *record);
void digests_remove(struct kv_batch *batch, uint32_t family, uint64_t ino, uint64_t epoch);

/* Calls back for each record of a family from inode `from` on, by inodes, the newest first; stops when the callback returns not 0. */
WARN_UNUSED int digests_each(struct kv *kv, uint32_t family, uint64_t from, int (*each)(void *arg, uint64_t ino, uint64_t epoch), void *arg);

#endif
