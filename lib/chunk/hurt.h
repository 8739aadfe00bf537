/*
 * What the record of a damaged chunk still says of its identity. Mostly a few of its bytes have changed, and the header is as it was. Where the
 * index takes the chunk for other content, that must not heal it: what it had would be read as something else from then on, without an error.
 *
 * Internal to lib/chunk. Any thread.
 */
#ifndef CORPUSFS_CHUNK_HURT_H
#define CORPUSFS_CHUNK_HURT_H

#include "lib/chunk/chunk_store.h"
#include "lib/chunk/digest.h"

/* What its record says, true or not: its bytes and what they mean. False: that cannot be read. */
bool hurt_header(struct chunks *chunks, uint64_t id, uint8_t ret_bytes[CHUNK_HEADER_LEN], struct chunk_header *ret_header);

/*
 * Whether the chunk, for which the index gives this identity, may have had it. False: its record says otherwise. Where nothing of it can be read,
 * or all of it is the record of another chunk, which a disk has written to the wrong place, only the index knows.
 */
bool hurt_may_be(struct chunks *chunks, uint64_t id, const uint8_t sha256[DIGEST_LEN], uint32_t length);

#endif
