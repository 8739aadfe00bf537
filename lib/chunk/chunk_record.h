/*
 * Chunk records, made and verified. The checksum covers the id and all of the record behind it, so a record that was put under a wrong
 * id is as damaged as one whose bytes changed. Any thread.
 */
#ifndef CORPUSFS_CHUNK_CHUNK_RECORD_H
#define CORPUSFS_CHUNK_CHUNK_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/chunk/scratch.h"
#include "lib/format/record.h"

/* Encodes the header of a record and puts its checksum in, over the `header->stored_len` bytes that will follow it. */
void chunk_record_seal(uint64_t id, struct chunk_header *header, uint8_t out[CHUNK_HEADER_LEN]);

/* Checks the checksum, then takes the record apart. -EBADMSG */
WARN_UNUSED int chunk_record_open(uint64_t id, const uint8_t *record, size_t len, struct chunk_header *ret_header);

/* Whether the checksum in the header of a record is right for these bytes behind it. */
bool chunk_record_fits(uint64_t id, const uint8_t header[CHUNK_HEADER_LEN], const void *stored, size_t len);

/* Writes the plain bytes, header->plain_len of them. -EBADMSG, -ENOMEM */
WARN_UNUSED int chunk_record_unpack(struct scratch_pool *pool, const struct chunk_header *header, void *out);

/* Whether the plain bytes are those whose SHA-256 the record holds. 0, -EBADMSG, -ENOMEM */
WARN_UNUSED int chunk_record_verify(struct scratch_pool *pool, uint64_t id, const uint8_t *record, size_t len);

#endif
