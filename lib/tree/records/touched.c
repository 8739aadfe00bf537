#include "lib/tree/records/touched.h"

#include "lib/tree/records/view_inside.h"

void touched_put(struct kv_batch *batch, uint32_t family, uint64_t epoch, uint64_t ino)
{
	struct small_key key = touched_key(family, epoch, ino);

	kv_batch_put(batch, KV_TOUCHED, key.bytes, key.len, "", 0);
}

void touched_remove(struct kv_batch *batch, uint32_t family, uint64_t epoch, uint64_t ino)
{
	struct small_key key = touched_key(family, epoch, ino);

	kv_batch_delete(batch, KV_TOUCHED, key.bytes, key.len);
}

int touched_each(struct tree *tree, uint32_t family, struct touched_place from, uint64_t last, touched_fn each, void *arg)
{
	struct small_key first = touched_key(family, from.epoch, from.ino), end = touched_key(family, last, UINT64_MAX);
	struct kv_iter *iter = kv_iter_new(tree->kv, KV_TOUCHED, first.bytes, first.len, end.bytes, end.len);
	int result = 0;

	for (kv_iter_first(iter); result == 0 && kv_iter_valid(iter); kv_iter_next(iter)) {
		struct touched_place place;
		uint32_t of_family;
		size_t len;
		const uint8_t *key = kv_iter_key(iter, &len);
		result = touched_key_parse(key, len, &of_family, &place.epoch, &place.ino);
		if (result == 0)
			result = each(arg, place);
	}
	if (result == 0)
		result = kv_iter_status(iter);
	kv_iter_free(iter);
	return result;
}

int touched_each_of_line(struct tree *tree, uint32_t family, const struct line *line, touched_fn each, void *arg)
{
	int result = 0;

	for (uint32_t i = 0; i < line->count && result == 0; i++)
		result = touched_each(tree, family, (struct touched_place){.epoch = line->items[i].first}, line->items[i].last,
				      each, arg);
	return result;
}

struct deletion {
	struct kv_batch *batch;
	uint32_t family;
	size_t limit;
};

static int delete_entry(void *arg, struct touched_place place)
{
	struct deletion *deletion = arg;

	touched_remove(deletion->batch, deletion->family, place.epoch, place.ino);
	return kv_batch_count(deletion->batch) >= deletion->limit;
}

int touched_delete_some(struct tree *tree, uint32_t family, const struct interval *epochs, size_t limit)
{
	struct deletion deletion = {.batch = kv_batch_new(), .family = family, .limit = limit};
	struct touched_place from = {.epoch = epochs->first};
	int more = touched_each(tree, family, from, epochs->last, delete_entry, &deletion), result = more;

	if (result >= 0 && kv_batch_count(deletion.batch) > 0)
		result = kv_write(tree->kv, deletion.batch, KV_GIVES_ROOM);
	kv_batch_free(deletion.batch);
	return result < 0 ? result : more;
}

int touched_drop_family(struct tree *tree, uint32_t family)
{
	struct small_key first = touched_key(family, 0, 0), end = touched_key(family + 1, 0, 0);

	return kv_drop_range(tree->kv, KV_TOUCHED, first.bytes, first.len, end.bytes, end.len);
}

int touched_compact(struct tree *tree, bool (*stop)(void *arg), void *arg)
{
	return kv_compact_waste(tree->kv, KV_TOUCHED, KV_LIVING_UNKNOWN, stop, arg);
}
