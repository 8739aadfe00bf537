/*
 * The index that finds a stored chunk by the identity of its plain bytes. An entry is written with the batch of the group that made the
 * chunk, and removed with the batch that removes the chunk. Any thread.
 */
#ifndef CORPUSFS_CHUNK_DEDUP_H
#define CORPUSFS_CHUNK_DEDUP_H

#include <stdint.h>

#include "lib/chunk/digest.h"
#include "lib/kv/kv.h"

/* -ENOENT also when the entry cannot be read or understood: then the bytes are stored once more. */
WARN_UNUSED int dedup_get(struct kv *kv, const uint8_t sha256[DIGEST_LEN], uint64_t *ret_id, uint32_t *ret_length);
void dedup_put(struct kv_batch *batch, const uint8_t sha256[DIGEST_LEN], uint32_t length, uint64_t id);
void dedup_delete(struct kv_batch *batch, const uint8_t sha256[DIGEST_LEN]);
/* There are at most `chunks` entries: gives back the room of those that are gone. */
WARN_UNUSED int dedup_compact(struct kv *kv, uint64_t chunks, bool (*stop)(void *arg), void *arg);

#endif
