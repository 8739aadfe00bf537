#include "lib/tree/inodes/dirty.h"

#include <errno.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/fault.h"

/* Segments grow by doubling up to here, then they move to a big block at once. */
#define SMALL_MAX (1U << 20)

static void data_free(struct block_pool *pool, uint8_t *data, size_t cap)
{
	if (pool && cap == DIRTY_SEGMENT_MAX)
		block_give(pool, data);
	else
		free(data);
}

static uint64_t segment_end(const struct segment *segment)
{
	return segment->offset + segment->len;
}

/* Index of the first segment that ends after `offset`; count if there is none. */
static size_t first_ending_after(const struct dirty *dirty, uint64_t offset)
{
	size_t low = 0, high = dirty->segments.count;

	/* the usual case: appending */
	if (high && segment_end(&dirty->segments.items[high - 1]) <= offset)
		return high;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (segment_end(&dirty->segments.items[middle]) > offset)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static void insert_segment(struct dirty *dirty, size_t index, const struct segment *segment)
{
	array_insert(&dirty->segments, index, *segment);
	dirty->bytes += segment->len;
}

void dirty_clear(struct dirty *dirty)
{
	struct block_pool *pool = dirty->pool;

	for (size_t i = 0; i < dirty->segments.count; i++)
		data_free(pool, dirty->segments.items[i].data, dirty->segments.items[i].cap);
	array_clear(&dirty->segments);
	dirty_forget_records(dirty);
	*dirty = (struct dirty){ .pool = pool };
}

void dirty_add_record(struct dirty *dirty, struct journal *journal, struct journal_record *record)
{
	dirty->journal = journal;
	array_add(&dirty->records, record);
	dirty->record_bytes += record->size;
}

void dirty_forget_last(struct dirty *dirty)
{
	struct journal_record *record = array_pop(&dirty->records);

	dirty->record_bytes -= record->size;
	journal_forget(dirty->journal, record);
}

/* NULL: there are not so many. */
static struct journal_record *record_from_end(const struct dirty *dirty, size_t back)
{
	return dirty->records.count > back ? dirty->records.items[dirty->records.count - 1 - back] : NULL;
}

/* See J5. `last` comes right after `record`, `before` (or NULL) right before it. */
static bool is_needless(const struct journal_record *before, const struct journal_record *record, const struct journal_record *last)
{
	if (record->kind == JOURNAL_TIMES)
		return last->kind == JOURNAL_TIMES || last->kind == JOURNAL_TRUNCATE;
	if (record->kind != JOURNAL_TRUNCATE || last->kind != JOURNAL_TRUNCATE)
		return false;
	return last->offset <= record->offset || (before && before->kind == JOURNAL_TRUNCATE && before->offset <= record->offset);
}

void dirty_keep_last(struct dirty *dirty)
{
	struct journal_record *last = record_from_end(dirty, 0), *record;

	while ((record = record_from_end(dirty, 1)) && is_needless(record_from_end(dirty, 2), record, last)) {
		dirty->record_bytes -= record->size;
		array_remove(&dirty->records, dirty->records.count - 2, 1);
		journal_forget(dirty->journal, record);
	}
}

void dirty_forget_records(struct dirty *dirty)
{
	for (size_t i = 0; i < dirty->records.count; i++)
		journal_forget(dirty->journal, dirty->records.items[i]);
	array_clear(&dirty->records);
	dirty->record_bytes = 0;
}

void dirty_move_records_apart(struct dirty *dirty)
{
	for (size_t i = 0; i < dirty->records.count; i++)
		dirty->records.items[i] = journal_move_apart(dirty->journal, dirty->records.items[i]);
}

/* Those of `below` are older. */
static void join_records(struct dirty *dirty, struct dirty *below)
{
	if (below->records.count == 0)
		return;
	array_append(&below->records, dirty->records.items, dirty->records.count);
	array_clear(&dirty->records);
	dirty->records.items = below->records.items;
	dirty->records.count = below->records.count;
	dirty->records.cap = below->records.cap;
	dirty->journal = below->journal;
	dirty->record_bytes += below->record_bytes;
	below->records.items = NULL;
	below->records.count = below->records.cap = 0;
	below->record_bytes = 0;
}

/* Room for `len` bytes in the segment; `big`: more are expected soon. */
static int segment_reserve(struct dirty *dirty, struct segment *segment, size_t len, bool big)
{
	size_t cap = MAX(len, MIN(2 * segment->cap, SMALL_MAX));
	uint8_t *data;

	if (len <= segment->cap)
		return 0;
	if (len <= SMALL_MAX && !big) {
		data = realloc(segment->data, cap);
	} else {
		cap = DIRTY_SEGMENT_MAX;
		data = block_take(dirty->pool);
		if (data && segment->data) {
			memcpy(data, segment->data, segment->len);
			data_free(dirty->pool, segment->data, segment->cap);
		}
	}
	if (!data)
		return -ENOMEM;
	segment->data = data;
	segment->cap = cap;
	return 0;
}

/*
 * Writes may come out of order: the segments that one has reached become part of it while they are no longer than itself, so no byte is
 * moved often.
 */
static void swallow_next(struct dirty *dirty, size_t index, size_t most)
{
	struct segment *segment = &dirty->segments.items[index], *next = segment + 1;

	while (index + 1 < dirty->segments.count && next->offset == segment_end(segment) && next->len <= segment->len &&
	       segment->len + next->len <= MAX(segment->cap, most) &&
	       segment_reserve(dirty, segment, segment->len + next->len, false) == 0) {
		memcpy(segment->data + segment->len, next->data, next->len);
		segment->len += next->len;
		data_free(dirty->pool, next->data, next->cap);
		array_remove(&dirty->segments, index + 1, 1);
	}
}

/* Makes room for [first, end), of which nothing is buffered: at the end of a segment that touches it, the rest in new ones. */
static int fill_gap(struct dirty *dirty, uint64_t first, uint64_t end)
{
	const size_t most = !dirty->pool || block_may_grow(dirty->pool) ? DIRTY_SEGMENT_MAX : SMALL_MAX;
	size_t index = first_ending_after(dirty, first);

	while (first < end) {
		struct segment *before = index ? &dirty->segments.items[index - 1] : NULL;
		struct segment fresh = { .offset = first };
		size_t take = MIN(end - first, most), room = before ? MAX(before->cap, most) - before->len : 0;

		if (before && segment_end(before) == first && room > 0) {
			take = MIN(end - first, room);
			if (segment_reserve(dirty, before, before->len + take, false) < 0)
				return -ENOMEM;
			before->len += take;
			dirty->bytes += take;
			swallow_next(dirty, index - 1, most);
		} else {
			/* it goes on where a full one ends: the next of a long row */
			bool big = before && segment_end(before) == first && most == DIRTY_SEGMENT_MAX;

			if (segment_reserve(dirty, &fresh, take, big) < 0)
				return -ENOMEM;
			fresh.len = take;
			insert_segment(dirty, index++, &fresh);
		}
		first += take;
	}
	return 0;
}

void dirty_gaps(const struct dirty *dirty, uint64_t offset, uint64_t end, struct ranges *gaps)
{
	for (size_t i = first_ending_after(dirty, offset); offset < end; i++) {
		uint64_t next = i < dirty->segments.count ? MIN(dirty->segments.items[i].offset, end) : end;

		if (next > offset)
			array_add(gaps, (struct range){ offset, next });
		offset = i < dirty->segments.count ? segment_end(&dirty->segments.items[i]) : end;
	}
}

/* Copies the part of [offset, offset+len) that is buffered from or to the segments. */
static void copy_buffered(const struct dirty *dirty, uint64_t offset, size_t len, uint8_t *out, const uint8_t *in)
{
	uint64_t end = offset + len;

	for (size_t i = first_ending_after(dirty, offset); i < dirty->segments.count && dirty->segments.items[i].offset < end; i++) {
		const struct segment *segment = &dirty->segments.items[i];
		uint64_t first = MAX(offset, segment->offset);
		size_t part = MIN(end, segment_end(segment)) - first;

		if (in)
			memcpy(segment->data + (first - segment->offset), in + (first - offset), part);
		else
			memcpy(out + (first - offset), segment->data + (first - segment->offset), part);
	}
}

int64_t dirty_write(struct dirty *dirty, uint64_t offset, const void *data, size_t len)
{
	uint64_t before = dirty->bytes;
	struct ranges gaps = { 0 };
	int64_t result = fault_point("buffer-before-memory");

	dirty_gaps(dirty, offset, offset + len, &gaps);
	for (size_t i = 0; i < gaps.count && !result; i++) {
		result = fill_gap(dirty, gaps.items[i].first, gaps.items[i].end);
		for (size_t j = 0; result && j <= i; j++)
			dirty_discard(dirty, gaps.items[j].first, gaps.items[j].end);
	}
	array_clear(&gaps);
	if (result)
		return result;
	copy_buffered(dirty, offset, len, NULL, data);
	return (int64_t)(dirty->bytes - before);
}

int64_t dirty_write_block(struct dirty *dirty, uint64_t offset, void *block, size_t len)
{
	struct segment segment = { .offset = offset, .len = len, .cap = DIRTY_SEGMENT_MAX, .data = block };
	int64_t result = (int64_t)len;

	if (dirty_overlaps(dirty, offset, len)) {
		result = dirty_write(dirty, offset, block, len);
		block_give(dirty->pool, block);
	} else {
		insert_segment(dirty, first_ending_after(dirty, offset), &segment);
	}
	return result;
}

/* Cuts a segment in two: the second starts at `offset`, which lies inside. */
static void split_segment(struct dirty *dirty, size_t index, uint64_t offset)
{
	struct segment *segment = &dirty->segments.items[index];
	size_t head = offset - segment->offset;
	struct segment rest = { .offset = offset };

	/* a few bytes of a failing malloc would leave old bytes behind */
	if (segment_reserve(dirty, &rest, segment->len - head, false) < 0)
		abort();
	rest.len = segment->len - head;
	memcpy(rest.data, segment->data + head, rest.len);
	segment->len = head;
	dirty->bytes -= rest.len;
	insert_segment(dirty, index + 1, &rest);
}

uint64_t dirty_discard(struct dirty *dirty, uint64_t offset, uint64_t end)
{
	uint64_t before = dirty->bytes;
	size_t first, last;

	if (offset >= end)
		return 0;
	first = first_ending_after(dirty, offset);
	if (first < dirty->segments.count && dirty->segments.items[first].offset < offset) {
		if (segment_end(&dirty->segments.items[first]) > end)
			split_segment(dirty, first, end);
		dirty->bytes -= segment_end(&dirty->segments.items[first]) - offset;
		dirty->segments.items[first].len = offset - dirty->segments.items[first].offset;
		first++;
	}
	for (last = first; last < dirty->segments.count && segment_end(&dirty->segments.items[last]) <= end; last++) {
		dirty->bytes -= dirty->segments.items[last].len;
		data_free(dirty->pool, dirty->segments.items[last].data, dirty->segments.items[last].cap);
	}
	array_remove(&dirty->segments, first, last - first);
	if (first < dirty->segments.count && dirty->segments.items[first].offset < end) {
		struct segment *segment = &dirty->segments.items[first];
		size_t cut = end - segment->offset;

		segment->len -= cut;
		segment->offset = end;
		memmove(segment->data, segment->data + cut, segment->len);
		dirty->bytes -= cut;
	}
	return before - dirty->bytes;
}

void dirty_overlay(const struct dirty *dirty, uint64_t offset, size_t len, void *out)
{
	copy_buffered(dirty, offset, len, out, NULL);
}

bool dirty_overlaps(const struct dirty *dirty, uint64_t offset, size_t len)
{
	size_t i = first_ending_after(dirty, offset);

	return i < dirty->segments.count && dirty->segments.items[i].offset < offset + len;
}

bool dirty_covers(const struct dirty *dirty, uint64_t offset, size_t len)
{
	uint64_t end = offset + len;

	for (size_t i = first_ending_after(dirty, offset); offset < end; i++) {
		if (i == dirty->segments.count || dirty->segments.items[i].offset > offset)
			return false;
		offset = segment_end(&dirty->segments.items[i]);
	}
	return true;
}

static void merge_segment(struct dirty *dirty, const struct segment *segment)
{
	struct ranges gaps = { 0 };

	dirty_gaps(dirty, segment->offset, segment_end(segment), &gaps);
	for (size_t i = 0; i < gaps.count; i++) {
		const struct range *gap = &gaps.items[i];

		/* without memory for what was accepted, going on would mean losing it silently */
		if (fill_gap(dirty, gap->first, gap->end) < 0)
			abort();
		copy_buffered(dirty, gap->first, gap->end - gap->first, NULL, segment->data + (gap->first - segment->offset));
	}
	array_clear(&gaps);
}

void dirty_merge_below(struct dirty *dirty, struct dirty *below)
{
	for (size_t i = 0; i < below->segments.count; i++) {
		struct segment *segment = &below->segments.items[i];

		if (!dirty_overlaps(dirty, segment->offset, segment->len)) {
			insert_segment(dirty, first_ending_after(dirty, segment->offset), segment);
			*segment = (struct segment){ 0 };
		} else {
			merge_segment(dirty, segment);
		}
	}
	join_records(dirty, below);
	dirty_clear(below);
}
