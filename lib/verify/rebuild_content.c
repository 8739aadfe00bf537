#include "lib/verify/rebuild_content.h"

#include <errno.h>

#include "lib/base/clock.h"
#include "lib/chunk/chunk_record.h"
#include "lib/chunk/dedup.h"
#include "lib/format/key.h"

#define BATCH_RECORDS 4096
#define PASSED_MAX 65536 /* ids in a row that lead to damage: what comes behind them stays out of the index */

static enum kv_family family_of(uint64_t chunk)
{
	return chunk & CHUNK_BULK ? KV_BULK : KV_SMALL;
}

/* --- the damage list --- */

int rebuild_note_lost(struct kv *kv, const struct line *maybe_lost, uint64_t chunk, struct kv_batch *batch, bool *any_lost)
{
	const struct small_key key = chunk_key(chunk), damage_key = catalog_key_damage(chunk);
	struct damage_record known;
	AUTO_BUF value = BUF_INIT;

	if (chunk == CHUNK_NONE || !line_has(maybe_lost, chunk))
		return 0;
	int result = kv_has(kv, family_of(chunk), key.bytes, key.len);
	if (result != -ENOENT && result != -EBADMSG)
		return result;
	/* what the list says of it already may be what stands for it */
	result = kv_get(kv, KV_CATALOG, damage_key.bytes, damage_key.len, &value);
	*any_lost |= result != 0 || damage_record_decode(value.data, value.len, &known) < 0 || known.replacement == CHUNK_NONE;
	if (result != -ENOENT)
		return result;
	buf_reset(&value);
	damage_record_encode(&(struct damage_record){.found = clock_now().tv_sec}, &value);
	kv_batch_put(batch, KV_CATALOG, damage_key.bytes, damage_key.len, value.data, value.len);
	return 0;
}

int rebuild_note_replacements(struct kv *kv, const struct line *maybe_lost, struct kv_batch *batch, bool *any_lost)
{
	const struct small_key first = catalog_key_damage(0), end = catalog_key_damage(UINT64_MAX);
	struct kv_iter *iter = kv_iter_new(kv, KV_CATALOG, first.bytes, first.len, end.bytes, end.len);
	int result = 0;

	for (kv_iter_first(iter); kv_iter_valid(iter) && result == 0; kv_iter_next(iter)) {
		struct damage_record record;
		size_t len;
		const uint8_t *value = kv_iter_value(iter, &len);
		if (damage_record_decode(value, len, &record) == 0)
			result = rebuild_note_lost(kv, maybe_lost, record.replacement, batch, any_lost);
	}
	if (result == 0)
		result = kv_iter_status(iter);
	kv_iter_free(iter);
	return result;
}

/* --- the index --- */

/* Of chunks with the same content any will do, but for one whose record is not true. */
static int index_chunk(struct kv *kv, struct kv_batch *batch, uint64_t chunk, const uint8_t *record, size_t len)
{
	struct chunk_header header;
	int result;

	if (chunk_record_open(chunk, record, len, &header) < 0)
		return 0;
	result = kv_has(kv, KV_DEDUP, header.sha256, DIGEST_LEN);
	if (result != -ENOENT)
		return result;
	dedup_put(batch, header.sha256, header.plain_len, chunk);
	if (kv_batch_count(batch) < BATCH_RECORDS)
		return 0;
	result = kv_write(kv, batch, 0);
	kv_batch_clear(batch);
	return result;
}

/* From *next on, until the end or until something cannot be read. */
static int index_from(struct kv *kv, struct kv_batch *batch, uint64_t *next, bool *ret_any)
{
	const struct small_key first = chunk_key(*next);
	struct kv_iter *iter = kv_iter_new_flags(kv, family_of(*next), first.bytes, first.len, NULL, 0, KV_ITER_SCAN);
	int result = 0;

	*ret_any = false;
	for (kv_iter_first(iter); kv_iter_valid(iter) && result == 0; kv_iter_next(iter)) {
		size_t key_len, len;
		const uint8_t *key = kv_iter_key(iter, &key_len), *record = kv_iter_value(iter, &len);
		uint64_t chunk;
		if (chunk_key_parse(key, key_len, &chunk) < 0)
			continue;
		result = index_chunk(kv, batch, chunk, record, len);
		*next = chunk + 1;
		*ret_any = true;
	}
	if (result == 0)
		result = kv_iter_status(iter);
	kv_iter_free(iter);
	return result;
}

static int index_kind(struct kv *kv, struct kv_batch *batch, uint64_t next)
{
	unsigned passed = 0;
	bool any;
	int result;

	while ((result = index_from(kv, batch, &next, &any)) == -EBADMSG) {
		passed = any ? 0 : passed + 1;
		if (passed > PASSED_MAX)
			return 0;
		next++;
	}
	return result;
}

int rebuild_index(struct kv *kv, struct kv_batch *batch)
{
	int result = index_kind(kv, batch, 0);

	return result == 0 ? index_kind(kv, batch, CHUNK_BULK) : result;
}
