#include "lib/chunk/looks.h"

#include <string.h>

#include "lib/base/buf.h"
#include "lib/chunk/chunk_record.h"
#include "lib/chunk/chunk_store.h"

struct chunk_looks {
	struct chunks *chunks;
	struct scratch *tools;
	struct buf plain; /* of those that are compressed, one after another */
	size_t count;
	struct chunk_looks_item items[CHUNK_LOOKS_MAX];
};

struct chunk_looks *chunk_looks_new(struct chunks *chunks)
{
	struct chunk_looks *looks = xcalloc(1, sizeof(*looks));

	looks->chunks = chunks;
	looks->tools = scratch_take(chunks->scratch);
	return looks;
}

void chunk_looks_free(struct chunk_looks *looks)
{
	if (!looks)
		return;
	scratch_put(looks->chunks->scratch, looks->tools);
	buf_clear(&looks->plain);
	free(looks);
}

struct chunk_looks_item *chunk_looks_read(struct chunk_looks *looks, uint64_t first, size_t count)
{
	struct chunks *chunks = looks->chunks;
	struct kv_value values[CHUNK_LOOKS_MAX] = {0};

	looks->count = MIN(count, CHUNK_LOOKS_MAX);
	(void)backend_get_many(chunks->backend, first, looks->count, &looks->tools->raw, values);
	for (size_t i = 0; i < looks->count; i++) {
		struct chunk_looks_item *item = &looks->items[i];

		*item = (struct chunk_looks_item){0};
		/* What stands for a damaged chunk is elsewhere. */
		item->is_there = values[i].data && damaged_resolve(chunks->damaged, first + i) == first + i &&
				 chunk_record_open(first + i, values[i].data, values[i].len, &item->header) == 0;
	}
	return looks->items;
}

/* Where the plain bytes are, or are put. */
static const uint8_t *unpack(struct chunk_looks *looks, const struct chunk_header *header)
{
	uint8_t *room = looks->plain.data + looks->plain.len;

	if (header->codec != CHUNK_CODEC_ZSTD)
		return header->stored;
	if (codec_unpack(looks->tools->codec, header->stored, header->stored_len, room, header->plain_len) < 0)
		return NULL;
	looks->plain.len += header->plain_len;
	return room;
}

static void make_room(struct chunk_looks *looks)
{
	size_t need = 0;

	for (size_t i = 0; i < looks->count; i++)
		if (looks->items[i].is_wanted && looks->items[i].is_there && looks->items[i].header.codec == CHUNK_CODEC_ZSTD)
			need += looks->items[i].header.plain_len;
	buf_reset(&looks->plain);
	buf_reserve(&looks->plain, need);
}

void chunk_looks_verify(struct chunk_looks *looks, struct digest_job *beside)
{
	struct digest_job jobs[CHUNK_LOOKS_MAX], *order[CHUNK_LOOKS_MAX + 1];
	uint8_t found[CHUNK_LOOKS_MAX][DIGEST_LEN];
	size_t count = 0;

	make_room(looks);
	for (size_t i = 0; i < looks->count; i++) {
		struct chunk_looks_item *item = &looks->items[i];

		if (item->is_wanted && item->is_there)
			item->plain = unpack(looks, &item->header);
		if (!item->plain)
			continue;
		jobs[i] = (struct digest_job){.data = item->plain, .len = item->header.plain_len, .sha256 = found[i]};
		order[count++] = &jobs[i];
	}
	if (beside && count > 0)
		order[count++] = beside;
	digest_many(looks->tools->digest, order, count);
	for (size_t i = 0; i < looks->count; i++)
		if (looks->items[i].plain && memcmp(found[i], looks->items[i].header.sha256, DIGEST_LEN) != 0)
			looks->items[i].plain = NULL;
}
