/*
 * chunks_group_store: cuts, hashes, finds what is stored already and whole, takes ids, compresses, stores. The pool shares the work.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/chunk/chunk_record.h"
#include "lib/chunk/chunks_group.h"
#include "lib/chunk/dedup.h"
#include "lib/chunk/hits.h"

/* So many new bytes are cheaper in a table file of their own than in the log, although the file takes several fsyncs. */
#define BULK_MIN (1U << 20)
/* On the bulk way so many steps are packed at once: about 16 MiB. */
#define WINDOW_SLICES 64
/* After VAIN_MAX pieces of a run in a row that did not shrink, one piece in VAIN_STEP is tried. */
#define VAIN_MAX 8
#define VAIN_STEP 4

static void make_items(struct chunks_group *group)
{
	struct item *item;

	for (size_t i = 0; i < group->runs.count; i++)
		group->item_count += group->runs.items[i].cuts.count;
	item = group->items = xcalloc(group->item_count + 1, sizeof(*group->items));
	for (size_t i = 0; i < group->runs.count; i++) {
		struct run *run = &group->runs.items[i];
		uint64_t at = 0;

		for (size_t j = 0; j < run->cuts.count; j++, item++) {
			const struct cut_piece *piece = &run->cuts.items[j];

			item->run = run;
			item->data = run->data + at;
			item->length = (uint32_t)(piece->end - at);
			memcpy(item->sha256, piece->sha256, DIGEST_LEN);
			at = piece->end;
		}
	}
	slices_init(&group->slices, group->item_count);
	for (size_t i = 0; i < group->item_count; i++)
		slices_add(&group->slices, group->items[i].length);
}

static void set_error(struct chunks_group *group, int error)
{
	int none = 0;

	atomic_compare_exchange_strong(&group->error, &none, error);
}

static void find_twins(struct chunks_group *group)
{
	struct item *table = NULL;

	for (size_t i = 0; i < group->item_count; i++) {
		struct item *item = &group->items[i];

		HASH_FIND(hh, table, item->sha256, DIGEST_LEN, item->twin);
		if (!item->twin)
			HASH_ADD(hh, table, sha256, DIGEST_LEN, item);
	}
	HASH_CLEAR(hh, table);
}

/* A chunk that should have the same bytes. hits_verify() sees whether it has. */
static int find_stored(struct chunks *chunks, const struct item *item, uint64_t *ret_id)
{
	uint32_t length;
	uint64_t id;
	int ret = dedup_get(chunks->kv, item->sha256, &id, &length);

	if (ret)
		return ret;
	if (length != item->length || id >= ids_next(chunks->ids, id & CHUNK_BULK))
		return -ENOENT;
	*ret_id = damaged_resolve(chunks->damaged, id);
	return 0;
}

/* settle_hits() holds mark_lock shared during all steps: the collector sees what is found here in the set. */
static void look_up_slice(void *arg, size_t index)
{
	struct chunks_group *group = arg;
	struct chunks *chunks = group->chunks;

	for (size_t i = group->slices.at[index]; i < group->slices.at[index + 1]; i++) {
		struct item *item = &group->items[i];
		int ret;

		if (item->twin)
			continue;
		ret = find_stored(chunks, item, &item->id);
		item->is_new = ret == -ENOENT;
		if (!ret && chunks->mark)
			chunk_set_add(chunks->mark, item->id);
		else if (ret && ret != -ENOENT)
			set_error(group, ret);
	}
}

/* Gives the new items their ids, of one kind, in order. */
static int number_items(struct chunks_group *group, uint64_t *ret_first)
{
	uint64_t bytes = 0, count = 0, id = 0;
	int ret;

	for (size_t i = 0; i < group->item_count; i++) {
		if (group->items[i].is_new) {
			bytes += group->items[i].length;
			count++;
		}
	}
	ret = count ? ids_take(group->chunks->ids, bytes >= BULK_MIN && backend_takes_bulk(group->chunks->backend), count, &id) : 0;
	if (ret)
		return ret;
	*ret_first = id;
	for (size_t i = 0; i < group->item_count; i++)
		if (group->items[i].is_new)
			group->items[i].id = id++;
	return 0;
}

/* What is in the store is settled first, and stays there from then on. Reading it takes a while, in which the collector is not held up. */
static int settle_hits(struct chunks_group *group)
{
	struct chunks *chunks = group->chunks;

	rwlock_read(&chunks->mark_lock);
	pool_run(chunks->pool, look_up_slice, group, group->slices.count);
	group->settled = group->item_count;
	rwlock_give(&chunks->mark_lock);
	return atomic_load(&group->error);
}

static int settle_new(struct chunks_group *group, uint64_t *ret_first)
{
	int ret;

	rwlock_read(&group->chunks->mark_lock);
	for (size_t i = 0; i < group->item_count; i++) {
		struct item *item = &group->items[i];

		if (item->unsound) {
			item->heals = item->id;
			item->is_new = true;
		}
	}
	ret = number_items(group, ret_first);
	rwlock_give(&group->chunks->mark_lock);
	return ret;
}

static int settle(struct chunks_group *group, uint64_t *ret_first)
{
	int ret = settle_hits(group);

	if (ret)
		return ret;
	hits_verify(group);
	return settle_new(group, ret_first);
}

/* In a run whose last pieces did not shrink, a few are tried until one does. Threads that look at once may try one more or less. */
static bool is_tried(const struct chunks_group *group, const struct item *item)
{
	return atomic_load(&item->run->unshrunk) < VAIN_MAX || (size_t)(item - group->items) % VAIN_STEP == 0;
}

static int pack_item(const struct chunks_group *group, struct codec *codec, struct item *item)
{
	int ret = 0;

	item->stored_len = item->length;
	if (!is_tried(group, item))
		return 0;
	ret = codec_pack(codec, item->data, item->length, item->run->level, &item->packed, &item->stored_len);
	if (!ret)
		atomic_fetch_add(&item->run->unshrunk, 1);
	else if (ret > 0 && atomic_load(&item->run->unshrunk))
		atomic_store(&item->run->unshrunk, 0);
	return MIN(ret, 0);
}

/* Puts the item's record; what was packed for it is not needed any more. */
static int put_item(struct item *item, struct backend_put *put)
{
	const uint8_t *stored = item->packed ? item->packed : item->data;
	struct chunk_header header = {
		.codec = item->packed ? CHUNK_CODEC_ZSTD : CHUNK_CODEC_PLAIN,
		.plain_len = item->length,
		.stored = stored,
		.stored_len = (uint32_t)item->stored_len,
	};
	uint8_t encoded[CHUNK_HEADER_LEN];
	int ret;

	memcpy(header.sha256, item->sha256, DIGEST_LEN);
	chunk_record_seal(item->id, &header, encoded);
	ret = backend_put(put, item->id, encoded, stored, item->stored_len);
	free(steal_ptr(item->packed));
	return ret;
}

static int put_items(struct chunks_group *group, size_t first, size_t end, struct backend_put *put)
{
	int ret = 0;

	for (size_t i = first; i < end && !ret; i++)
		if (group->items[i].is_new)
			ret = put_item(&group->items[i], put);
	return ret;
}

static void pack_items(struct chunks_group *group, size_t slice)
{
	struct scratch *tools = scratch_take(group->chunks->scratch);

	for (size_t i = group->slices.at[slice]; i < group->slices.at[slice + 1] && !atomic_load(&group->error); i++) {
		int ret = group->items[i].is_new ? pack_item(group, tools->codec, &group->items[i]) : 0;

		if (ret)
			set_error(group, ret);
	}
	scratch_put(group->chunks->scratch, tools);
}

static void pack_slice(void *arg, size_t index)
{
	pack_items(arg, index);
}

/*
 * The bulk way goes over the group window by window: while the items of one window are packed, those of the window before are written. So
 * writing takes no time of its own, and at most two windows of packed bytes are in memory.
 */
struct window {
	struct chunks_group *group;
	struct backend_put *put;
	size_t first, end;       /* slices to be packed */
	size_t write, write_end; /* items to be written */
};

static void window_step(void *arg, size_t index)
{
	struct window *window = arg;

	if (index == 0) {
		int ret = put_items(window->group, window->write, window->write_end, window->put);

		if (ret)
			set_error(window->group, ret);
	} else {
		pack_items(window->group, window->first + index - 1);
	}
}

static int store_bulk(struct chunks_group *group, struct backend_put *put)
{
	struct window window = {.group = group, .put = put};
	int ret = 0;

	while (!ret && window.write < group->item_count) {
		window.end = MIN(window.first + WINDOW_SLICES, group->slices.count);
		pool_run(group->chunks->pool, window_step, &window, 1 + window.end - window.first);
		window.first = window.end;
		window.write = window.write_end;
		window.write_end = group->slices.at[window.end];
		ret = atomic_load(&group->error);
	}
	return ret;
}

static int store_small(struct chunks_group *group, struct backend_put *put)
{
	int ret;

	pool_run(group->chunks->pool, pack_slice, group, group->slices.count);
	ret = atomic_load(&group->error);
	return ret ? ret : put_items(group, 0, group->item_count, put);
}

/* `first`: the least new id; 0 when everything was there already. */
static int store_new(struct chunks_group *group, uint64_t first, struct kv_batch *batch)
{
	struct backend_put *put;
	int ret;

	if (!first)
		return 0;
	ret = backend_put_begin(group->chunks->backend, first, batch, &put);
	if (ret)
		return ret;
	ret = first & CHUNK_BULK ? store_bulk(group, put) : store_small(group, put);
	if (!ret)
		ret = backend_put_end(put);
	backend_put_free(put);
	return ret;
}

static void index_new(const struct chunks_group *group, struct kv_batch *batch)
{
	for (size_t i = 0; i < group->item_count; i++) {
		const struct item *item = &group->items[i];

		if (item->is_new)
			dedup_put(batch, item->sha256, item->length, item->id);
		if (item->heals)
			damaged_replace(group->chunks->damaged, batch, item->heals, item->id);
	}
}

static void make_pieces(struct chunks_group *group)
{
	const struct item *item = group->items;

	for (size_t i = 0; i < group->runs.count; i++) {
		struct run *run = &group->runs.items[i];

		run->pieces = xcalloc(run->cuts.count + 1, sizeof(*run->pieces));
		for (size_t j = 0; j < run->cuts.count; j++, item++) {
			run->pieces[j].offset = (uint64_t)(item->data - run->data);
			run->pieces[j].length = item->length;
			run->pieces[j].chunk = item->twin ? item->twin->id : item->id;
		}
	}
}

int chunks_group_store(struct chunks_group *group, struct kv_batch *batch)
{
	uint64_t first;
	int ret;

	group_cut(group);
	make_items(group);
	find_twins(group);
	ret = settle(group, &first);
	if (!ret)
		ret = store_new(group, first, batch);
	if (ret)
		return ret;
	index_new(group, batch);
	make_pieces(group);
	return 0;
}
