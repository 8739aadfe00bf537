#include "lib/chunk/twin.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/chunk/chunk_record.h"
#include "lib/chunk/dedup.h"
#include "lib/chunk/hurt.h"
#include "lib/chunk/set.h"

#define HEALED_MAX 8

static bool is_same(const struct chunk_header *hurt, const struct chunk_header *twin)
{
	return !memcmp(twin->sha256, hurt->sha256, DIGEST_LEN) && twin->plain_len == hurt->plain_len;
}

/* Whether the damaged record is the twin's, but for its id and its damage. Its bytes were packed as the twin's were, or not at all. */
static bool is_twin(struct chunks *chunks, uint64_t id, const uint8_t bytes[CHUNK_HEADER_LEN], const struct chunk_header *hurt,
                    const struct chunk_header *twin)
{
	AUTO_FREE uint8_t *plain = NULL;

	if (!is_same(hurt, twin))
		return false;
	if (hurt->codec == twin->codec)
		return twin->stored_len == hurt->stored_len && chunk_record_fits(id, bytes, twin->stored, twin->stored_len);
	if (hurt->codec != CHUNK_CODEC_PLAIN)
		return false;
	plain = malloc(twin->plain_len);
	return plain && !chunk_record_unpack(chunks->scratch, twin, plain) && chunk_record_fits(id, bytes, plain, twin->plain_len);
}

/* `was_healed`: by the damaged chunk, which has the same bytes therefore. */
static bool check(struct chunks *chunks, uint64_t id, const uint8_t bytes[CHUNK_HEADER_LEN], const struct chunk_header *hurt, uint64_t twin,
                  bool was_healed)
{
	struct chunk_header header;
	struct backend_record record;
	bool found;

	if (backend_get(chunks->backend, twin, &record))
		return false;
	found = !chunk_record_verify(chunks->scratch, twin, record.bytes, record.len) &&
	        !chunk_record_open(twin, record.bytes, record.len, &header) &&
	        (was_healed ? is_same(hurt, &header) : is_twin(chunks, id, bytes, hurt, &header));
	backend_release(&record);
	return found;
}

/* By the index. */
static uint64_t find_indexed(struct chunks *chunks, uint64_t id, const uint8_t bytes[CHUNK_HEADER_LEN], const struct chunk_header *hurt)
{
	uint64_t twin;
	uint32_t length;

	if (dedup_get(chunks->kv, hurt->sha256, &twin, &length))
		return CHUNK_NONE;
	twin = damaged_resolve(chunks->damaged, twin);
	if (twin == id)
		return CHUNK_NONE;
	if (chunks->mark)
		chunk_set_add(chunks->mark, twin);
	if (!check(chunks, id, bytes, hurt, twin, false))
		return CHUNK_NONE;
	damaged_put_twin(chunks->damaged, id, twin);
	return twin;
}

/*
 * One that this chunk was to stand for: its disk could not be read for a while, or its file was brought back. The two change places: it leaves
 * the list, and stands for what stood for it.
 */
static uint64_t find_healed(struct chunks *chunks, uint64_t id, const uint8_t bytes[CHUNK_HEADER_LEN], const struct chunk_header *hurt)
{
	uint64_t ids[HEALED_MAX], twin = CHUNK_NONE;
	const size_t count = damaged_read_from(chunks->damaged, id, ids, HEALED_MAX);

	for (size_t i = 0; i < count && twin == CHUNK_NONE; i++) {
		struct kv_batch *batch;
		int ignored;

		if (chunks->mark)
			chunk_set_add(chunks->mark, ids[i]);
		if (chunks_verify_disk(chunks, ids[i]) || !check(chunks, id, bytes, hurt, ids[i], true))
			continue;
		twin = ids[i];
		batch = kv_batch_new();
		damaged_replace(chunks->damaged, batch, id, twin);
		/* what cannot be written is found again */
		ignored = damaged_forget(chunks->damaged, batch, KV_GIVES_ROOM, &twin, 1);
		(void)ignored;
		kv_batch_free(batch);
	}
	return twin;
}

/* As for a hit (sweep.c, S1): mark_lock is held shared until the list has it, so the collector finds the twin in its set, or in the list. */
static uint64_t find_locked(struct chunks *chunks, uint64_t id, const uint8_t bytes[CHUNK_HEADER_LEN], const struct chunk_header *hurt)
{
	/* another thread may have found it since */
	uint64_t twin = damaged_resolve(chunks->damaged, id);

	if (twin != id)
		return twin;
	twin = find_indexed(chunks, id, bytes, hurt);
	return twin == CHUNK_NONE ? find_healed(chunks, id, bytes, hurt) : twin;
}

uint64_t twin_find(struct chunks *chunks, uint64_t id)
{
	uint8_t bytes[CHUNK_HEADER_LEN];
	struct chunk_header hurt;
	uint64_t twin;

	if (!hurt_header(chunks, id, bytes, &hurt))
		return CHUNK_NONE;
	rwlock_read(&chunks->mark_lock);
	twin = find_locked(chunks, id, bytes, &hurt);
	rwlock_give(&chunks->mark_lock);
	return twin;
}
