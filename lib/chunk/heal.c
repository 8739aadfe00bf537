#include "lib/chunk/heal.h"

#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/chunk/chunk_store.h"
#include "lib/chunk/dedup.h"
#include "lib/chunk/hurt.h"
#include "lib/format/record.h"

static int by_id(const void *a, const void *b)
{
	const uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return left < right ? -1 : left > right;
}

/* The index leads from content to chunks, so all of it is walked. */
int chunks_identities(struct chunks *chunks, const uint64_t *ids, size_t count, chunk_identity_fn each, void *arg)
{
	struct kv_iter *iter;
	int ret = 0;

	if (!count)
		return 0;
	iter = kv_iter_new_flags(chunks->kv, KV_DEDUP, NULL, 0, NULL, 0, KV_ITER_SCAN);
	for (kv_iter_first(iter); !ret && kv_iter_valid(iter); kv_iter_next(iter)) {
		struct dedup_record record;
		size_t key_len, len;
		const uint8_t *key = kv_iter_key(iter, &key_len), *value = kv_iter_value(iter, &len);

		if (key_len == DIGEST_LEN && !dedup_record_decode(value, len, &record) && bsearch(&record.chunk, ids, count, sizeof(*ids), by_id) &&
		    hurt_may_be(chunks, record.chunk, key, record.length))
			ret = each(arg, record.chunk, key, record.length);
	}
	if (!ret)
		ret = kv_iter_status(iter);
	kv_iter_free(iter);
	return ret;
}

bool chunks_find(struct chunks *chunks, const uint8_t sha256[DIGEST_LEN], uint32_t length, uint64_t *ret_id)
{
	uint32_t stored_length;

	return !dedup_get(chunks->kv, sha256, ret_id, &stored_length) && stored_length == length;
}

int chunks_heal_before(struct chunks *chunks, const uint8_t sha256[DIGEST_LEN], uint32_t length, struct heal_before *ret_before)
{
	struct damage_record record;
	uint64_t indexed, chunk;

	if (!chunks_find(chunks, sha256, length, &indexed))
		return 0;
	chunk = damaged_resolve(chunks->damaged, indexed);
	if (!damaged_get(chunks->damaged, chunk, &record) || record.replacement != CHUNK_NONE || !hurt_may_be(chunks, chunk, sha256, length))
		return 0;
	*ret_before = (struct heal_before){.length = length, .indexed = indexed, .chunk = chunk, .found = record.found};
	memcpy(ret_before->sha256, sha256, DIGEST_LEN);
	return 1;
}

int chunks_heal(struct chunks *chunks, const struct heal_bytes *pieces, size_t count)
{
	struct chunks_group *group = chunks_group_new(chunks);
	struct kv_batch *batch = kv_batch_new();
	int ret;

	for (size_t i = 0; i < count; i++)
		(void)chunks_group_add_whole(group, pieces[i].data, pieces[i].len, 1);
	ret = chunks_group_store(group, batch);
	if (!ret)
		ret = kv_write(chunks->kv, batch, KV_SYNC);
	chunks_group_free(group);
	kv_batch_free(batch);
	return ret;
}

/* What is read for the chunk is told by its own record; without one that can be read it is not this content. */
static bool has_content(struct chunks *chunks, uint64_t id, const struct heal_before *before)
{
	uint8_t sha256[DIGEST_LEN];
	uint32_t length;

	return !chunks_digest(chunks, id, &length, sha256) && length == before->length && !memcmp(sha256, before->sha256, DIGEST_LEN);
}

bool chunks_is_healed(struct chunks *chunks, const struct heal_before *before)
{
	return !chunks_verify(chunks, before->chunk) && has_content(chunks, before->chunk, before);
}

/* What stands for it may have been hurt and healed itself since; and what the file says comes from a file. */
static bool is_as_it_was_left(struct chunks *chunks, const struct heal_before *before, uint64_t replacement)
{
	uint64_t indexed;

	return chunks_find(chunks, before->sha256, before->length, &indexed) && damaged_resolve(chunks->damaged, indexed) == replacement &&
	       damaged_resolve(chunks->damaged, before->indexed) == replacement && has_content(chunks, replacement, before);
}

int chunks_heal_undo(struct chunks *chunks, const struct heal_before *before, bool apply)
{
	struct damage_record record;
	struct kv_batch *batch;
	int ret;

	if (!damaged_get(chunks->damaged, before->chunk, &record) || record.replacement == CHUNK_NONE ||
	    !is_as_it_was_left(chunks, before, record.replacement))
		return 0;
	if (!apply)
		return 1;
	batch = kv_batch_new();
	/* the next good copy finds the damaged chunk by the index, and heals it */
	dedup_put(batch, before->sha256, before->length, before->indexed);
	damaged_put_back(chunks->damaged, batch, before->chunk, before->found);
	ret = kv_write(chunks->kv, batch, KV_SYNC);
	kv_batch_free(batch);
	return ret ? ret : 1;
}
