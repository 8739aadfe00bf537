#include "lib/history/content_diff.h"

#include <errno.h>
#include <string.h>

#include "lib/tree/records/readers.h"

#define BLOCK (64U << 10)

#define EXTENTS_AT_ONCE 1024

struct content {
	struct chunks *chunks;
	const struct scan *scan;
	const struct scan_inode *file;
	ARRAY(struct extent) extents; /* some of them */
	size_t at;                    /* the first one that ends after the position asked for last: positions only grow */
	bool complete;                /* there are none behind them */
	bool met_gap;                 /* something that no extent covers was taken for zeros */
	struct buf inlined;           /* what is inline has no extents */
};

static int add_extent(void *arg, const struct extent *extent)
{
	struct content *content = arg;

	array_add(&content->extents, *extent);
	return content->extents.count == EXTENTS_AT_ONCE ? 1 : 0;
}

static int read_extents(struct content *content, uint64_t from)
{
	array_reset(&content->extents);
	content->at = 0;
	int result = scan_extents_from(content->scan, content->file->ino, from, add_extent, content);
	content->complete = result == 0;
	return MIN(result, 0);
}

/* Reads on until there is an extent that ends after the position, or none left. */
static int read_up_to(struct content *content, uint64_t position)
{
	int result = 0;

	for (;;) {
		const struct extent *extent = content->extents.items + content->at;
		for (; content->at < content->extents.count && extent->offset + extent->record.length <= position; extent++)
			content->at++;
		if (result < 0 || content->at < content->extents.count || content->complete)
			return result;
		result = read_extents(content, array_last(&content->extents)->offset + 1);
	}
}

/* What the content is made of from some position on, up to `end`. */
struct piece {
	enum { ZEROS, INLINE, CHUNK } kind;
	uint64_t end;
	uint64_t chunk;
	uint32_t chunk_offset; /* of the position */
};

static int piece_at(struct content *content, uint64_t position, struct piece *ret_piece)
{
	int result = read_up_to(content, position);

	if (result < 0)
		return result;
	const struct extent *extent = content->at < content->extents.count ? &content->extents.items[content->at] : NULL;
	content->met_gap |= !extent || position < extent->offset;
	if (position < content->inlined.len)
		*ret_piece = (struct piece){.kind = INLINE, .end = content->inlined.len};
	else if (!extent)
		*ret_piece = (struct piece){.kind = ZEROS, .end = UINT64_MAX};
	else if (position < extent->offset)
		*ret_piece = (struct piece){.kind = ZEROS, .end = extent->offset};
	else
		*ret_piece = (struct piece){
			.kind = extent->record.chunk == CHUNK_NONE ? ZEROS : CHUNK,
			.end = extent->offset + extent->record.length,
			.chunk = extent->record.chunk,
			.chunk_offset = extent->record.chunk_offset + (uint32_t)(position - extent->offset),
		};
	return 0;
}

static int read_piece(const struct content *content, const struct piece *piece, uint64_t position, uint32_t len, uint8_t *out)
{
	switch (piece->kind) {
	case ZEROS: memset(out, 0, len); return 0;
	case INLINE: memcpy(out, content->inlined.data + position, len); return 0;
	case CHUNK: break;
	}
	return chunks_read(content->chunks, piece->chunk, piece->chunk_offset, len, out);
}

/* Makes one of those that lie closer together than the gap. */
static void join_ranges(struct range_list *ranges)
{
	size_t kept = 0;

	for (size_t i = 1; i < ranges->count; i++) {
		struct diff_range *last = &ranges->items[kept], next = ranges->items[i];
		if (next.offset < last->offset + last->length + ranges->gap)
			last->length = next.offset + next.length - last->offset;
		else
			ranges->items[++kept] = next;
	}
	ranges->count = MIN(ranges->count, kept + 1);
}

static void add_range(struct range_list *ranges, uint64_t first, uint64_t end)
{
	struct diff_range *last = ranges->count > 0 ? array_last(ranges) : NULL;

	if (last && first < last->offset + last->length + ranges->gap) {
		last->length = end - last->offset;
		return;
	}
	array_add(ranges, (struct diff_range){.offset = first, .length = end - first});
	while (ranges->count > CONTENT_DIFF_RANGES) {
		ranges->gap *= 2;
		join_ranges(ranges);
	}
}

static void add_differences(struct range_list *ranges, uint64_t position, const uint8_t *a, const uint8_t *b, uint32_t len)
{
	for (uint32_t i = 0; i < len;) {
		uint32_t first;
		while (i < len && a[i] == b[i])
			i++;
		first = i;
		while (i < len && a[i] != b[i])
			i++;
		if (i > first)
			add_range(ranges, position + first, position + i);
	}
}

static bool is_same(const struct piece *a, const struct piece *b)
{
	if (a->kind != b->kind)
		return false;
	return a->kind == ZEROS || (a->kind == CHUNK && a->chunk == b->chunk && a->chunk_offset == b->chunk_offset);
}

struct comparison {
	const struct content_pair *pair;
	struct content a, b;
	struct range_list *ranges; /* or NULL */
	bool differs;
	uint8_t *scratch; /* two blocks */
};

/* Looks at what lies at the position; ret_len: how far that went. */
static int compare_piece(struct comparison *comparison, uint64_t position, uint64_t end, uint64_t *ret_len)
{
	uint8_t *bytes_a = comparison->scratch, *bytes_b = comparison->scratch + BLOCK;
	struct piece in_a, in_b;
	int result = piece_at(&comparison->a, position, &in_a);

	if (result == 0)
		result = piece_at(&comparison->b, position, &in_b);
	if (result < 0)
		return result;
	*ret_len = MIN(MIN(in_a.end, in_b.end), end) - position;
	if (is_same(&in_a, &in_b))
		return 0;
	*ret_len = MIN(*ret_len, (uint64_t)BLOCK);
	result = read_piece(&comparison->a, &in_a, position, (uint32_t)*ret_len, bytes_a);
	if (result == 0)
		result = read_piece(&comparison->b, &in_b, position, (uint32_t)*ret_len, bytes_b);
	if (result < 0 || memcmp(bytes_a, bytes_b, *ret_len) == 0)
		return result;
	comparison->differs = true;
	if (comparison->ranges)
		add_differences(comparison->ranges, position, bytes_a, bytes_b, (uint32_t)*ret_len);
	return 0;
}

static int compare_common(struct comparison *comparison, uint64_t end)
{
	const struct content_pair *pair = comparison->pair;
	int result = 0;

	for (uint64_t position = 0, len = 0; position < end && result == 0; position += len) {
		if (comparison->differs && !comparison->ranges)
			break;
		result = pair->cancelled && pair->cancelled(pair->arg) ? -ECANCELED : compare_piece(comparison, position, end, &len);
	}
	return result;
}

static struct content content_of(const struct content_pair *pair, const struct scan *scan, const struct scan_inode *file)
{
	return (struct content){.chunks = pair->chunks, .scan = scan, .file = file, .complete = file->record.is_inline};
}

static void content_clear(struct content *content)
{
	array_clear(&content->extents);
	buf_clear(&content->inlined);
}

/* -EAGAIN: it has changed since its record was read. */
static int begin(struct content *content)
{
	return content->complete ? scan_inline(content->scan, content->file, &content->inlined) : read_extents(content, 0);
}

static int check_gaps(const struct content_pair *pair, const struct content *content)
{
	if (!content->met_gap || content->file->record.is_inline)
		return 0;
	return scan_check_holes(content->scan, content->file, pair->cancelled, pair->arg);
}

static int compare(struct comparison *comparison)
{
	const struct content_pair *pair = comparison->pair;
	AUTO_FREE uint8_t *scratch = xmalloc(2UL * BLOCK);
	int result = begin(&comparison->a);

	comparison->scratch = scratch;
	if (result == 0)
		result = begin(&comparison->b);
	if (result == 0)
		result = compare_common(comparison, MIN(pair->file_a->record.size, pair->file_b->record.size));
	if (result == 0)
		result = check_gaps(pair, &comparison->a);
	if (result == 0)
		result = check_gaps(pair, &comparison->b);
	return result;
}

int content_differs(const struct content_pair *pair, struct range_list *ranges, bool *ret_differs)
{
	uint64_t size_a = pair->file_a->record.size, size_b = pair->file_b->record.size;
	struct comparison comparison = {
		.pair = pair,
		.a = content_of(pair, pair->a, pair->file_a),
		.b = content_of(pair, pair->b, pair->file_b),
		.ranges = ranges,
		.differs = size_a != size_b,
	};
	unsigned turn;
	int result;

	if (comparison.differs && !ranges) {
		*ret_differs = true;
		return 0;
	}
	if (ranges) {
		array_reset(ranges);
		ranges->gap = CONTENT_DIFF_GAP;
	}
	turn = readers_enter(pair->a->tree);
	result = compare(&comparison);
	if (result == -EAGAIN) {
		comparison.differs = true;
		result = 0;
		if (ranges)
			array_reset(ranges);
		if (ranges)
			add_range(ranges, 0, MAX(size_a, size_b));
	}
	readers_leave(pair->a->tree, turn);
	if (result == 0 && ranges && size_b > size_a)
		add_range(ranges, size_a, size_b);
	content_clear(&comparison.a);
	content_clear(&comparison.b);
	if (result == 0)
		*ret_differs = comparison.differs;
	return result;
}
