/*
 * An extent is moved in place: under the same key and epoch it gets another chunk, with the same bytes. Its offset and its length stay.
 *
 *   RP1  Every view sees the same extents as before, with the same bytes. So nothing else changes: no inode record, no touched index, no
 *        tombstone, no digest. That holds for snapshots, too: they are immutable in what they show, not in where it lies.
 *   RP2  The new chunks are durable before, or with, the batch that names them (I8), and the old ones stay until a mark has met no extent of
 *        them. After a crash each extent names the one or the other.
 *   RP3  Nobody else changes the extent meanwhile: whoever deletes, cuts or replaces one holds the epoch lock of a head of the family from
 *        reading it until his batch is written, and all these heads are frozen. Under the freeze it is looked whether the extent is still
 *        the one that was read. Without that, one that was deleted meanwhile would come back.
 *   RP4  Nobody makes another extent from the one that was there (GC2 in gc.c): cutting needs an epoch lock, and copying between views
 *        holds moves off (lib/tree/records/readers.h).
 *   RP5  Readers who looked the extent up before find the old chunk until they have left (GC3). Extents that are kept in memory are looked up
 *        anew when anything has moved (readers_moves).
 */
#include "lib/reclaim/repack.h"

#include <errno.h>

#include "lib/base/array.h"
#include "lib/base/fault.h"
#include "lib/tree/content/tree.h"
#include "lib/tree/freeze/freeze.h"
#include "lib/tree/records/all_versions.h"
#include "lib/tree/records/readers.h"

#define BATCH_BYTES CHUNK_LEN_MAX /* no extent is longer */
#define BATCH_PIECES 4096

/* An extent that is to be moved. Its bytes lie at `at`. */
struct piece {
	struct tree_key stem;
	uint64_t epoch;
	struct extent_record record;
	size_t at;
	size_t run;
};

/* Pieces that become one chunk. */
struct run {
	size_t first, len;
	bool packed;   /* some of it was stored compressed */
	size_t number; /* in the chunk group */
};

struct repacking {
	struct store *store;
	const struct parts *parts;
	uint32_t family; /* of the pieces */
	ARRAY(struct piece) pieces;
	ARRAY(struct run) runs;
	uint8_t *bytes; /* of the pieces, one after the other; BATCH_BYTES of them */
	size_t len;
	uint64_t copied;
	int (*step)(void *arg, uint64_t bytes);
	void *arg;
};

/* --- one batch --- */

/* As new content of the family's first dataset is compressed. */
static int level_of(struct store *store, uint32_t number)
{
	int level = 0;

	mutex_take(&store->catalog_lock);
	const struct family_views *family = catalog_family(store, number);
	if (family && family->heads)
		level = family->heads->record.level;
	mutex_give(&store->catalog_lock);
	return level;
}

/* What was compressed stays so, also if new content is not: else room would be taken and not given back. */
static int store_runs(struct repacking *repacking, struct chunks_group *group, struct kv_batch *batch)
{
	int level = level_of(repacking->store, repacking->family);

	for (size_t i = 0; i < repacking->runs.count; i++) {
		struct run *run = &repacking->runs.items[i];
		run->number = chunks_group_add_whole(group, repacking->bytes + run->first, run->len, run->packed ? MAX(level, 1) : level);
	}
	return chunks_group_store(group, batch);
}

/* Is the extent still the one that was read? */
static int is_unchanged(struct tree *tree, const struct piece *piece)
{
	AUTO_BUF value = BUF_INIT;
	struct extent_record now;
	int result = all_versions_get(tree, &piece->stem, piece->epoch, &value);

	if (result == -ENOENT || (result == 0 && value.len == 0))
		return 0;
	if (result == 0)
		result = extent_record_decode(value.data, value.len, &now);
	if (result < 0)
		return result;
	return now.chunk == piece->record.chunk && now.chunk_offset == piece->record.chunk_offset && now.length == piece->record.length;
}

/* The heads are frozen. */
static int move_frozen(struct repacking *repacking, const struct chunks_group *group, struct kv_batch *batch)
{
	int result = 1;

	for (size_t i = 0; i < repacking->pieces.count && result >= 0; i++) {
		const struct piece *piece = &repacking->pieces.items[i];
		const struct run *run = &repacking->runs.items[piece->run];
		struct extent_record moved = {
			.length = piece->record.length,
			.chunk_offset = (uint32_t)(piece->at - run->first),
			.chunk_len = (uint32_t)run->len,
		};
		AUTO_BUF value = BUF_INIT;
		size_t count;
		moved.chunk = chunks_group_pieces(group, run->number, &count)->chunk;
		extent_record_encode(&moved, &value);
		result = is_unchanged(repacking->store->tree, piece);
		if (result > 0)
			all_versions_replace(batch, &piece->stem, piece->epoch, value.data, value.len);
	}
	if (result >= 0)
		result = fault_point("repack-before-write");
	return result < 0 ? result : kv_write(repacking->store->kv, batch, 0);
}

static int move(struct repacking *repacking, const struct chunks_group *group, struct kv_batch *batch)
{
	struct store *store = repacking->store;
	struct view_set heads;
	struct freeze *freeze;

	mutex_take(&store->change_lock);
	int result = views_get_heads(store, repacking->family, &heads);
	if (result == 0) {
		readers_move_begin(store->tree);
		result = freeze_begin_uncommitted(heads.items, heads.count, &freeze);
		if (result == 0) {
			result = move_frozen(repacking, group, batch);
			freeze_end(freeze);
		}
		readers_move_end(store->tree);
		views_put_heads(store, &heads);
	}
	mutex_give(&store->change_lock);
	return result;
}

/* -ENOSPC: the disk has no room for it beside what writers may still take. */
static int check_room(struct repacking *repacking)
{
	struct tree_usage usage;

	tree_usage(repacking->store->tree, &usage);
	return usage.free_bytes > 2 * repacking->len ? 0 : -ENOSPC;
}

static int flush(struct repacking *repacking)
{
	struct chunks_group *group;
	struct kv_batch *batch;
	uint64_t bytes = repacking->len;
	int result = bytes > 0 ? check_room(repacking) : 0;

	if (bytes == 0 || result < 0)
		return result;
	group = chunks_group_new(repacking->store->chunks);
	batch = kv_batch_new();
	result = store_runs(repacking, group, batch);
	if (result == 0)
		result = move(repacking, group, batch);
	chunks_group_free(group);
	kv_batch_free(batch);
	if (result < 0)
		return result;
	repacking->copied += bytes;
	array_reset(&repacking->pieces);
	array_reset(&repacking->runs);
	repacking->len = 0;
	result = fault_point("repack-after-write");
	return result < 0 ? result : repacking->step(repacking->arg, bytes);
}

/* --- gathering --- */

static bool is_packed(struct repacking *repacking, const struct extent_record *record)
{
	uint64_t stored;

	return chunks_stored(repacking->store->chunks, record->chunk, &stored) == 0 && stored < record->chunk_len;
}

static void add_to_run(struct repacking *repacking, uint32_t length, bool packed)
{
	struct run *last = repacking->runs.count > 0 ? array_last(&repacking->runs) : NULL;

	if (!last || last->len + length > chunks_average(repacking->store->chunks)) {
		last = array_new(&repacking->runs);
		*last = (struct run){.first = repacking->len};
	}
	last->len += length;
	last->packed |= packed;
}

/* What cannot be read stays where it is: reading it says what is wrong. */
static int add_piece(struct repacking *repacking, const struct stored_version *version, const struct extent_record *record)
{
	bool is_full = repacking->len + record->length > BATCH_BYTES || repacking->pieces.count == BATCH_PIECES;
	int result = is_full ? flush(repacking) : 0;

	if (result < 0)
		return result;
	result = chunks_read(repacking->store->chunks, record->chunk, record->chunk_offset, record->length, repacking->bytes + repacking->len);
	if (result < 0)
		return result == -EIO ? 0 : result;
	add_to_run(repacking, record->length, is_packed(repacking, record));
	array_add(&repacking->pieces, (struct piece){.stem = *version->stem,
	                                            .epoch = version->parts.epoch,
	                                            .record = *record,
	                                            .at = repacking->len,
	                                            .run = repacking->runs.count - 1});
	repacking->len += record->length;
	return 0;
}

static int gather_inode(struct repacking *repacking, const struct parts_place *place)
{
	struct tree_key first = tree_prefix_kind(place->family, place->ino, KEY_EXTENT), end = tree_prefix_end(first);
	struct all_versions *all = all_versions_between(repacking->store->tree, &first, &end);
	struct stored_version version;
	struct extent_record record;
	int result;

	while ((result = all_versions_next(all, &version)) > 0) {
		if (version.len == 0)
			continue;
		result = extent_record_decode(version.value, version.len, &record);
		if (result == 0 && record.chunk != CHUNK_NONE && parts_is_worn(repacking->parts, record.chunk))
			result = add_piece(repacking, &version, &record);
		if (result != 0)
			break;
	}
	all_versions_free(all);
	return result;
}

int repack(struct store *store, const struct parts *parts, int (*step)(void *arg, uint64_t bytes), void *arg, uint64_t *ret_bytes)
{
	struct repacking repacking = {.store = store, .parts = parts, .step = step, .arg = arg, .bytes = malloc(BATCH_BYTES)};
	size_t count;
	const struct parts_place *places = parts_places(parts, &count);
	int result = repacking.bytes ? 0 : -ENOMEM;

	for (size_t i = 0; i < count && result == 0; i++) {
		if (places[i].family != repacking.family)
			result = flush(&repacking);
		repacking.family = places[i].family;
		if (result == 0)
			result = gather_inode(&repacking, &places[i]);
	}
	if (result == 0)
		result = flush(&repacking);
	array_clear(&repacking.pieces);
	array_clear(&repacking.runs);
	free(repacking.bytes);
	*ret_bytes = repacking.copied;
	return result == -ENOSPC ? 0 : result;
}
