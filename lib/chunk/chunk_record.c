#include "lib/chunk/chunk_record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* inlined: the state of a streamed hash is no part of the shared library's interface */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "lib/base/buf.h"

#define CHECKSUM_LEN 8

/* `header` without regard to the checksum in it. */
static uint64_t checksum_of(uint64_t id, const uint8_t header[CHUNK_HEADER_LEN], const void *stored, size_t len)
{
	XXH3_state_t state = {0}; /* reset_withSeed looks at what the state held before */

	XXH3_64bits_reset_withSeed(&state, id);
	XXH3_64bits_update(&state, header + CHECKSUM_LEN, CHUNK_HEADER_LEN - CHECKSUM_LEN);
	XXH3_64bits_update(&state, stored, len);
	return XXH3_64bits_digest(&state);
}

void chunk_record_seal(uint64_t id, struct chunk_header *header, uint8_t out[CHUNK_HEADER_LEN])
{
	chunk_header_encode(header, out);
	header->checksum = checksum_of(id, out, header->stored, header->stored_len);
	chunk_header_encode(header, out);
}

bool chunk_record_fits(uint64_t id, const uint8_t header[CHUNK_HEADER_LEN], const void *stored, size_t len)
{
	struct reader reader = reader_over(header, CHECKSUM_LEN);

	return read_le64(&reader) == checksum_of(id, header, stored, len);
}

int chunk_record_open(uint64_t id, const uint8_t *record, size_t len, struct chunk_header *ret_header)
{
	struct chunk_header header;
	int ret = chunk_header_decode(record, len, &header);

	if (ret)
		return ret;
	if (XXH3_64bits_withSeed(record + CHECKSUM_LEN, len - CHECKSUM_LEN, id) != header.checksum)
		return -EBADMSG;
	*ret_header = header;
	return 0;
}

int chunk_record_unpack(struct scratch_pool *pool, const struct chunk_header *header, void *out)
{
	struct scratch *tools = scratch_take(pool);
	int ret = codec_unpack(tools->codec, header->stored, header->stored_len, out, header->plain_len);

	scratch_put(pool, tools);
	return ret;
}

int chunk_record_verify(struct scratch_pool *pool, uint64_t id, const uint8_t *record, size_t len)
{
	struct chunk_header header;
	AUTO_FREE uint8_t *plain = NULL;
	uint8_t sha256[DIGEST_LEN];
	struct scratch *tools;
	int ret = chunk_record_open(id, record, len, &header);

	if (ret)
		return ret;
	if (header.codec == CHUNK_CODEC_ZSTD) {
		plain = malloc(MAX(header.plain_len, 1));
		ret = plain ? chunk_record_unpack(pool, &header, plain) : -ENOMEM;
		if (ret)
			return ret;
	}
	tools = scratch_take(pool);
	digest_once(tools->digest, plain ? plain : header.stored, header.plain_len, sha256);
	scratch_put(pool, tools);
	return memcmp(sha256, header.sha256, DIGEST_LEN) ? -EBADMSG : 0;
}
