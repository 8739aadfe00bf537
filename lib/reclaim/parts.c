#include "lib/reclaim/parts.h"

#include <uthash.h>

#include "lib/base/array.h"

#define CHUNKS_MAX (256U << 10)
#define PLACES_MAX (1U << 20)

struct part_chunk {
	uint64_t id;
	uint32_t len;
	uint64_t named;
	UT_hash_handle hh;
};

struct parts {
	struct chunk_set *whole; /* chunks that an extent names as a whole */
	struct part_chunk *chunks; /* by id: the others */
	ARRAY(struct parts_place) places;
};

struct parts *parts_new(uint64_t bulk_end, uint64_t small_end)
{
	struct parts *parts = xcalloc(1, sizeof(*parts));

	parts->whole = chunk_set_new(bulk_end, small_end);
	return parts;
}

void parts_free(struct parts *parts)
{
	struct part_chunk *chunk, *next;

	if (!parts)
		return;
	HASH_ITER (hh, parts->chunks, chunk, next) {
		HASH_DEL(parts->chunks, chunk);
		free(chunk);
	}
	chunk_set_free(parts->whole);
	array_clear(&parts->places);
	free(parts);
}

static bool is_last_place(const struct parts *parts, uint32_t family, uint64_t ino)
{
	const struct parts_place *last = parts->places.count > 0 ? array_last(&parts->places) : NULL;

	return last && last->family == family && last->ino == ino;
}

void parts_add(struct parts *parts, uint32_t family, uint64_t ino, const struct extent_record *extent)
{
	struct part_chunk *chunk;

	if (extent->length == extent->chunk_len) {
		chunk_set_add(parts->whole, extent->chunk);
		return;
	}
	if (!is_last_place(parts, family, ino)) {
		/* an extent at a place that is not noted must not be moved away from under those that are */
		if (parts->places.count == PLACES_MAX) {
			chunk_set_add(parts->whole, extent->chunk);
			return;
		}
		array_add(&parts->places, (struct parts_place){.family = family, .ino = ino});
	}
	HASH_FIND(hh, parts->chunks, &extent->chunk, sizeof(extent->chunk), chunk);
	if (!chunk && HASH_COUNT(parts->chunks) < CHUNKS_MAX) {
		chunk = xcalloc(1, sizeof(*chunk));
		chunk->id = extent->chunk;
		HASH_ADD(hh, parts->chunks, id, sizeof(chunk->id), chunk);
	}
	if (chunk) {
		chunk->named += extent->length;
		chunk->len = MAX(chunk->len, extent->chunk_len);
	}
}

static bool is_worn(const struct parts *parts, const struct part_chunk *chunk)
{
	return chunk->named * 4 < (uint64_t)chunk->len * 3 && !chunk_set_has(parts->whole, chunk->id);
}

bool parts_is_worn(const struct parts *parts, uint64_t id)
{
	const struct part_chunk *chunk;

	HASH_FIND(hh, parts->chunks, &id, sizeof(id), chunk);
	return chunk && is_worn(parts, chunk);
}

void parts_sum(const struct parts *parts, uint64_t *ret_named, uint64_t *ret_wasted)
{
	*ret_named = *ret_wasted = 0;
	for (const struct part_chunk *chunk = parts->chunks; chunk; chunk = chunk->hh.next) {
		if (!is_worn(parts, chunk))
			continue;
		*ret_named += chunk->named;
		*ret_wasted += chunk->len - chunk->named;
	}
}

const struct parts_place *parts_places(const struct parts *parts, size_t *ret_count)
{
	*ret_count = parts->places.count;
	return parts->places.items;
}
