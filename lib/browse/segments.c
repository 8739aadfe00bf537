#include "lib/browse/segments.h"

#include <utlist.h>

static bool has_segment(void *arg, uint32_t number)
{
	return segments_get(arg, number) != NULL;
}

void segments_init(struct segments *segments)
{
	*segments = (struct segments){.table = blob_table_new(has_segment, segments)};
}

void segments_clear(struct segments *segments)
{
	struct segment *segment, *next;

	HASH_ITER (hh, segments->by_number, segment, next) {
		HASH_DEL(segments->by_number, segment);
		free(segment);
	}
	blob_table_free(segments->table);
	*segments = (struct segments){0};
}

struct segment *segments_add(struct segments *segments, uint32_t number, uint64_t bytes)
{
	struct segment *segment = xcalloc(1, sizeof(*segment));

	segment->number = number;
	HASH_ADD(hh, segments->by_number, number, sizeof(segment->number), segment);
	DL_APPEND(segments->by_use, segment);
	segments_grow(segments, segment, bytes);
	return segment;
}

struct segment *segments_get(const struct segments *segments, uint32_t number)
{
	struct segment *segment;

	HASH_FIND(hh, segments->by_number, &number, sizeof(number), segment);
	return segment;
}

void segments_grow(struct segments *segments, struct segment *segment, uint64_t bytes)
{
	segment->bytes += bytes;
	segments->bytes += bytes;
}

void segments_use(struct segments *segments, struct segment *segment)
{
	DL_DELETE(segments->by_use, segment);
	DL_APPEND(segments->by_use, segment);
}

void segments_take_out(struct segments *segments, struct segment *segment, struct segment **gone)
{
	HASH_DEL(segments->by_number, segment);
	DL_DELETE(segments->by_use, segment);
	segments->bytes -= segment->bytes;
	segments->blobs -= segment->blobs;
	segments->pinned_here -= segment->pinned;
	DL_APPEND(*gone, segment);
}

bool segments_find(const struct segments *segments, uint64_t key, bool is_tree, struct blob_spot *ret_spot)
{
	return blob_table_find(segments->table, key, is_tree, ret_spot);
}

/* `change`: 1 or -1. What it has of pinned bytes is its own. */
static void count_pinned(struct segments *segments, struct segment *segment, const struct blob_spot *spot, int change)
{
	const uint64_t bytes = segment_record_bytes(spot->length);

	segment->pinned += change < 0 ? -bytes : bytes;
	segments->pinned_here += change < 0 ? -bytes : bytes;
}

static void count(struct segments *segments, const struct blob_spot *spot, int change)
{
	struct segment *segment = segments_get(segments, spot->segment);

	if (!segment)
		return;
	segment->blobs += (uint64_t)change;
	segments->blobs += (uint64_t)change;
	if (spot->pins > 0)
		count_pinned(segments, segment, spot, change);
}

void segments_set(struct segments *segments, const struct blob_spot *spot)
{
	struct blob_spot before, now;

	if (segments_find(segments, spot->key, spot->length & SEGMENT_TREE, &before))
		count(segments, &before, -1);
	blob_table_set(segments->table, spot);
	if (segments_find(segments, spot->key, spot->length & SEGMENT_TREE, &now))
		count(segments, &now, 1);
}

void segments_forget(struct segments *segments, const struct blob_spot *spot)
{
	struct blob_spot now;

	if (segments_find(segments, spot->key, spot->length & SEGMENT_TREE, &now) && blob_table_forget(segments->table, spot))
		count(segments, &now, -1);
}

void segments_pin(struct segments *segments, uint64_t key, uint32_t length)
{
	const struct blob_spot spot = blob_table_pin(segments->table, key, length);
	struct segment *segment = segments_get(segments, spot.segment);

	if (spot.pins > 1)
		return;
	segments->pinned += segment_record_bytes(spot.length);
	if (segment)
		count_pinned(segments, segment, &spot, 1);
}

void segments_unpin(struct segments *segments, uint64_t key, uint32_t length)
{
	struct segment *segment;
	struct blob_spot spot;

	if (!blob_table_unpin(segments->table, key, length & SEGMENT_TREE, &spot) || spot.pins > 0)
		return;
	segments->pinned -= MIN(segment_record_bytes(spot.length), segments->pinned);
	segment = segments_get(segments, spot.segment);
	if (!segment)
		return;
	count_pinned(segments, segment, &spot, -1);
	segment->stays = false;
}

void segments_unpin_all(struct segments *segments)
{
	blob_table_unpin_all(segments->table);
	for (struct segment *segment = segments->by_use; segment; segment = segment->next) {
		segment->pinned = 0;
		segment->stays = false;
	}
	segments->pinned = segments->pinned_here = 0;
}
