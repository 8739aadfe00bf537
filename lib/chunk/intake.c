/*
 * chunks_group_store: cut, hash, find what is there already, take ids, compress, store. The steps that cost are shared out on the pool.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/fault.h"
#include "lib/chunk/chunks_group.h"

/* From here on an SST file of their own is cheaper than the way through the WAL, although it costs several fsyncs. */
#define BULK_MIN (1U << 20)
/* So many steps are packed at once on the bulk way: about 16 MiB. */
#define WINDOW_SLICES 64
/* So many pieces of a run that do not shrink are tried in a row, then one of so many. */
#define VAIN_MAX 8
#define VAIN_STEP 4

static void make_items(struct chunks_group *group)
{
	struct item *item;

	for (size_t i = 0; i < group->run_count; i++)
		group->item_count += group->runs[i].cuts.count;
	item = group->items = xcalloc(group->item_count + 1, sizeof(*group->items));
	for (size_t i = 0; i < group->run_count; i++) {
		struct run *run = &group->runs[i];
		uint64_t at = 0;

		for (size_t j = 0; j < run->cuts.count; j++, item++) {
			const struct cut_piece *piece = &run->cuts.at[j];

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

/* The caller of the pool holds the mark lock, shared, for all steps: what is found here is marked before the collector can look. */
static void look_up_slice(void *arg, size_t index)
{
	struct chunks_group *group = arg;
	struct chunks *chunks = group->chunks;

	for (size_t i = group->slices.at[index]; i < group->slices.at[index + 1]; i++) {
		struct item *item = &group->items[i];
		int ret;

		if (item->twin)
			continue;
		ret = dedup_find(chunks, item->sha256, item->length, &item->id);
		item->is_new = ret == -ENOENT;
		if (!ret && chunks->mark)
			chunk_set_add(chunks->mark, item->id);
		else if (ret && ret != -ENOENT)
			set_error(group, ret);
	}
}

/* Gives the new items their ids; whether they go the bulk way. */
static int number_items(struct chunks_group *group, bool *ret_bulk)
{
	uint64_t bytes = 0, count = 0, id = 0;
	bool bulk;
	int ret;

	for (size_t i = 0; i < group->item_count; i++) {
		if (group->items[i].is_new) {
			bytes += group->items[i].length;
			count++;
		}
	}
	bulk = bytes >= BULK_MIN;
	ret = count ? ids_take(group->chunks->ids, bulk, count, &id) : 0;
	if (ret)
		return ret;
	for (size_t i = 0; i < group->item_count; i++)
		if (group->items[i].is_new)
			group->items[i].id = id++;
	*ret_bulk = bulk;
	return 0;
}

static int settle(struct chunks_group *group, bool *ret_bulk)
{
	struct chunks *chunks = group->chunks;
	int ret;

	pthread_rwlock_rdlock(&chunks->mark_lock);
	pool_run(chunks->pool, look_up_slice, group, group->slices.count);
	ret = atomic_load(&group->error);
	if (!ret)
		ret = number_items(group, ret_bulk);
	group->settled = group->item_count;
	pthread_rwlock_unlock(&chunks->mark_lock);
	return ret;
}

static const uint8_t *stored_bytes(const struct item *item)
{
	return item->packed ? item->packed : item->data;
}

/*
 * In a run of which so much was in vain, only a few pieces are tried until one shrinks again. Threads that look at once may try one more or
 * less.
 */
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

/* The header of the item's record; `stored` are its stored bytes, wherever they are in the core's cache just now. */
static void make_header(const struct item *item, const uint8_t *stored, uint8_t out[CHUNK_HEADER_LEN])
{
	struct chunk_header header = {.codec = item->packed ? CHUNK_CODEC_ZSTD : CHUNK_CODEC_PLAIN, .plain_len = item->length};

	memcpy(header.sha256, item->sha256, DIGEST_LEN);
	chunk_header_encode(&header, out);
	header.checksum = chunk_checksum(item->id, out, stored, item->stored_len);
	chunk_header_encode(&header, out);
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
 * The bulk way goes over the group window by window: while the items of one are packed, those of the one before are written. So the
 * writing costs no time of its own, and no more than two windows of packed bytes are in memory.
 */
struct window {
	struct chunks_group *group;
	struct kv_sst *sst;
	size_t first, end;       /* slices to be packed */
	size_t write, write_end; /* items to be written */
};

static int write_items(const struct window *window)
{
	static const uint8_t no_header[CHUNK_HEADER_LEN];
	AUTO_BUF record = BUF_INIT;

	for (size_t i = window->write; i < window->write_end; i++) {
		struct item *item = &window->group->items[i];
		struct small_key key;
		int ret;

		if (!item->is_new)
			continue;
		key = chunk_key(item->id);
		buf_reset(&record);
		buf_add(&record, no_header, CHUNK_HEADER_LEN);
		buf_add(&record, stored_bytes(item), item->stored_len);
		make_header(item, record.data + CHUNK_HEADER_LEN, record.data);
		ret = kv_sst_put(window->sst, key.bytes, key.len, record.data, record.len);
		if (ret)
			return ret;
		free(steal_ptr(item->packed));
	}
	return 0;
}

static void window_step(void *arg, size_t index)
{
	struct window *window = arg;

	if (index == 0) {
		int ret = write_items(window);

		if (ret)
			set_error(window->group, ret);
	} else {
		pack_items(window->group, window->first + index - 1);
	}
}

static int fill_sst(struct chunks_group *group, struct kv_sst *sst)
{
	struct window window = {.group = group, .sst = sst};
	int ret = 0;

	while (!ret && window.write < group->item_count) {
		window.end = MIN(window.first + WINDOW_SLICES, group->slices.count);
		pool_run(group->chunks->pool, window_step, &window, 1 + window.end - window.first);
		window.first = window.end;
		window.write = window.write_end;
		window.write_end = group->slices.at[window.end];
		ret = atomic_load(&group->error);
	}
	return ret ? ret : kv_sst_finish(sst);
}

static uint64_t first_new_id(const struct chunks_group *group)
{
	const struct item *item = group->items;

	while (!item->is_new)
		item++;
	return item->id;
}

static int store_bulk(struct chunks_group *group)
{
	struct chunks *chunks = group->chunks;
	AUTO_FREE char *path = xasprintf("%s/%016" PRIx64 ".sst", chunks->ingest_dir, first_new_id(group));
	struct kv_sst *sst;
	int ret = kv_sst_new(chunks->kv, KV_BULK, path, &sst);

	if (ret)
		return ret;
	ret = fill_sst(group, sst);
	if (!ret)
		ret = fault_point("chunks-before-ingest");
	if (!ret)
		ret = kv_ingest(chunks->kv, sst);
	if (!ret)
		ret = fault_point("chunks-after-ingest");
	kv_sst_free(sst);
	return ret;
}

static void fill_batch(struct chunks_group *group, bool bulk, struct kv_batch *batch)
{
	for (size_t i = 0; i < group->item_count; i++) {
		struct item *item = &group->items[i];

		if (!item->is_new)
			continue;
		if (!bulk) {
			struct small_key key = chunk_key(item->id);
			uint8_t header[CHUNK_HEADER_LEN];

			make_header(item, stored_bytes(item), header);
			kv_batch_put2(batch, KV_SMALL, key.bytes, key.len, header, CHUNK_HEADER_LEN, stored_bytes(item),
			              item->stored_len);
			free(steal_ptr(item->packed));
		}
		dedup_put(batch, item->sha256, item->length, item->id);
	}
}

static void make_pieces(struct chunks_group *group)
{
	const struct item *item = group->items;

	for (size_t i = 0; i < group->run_count; i++) {
		struct run *run = &group->runs[i];

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
	struct pool *pool = group->chunks->pool;
	bool bulk;
	int ret;

	group_cut(group);
	make_items(group);
	find_twins(group);
	ret = settle(group, &bulk);
	if (ret)
		return ret;
	if (bulk) {
		ret = store_bulk(group);
	} else {
		pool_run(pool, pack_slice, group, group->slices.count);
		ret = atomic_load(&group->error);
	}
	if (ret)
		return ret;
	fill_batch(group, bulk, batch);
	make_pieces(group);
	return 0;
}
