/*
 * One chunk as it is stored and as it is, for who gives chunks out under their SHA-256: a backup takes the compressed bytes as they are.
 * What stands for a damaged chunk is looked at in its place (damaged.h).
 *
 *   chunk_look_open -> (chunk_look_plain) -> chunk_look_close
 *
 * Errors: -EIO missing or damaged, -ENOMEM. One thread.
 */
#ifndef CORPUSFS_CHUNK_LOOK_H
#define CORPUSFS_CHUNK_LOOK_H

#include "lib/base/buf.h"
#include "lib/chunk/backend.h"
#include "lib/chunk/chunks.h"
#include "lib/chunk/digest.h"

struct chunk_look {
	struct chunks *chunks;
	uint64_t id; /* that is read */
	struct backend_record record;
	struct chunk_header header; /* its checksum was checked */
};

WARN_UNUSED int chunk_look_open(struct chunks *chunks, uint64_t id, struct chunk_look *look);
/* The chunk that has these plain bytes. -ENOENT: there is none. It may be gone at the next moment: nothing may refer to it. */
WARN_UNUSED int chunk_look_find(struct chunks *chunks, const uint8_t sha256[DIGEST_LEN], struct chunk_look *look);
void chunk_look_close(struct chunk_look *look);

/* The plain bytes, whose SHA-256 was computed and is the header's. They lie in `room` or in the record. */
WARN_UNUSED int chunk_look_plain(struct chunk_look *look, struct buf *room, const uint8_t **ret_plain);

static inline bool chunk_look_is_packed(const struct chunk_look *look)
{
	return look->header.codec == CHUNK_CODEC_ZSTD;
}

#endif
