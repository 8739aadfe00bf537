#include "lib/chunk/hurt.h"

#include <string.h>

#include "lib/base/buf.h"
#include "lib/chunk/chunk_record.h"
#include "lib/chunk/dedup.h"

/* The record as far as the disk has it; `pin` is to be released. False: nothing of it. */
static bool read_bytes_of(struct chunks *chunks, struct scratch *tools, uint64_t id, struct backend_record *pin, struct kv_value *ret_value)
{
	/* RocksDB does not give a block that is damaged */
	if (backend_get_many(chunks->backend, id, 1, &tools->raw, ret_value))
		return true;
	if (!backend_get(chunks->backend, id, pin)) {
		*ret_value = (struct kv_value){pin->bytes, pin->len};
		return true;
	}
	/* page by page, where the disk cannot read all of them */
	return backend_get_many_disk(chunks->backend, id, 1, &tools->raw, ret_value);
}

bool hurt_header(struct chunks *chunks, uint64_t id, uint8_t ret_bytes[CHUNK_HEADER_LEN], struct chunk_header *ret_header)
{
	struct scratch *tools = scratch_take(chunks->scratch);
	struct backend_record pin = {0};
	struct kv_value value;
	bool done = read_bytes_of(chunks, tools, id, &pin, &value) && !chunk_header_decode(value.data, value.len, ret_header);

	if (done)
		memcpy(ret_bytes, value.data, CHUNK_HEADER_LEN);
	backend_release(&pin);
	scratch_put(chunks->scratch, tools);
	return done;
}

/* The identity rotted, and nothing else. */
static bool has_rotten_identity(uint64_t id, const struct kv_value *value, const uint8_t sha256[DIGEST_LEN])
{
	uint8_t bytes[CHUNK_HEADER_LEN];

	memcpy(bytes, value->data, CHUNK_HEADER_LEN);
	memcpy(bytes + CHUNK_HEADER_LEN - DIGEST_LEN, sha256, DIGEST_LEN);
	return chunk_record_fits(id, bytes, value->data + CHUNK_HEADER_LEN, value->len - CHUNK_HEADER_LEN);
}

/* The index knows where the record belongs. */
static bool is_misplaced(struct chunks *chunks, uint64_t id, const struct kv_value *value, const struct chunk_header *header)
{
	struct chunk_header ignored;
	uint64_t other;
	uint32_t length;

	return !dedup_get(chunks->kv, header->sha256, &other, &length) && other != id && !chunk_record_open(other, value->data, value->len, &ignored);
}

static bool may_be(struct chunks *chunks, uint64_t id, const struct kv_value *value, const uint8_t sha256[DIGEST_LEN], uint32_t length)
{
	struct chunk_header header;

	if (chunk_header_decode(value->data, value->len, &header))
		return true;
	if (!memcmp(header.sha256, sha256, DIGEST_LEN))
		return true;
	return (header.plain_len == length && has_rotten_identity(id, value, sha256)) || is_misplaced(chunks, id, value, &header);
}

bool hurt_may_be(struct chunks *chunks, uint64_t id, const uint8_t sha256[DIGEST_LEN], uint32_t length)
{
	struct scratch *tools = scratch_take(chunks->scratch);
	struct backend_record pin = {0};
	struct kv_value value;
	const bool found = !read_bytes_of(chunks, tools, id, &pin, &value) || may_be(chunks, id, &value, sha256, length);

	backend_release(&pin);
	scratch_put(chunks->scratch, tools);
	return found;
}
