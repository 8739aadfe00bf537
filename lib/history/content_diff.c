#include "lib/history/content_diff.h"

#include <errno.h>
#include <string.h>

#define BLOCK (64U << 10)

struct content {
	struct chunks *chunks;
	const struct scan_inode *file;
	ARRAY(struct extent) extents;
	size_t at; /* the first extent that ends after the position asked for last: positions only grow */
};

/* What the content is made of from some position on, up to `end`. */
struct piece {
	enum { ZEROS, INLINE, CHUNK } kind;
	uint64_t end;
	uint64_t chunk;
	uint32_t chunk_offset; /* of the position */
};

static struct piece piece_at(struct content *content, uint64_t position)
{
	const struct inode_record *record = &content->file->record;

	if (record->is_inline && position < record->data_len)
		return (struct piece){.kind = INLINE, .end = record->data_len};
	const struct extent *extent = content->extents.items, *end = extent + content->extents.count;
	for (extent += content->at; extent < end && extent->offset + extent->record.length <= position; extent++)
		content->at++;
	if (extent == end)
		return (struct piece){.kind = ZEROS, .end = UINT64_MAX};
	if (position < extent->offset)
		return (struct piece){.kind = ZEROS, .end = extent->offset};
	return (struct piece){
		.kind = extent->record.chunk == CHUNK_NONE ? ZEROS : CHUNK,
		.end = extent->offset + extent->record.length,
		.chunk = extent->record.chunk,
		.chunk_offset = extent->record.chunk_offset + (uint32_t)(position - extent->offset),
	};
}

static int read_piece(const struct content *content, const struct piece *piece, uint64_t position, uint32_t len, uint8_t *out)
{
	switch (piece->kind) {
	case ZEROS: memset(out, 0, len); return 0;
	case INLINE: memcpy(out, content->file->record.data + position, len); return 0;
	case CHUNK: break;
	}
	return chunks_read(content->chunks, piece->chunk, piece->chunk_offset, len, out);
}

static void add_range(struct range_list *ranges, uint64_t first, uint64_t end)
{
	struct diff_range *last = ranges->count > 0 ? &ranges->items[ranges->count - 1] : NULL;

	if (last && first < last->offset + last->length + CONTENT_DIFF_GAP) {
		last->length = end - last->offset;
		return;
	}
	array_add(ranges, (struct diff_range){.offset = first, .length = end - first});
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

/* Compares up to `end`; `scratch` has room for two blocks. */
static int compare_common(struct content *a, struct content *b, uint64_t end, struct range_list *ranges, uint8_t *scratch, bool *differs)
{
	for (uint64_t position = 0; position < end && (ranges || !*differs);) {
		struct piece in_a = piece_at(a, position), in_b = piece_at(b, position);
		uint64_t len = MIN(MIN(in_a.end, in_b.end), end) - position;
		int result;
		if (is_same(&in_a, &in_b)) {
			position += len;
			continue;
		}
		len = MIN(len, BLOCK);
		result = read_piece(a, &in_a, position, (uint32_t)len, scratch);
		if (result == 0)
			result = read_piece(b, &in_b, position, (uint32_t)len, scratch + BLOCK);
		if (result < 0)
			return result;
		if (memcmp(scratch, scratch + BLOCK, len) != 0) {
			*differs = true;
			if (ranges)
				add_differences(ranges, position, scratch, scratch + BLOCK, (uint32_t)len);
		}
		position += len;
	}
	return 0;
}

static int add_extent(void *arg, const struct extent *extent)
{
	struct content *content = arg;

	array_add(&content->extents, *extent);
	return 0;
}

int content_differs(struct chunks *chunks, const struct scan *a, const struct scan_inode *file_a, const struct scan *b,
		    const struct scan_inode *file_b, struct range_list *ranges, bool *ret_differs)
{
	struct content in_a = {.chunks = chunks, .file = file_a}, in_b = {.chunks = chunks, .file = file_b};
	uint64_t size_a = file_a->record.size, size_b = file_b->record.size;
	bool differs = size_a != size_b;
	AUTO_FREE uint8_t *scratch = NULL;
	int result = 0;

	if (differs && !ranges) {
		*ret_differs = true;
		return 0;
	}
	if (!file_a->record.is_inline)
		result = scan_extents(a, file_a->ino, add_extent, &in_a);
	if (result == 0 && !file_b->record.is_inline)
		result = scan_extents(b, file_b->ino, add_extent, &in_b);
	if (result == 0) {
		scratch = xmalloc(2UL * BLOCK);
		result = compare_common(&in_a, &in_b, MIN(size_a, size_b), ranges, scratch, &differs);
	}
	if (result == 0 && ranges && size_b > size_a)
		add_range(ranges, size_a, size_b);
	array_clear(&in_a.extents);
	array_clear(&in_b.extents);
	if (result == 0)
		*ret_differs = differs;
	return result;
}
