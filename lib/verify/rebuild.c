#include "lib/verify/rebuild.h"

#include <string.h>

#include "lib/tree/records/touched.h"
#include "lib/verify/rebuild_catalog.h"
#include "lib/verify/rebuild_content.h"

#define BATCH_RECORDS 4096

void rebuilt_clear(struct rebuilt *rebuilt)
{
	for (size_t i = 0; i < rebuilt->datasets.count; i++)
		free(rebuilt->datasets.items[i]);
	array_clear(&rebuilt->datasets);
}

struct walking {
	struct kv *kv;
	const struct line *chunks; /* that may be lost */
	bool touched, content_lost;
	struct stored_families families;
	struct kv_batch *batch;
	struct tree_key_parts last; /* that was noted */
};

static int write_if_full(struct walking *walking)
{
	int result;

	if (kv_batch_count(walking->batch) < BATCH_RECORDS)
		return 0;
	result = kv_write(walking->kv, walking->batch, 0);
	kv_batch_clear(walking->batch);
	return result;
}

static int take_version(struct walking *walking, const struct tree_key_parts *parts, const uint8_t *value, size_t len)
{
	struct stored_family *family = stored_family(&walking->families, parts->family);
	struct extent_record extent;
	int result = 0;

	family->max_ino = MAX(family->max_ino, parts->ino);
	if (parts->kind == KEY_EXTENT && len > 0 && extent_record_decode(value, len, &extent) == 0) {
		stored_chunk(&walking->families, extent.chunk);
		result = rebuild_note_lost(walking->kv, walking->chunks, extent.chunk, walking->batch, &walking->content_lost);
	}
	if (result < 0)
		return result;
	/* the versions of an inode's records are mostly of one epoch */
	if (walking->last.family == parts->family && walking->last.ino == parts->ino && walking->last.epoch == parts->epoch)
		return write_if_full(walking);
	walking->last = *parts;
	line_add(&family->epochs, parts->epoch, parts->epoch);
	if (walking->touched)
		touched_put(walking->batch, parts->family, parts->epoch, parts->ino);
	return write_if_full(walking);
}

static int walk(struct walking *walking, enum kv_family in)
{
	struct kv_iter *iter = kv_iter_new_flags(walking->kv, in, NULL, 0, NULL, 0, KV_ITER_SCAN);
	int result = 0;

	for (kv_iter_first(iter); kv_iter_valid(iter) && result == 0; kv_iter_next(iter)) {
		struct tree_key_parts parts;
		size_t key_len, len;
		const uint8_t *key = kv_iter_key(iter, &key_len), *value = kv_iter_value(iter, &len);
		if (tree_key_parse(key, key_len, &parts) == 0)
			result = take_version(walking, &parts, value, len);
	}
	if (result == 0)
		result = kv_iter_status(iter);
	kv_iter_free(iter);
	return result;
}

int rebuild(struct kv *kv, const struct rebuild_of *of, struct rebuilt *rebuilt)
{
	struct walking walking = {.kv = kv, .chunks = &of->chunks, .touched = of->damaged[KV_TOUCHED], .batch = kv_batch_new()};
	int result = 0;

	if (of->damaged[KV_TOUCHED] || of->damaged[KV_CATALOG] || of->chunks.count > 0) {
		result = walk(&walking, KV_TREE);
		if (result == 0)
			result = walk(&walking, KV_CONTENT);
	}
	if (result == 0 && of->chunks.count > 0)
		result = rebuild_note_replacements(kv, &of->chunks, walking.batch, &walking.content_lost);
	if (result == 0 && of->damaged[KV_DEDUP])
		result = rebuild_index(kv, walking.batch);
	if (result == 0 && kv_batch_count(walking.batch) > 0)
		result = kv_write(kv, walking.batch, 0);
	if (result == 0 && of->damaged[KV_CATALOG])
		result = rebuild_catalog(kv, &walking.families, rebuilt);
	if (result == 0)
		result = kv_sync(kv);
	rebuilt->content_lost = walking.content_lost;
	stored_families_clear(&walking.families);
	kv_batch_free(walking.batch);
	return result;
}
