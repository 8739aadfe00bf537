/*
 * Digest records ('H'): what is known of inodes as they were when an epoch was closed. Internal to lib/identity; identity.c says when one
 * may be used.
 *
 * A cursor finds the newest record that a line sees; asking in ascending order of inodes is cheap. It sees the database as it was when the
 * cursor was made, and belongs to one thread.
 */
#ifndef CORPUSFS_IDENTITY_DIGESTS_H
#define CORPUSFS_IDENTITY_DIGESTS_H

#include "lib/store/catalog.h"

struct digests;

/* `line` must outlive the cursor. */
struct digests *digests_new(struct kv *kv, uint32_t family, const struct line *line);
void digests_free(struct digests *digests); /* NULL is fine */

/* -ENOENT when there is none. */
WARN_UNUSED int digests_newest(struct digests *digests, uint64_t ino, struct digest_record *ret_record, uint64_t *ret_epoch);

void digests_put(struct kv_batch *batch, uint32_t family, uint64_t ino, uint64_t epoch, const struct digest_record *record);

#endif
