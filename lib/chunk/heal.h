/*
 * Healing from outside: which content is damaged, by its SHA-256; good bytes that stand for it from now on; and the way back.
 *
 *   chunks_identities      what to look for
 *   chunks_heal_before     what healing would replace: to be kept before it is done
 *   chunks_heal            stores, as any write would (damaged.h, DL2); nothing that is there is removed
 *   chunks_is_healed       whether that has healed it
 *   chunks_heal_undo       what was replaced is as it was
 *
 * Any thread.
 */
#ifndef CORPUSFS_CHUNK_HEAL_H
#define CORPUSFS_CHUNK_HEAL_H

#include "lib/chunk/chunks.h"
#include "lib/chunk/digest.h"

/*
 * SHA-256 and length of the plain bytes of chunks; the ids ascend. Walks the whole index once. A chunk is not told whose entry in it is gone, or
 * is one of other content, as its record says.
 */
typedef int (*chunk_identity_fn)(void *arg, uint64_t id, const uint8_t sha256[DIGEST_LEN], uint32_t length);
WARN_UNUSED int chunks_identities(struct chunks *chunks, const uint64_t *ids, size_t count, chunk_identity_fn each, void *arg);

/* The chunk that has this content, if the index names one. It need not be whole. */
bool chunks_find(struct chunks *chunks, const uint8_t sha256[DIGEST_LEN], uint32_t length, uint64_t *ret_id);

struct heal_before {
	uint8_t sha256[DIGEST_LEN];
	uint32_t length;
	uint64_t indexed; /* the chunk that the index names for this content */
	uint64_t chunk;   /* what is read for it, which is damaged */
	int64_t found;    /* since when that is known; seconds since 1970 */
};
/* 1: this content is damaged, and nothing stands for it. 0: it is not, or is not here at all. */
int chunks_heal_before(struct chunks *chunks, const uint8_t sha256[DIGEST_LEN], uint32_t length, struct heal_before *ret_before);

struct heal_bytes {
	const void *data;
	size_t len; /* one chunk: at most CHUNK_LEN_MAX */
};
/* They are on disk when this returns 0. -ENOSPC, -EIO, -EROFS */
WARN_UNUSED int chunks_heal(struct chunks *chunks, const struct heal_bytes *pieces, size_t count);

/* What is read for it now has this content, and is whole. */
bool chunks_is_healed(struct chunks *chunks, const struct heal_before *before);

/*
 * 1: healing is undone, or would be without `apply`. 0: there is nothing to undo: it was not healed, the chunk was removed since, or what
 * stands for it has other content.
 */
WARN_UNUSED int chunks_heal_undo(struct chunks *chunks, const struct heal_before *before, bool apply);

#endif
