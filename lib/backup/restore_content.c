#include "lib/backup/restore_content.h"

#include <errno.h>

#include "lib/chunk/look.h"

void restore_reader_init(struct restore_reader *reader, struct repository *repository, struct store *store)
{
	*reader = (struct restore_reader){.repository = repository, .store = store, .blobs = repository_reader_new(repository)};
}

void restore_reader_clear(struct restore_reader *reader)
{
	buf_clear(&reader->plain);
	repository_reader_free(reader->blobs);
	reader->blobs = NULL;
}

static bool read_local(struct restore_reader *reader, const struct blob_id *id)
{
	const uint8_t *plain;
	struct chunk_look look;
	bool good;

	if (!reader->store || chunk_look_find(store_chunks(reader->store), id->bytes, &look) < 0)
		return false;
	good = chunk_look_plain(&look, &reader->plain, &plain) == 0;
	if (good && !chunk_look_is_packed(&look)) {
		buf_reset(&reader->plain);
		buf_add(&reader->plain, plain, look.header.plain_len);
	} else if (good) {
		reader->plain.len = look.header.plain_len;
	}
	chunk_look_close(&look);
	return good;
}

static int read_data(struct restore_reader *reader, const struct blob_id *id)
{
	int r;

	if (read_local(reader, id)) {
		reader->local += reader->plain.len;
		return 0;
	}
	r = repository_read_blob(reader->blobs, id, false, &reader->plain);
	if (r == 0)
		reader->fetched += reader->plain.len;
	return r;
}

/* The length of the blob's plain bytes, without reading it. */
static bool blob_length(const struct restore_reader *reader, const struct blob_id *id, uint64_t *ret_len)
{
	struct blob_place place;

	if (!blob_index_find(reader->repository->index, id, false, 0, &place))
		return false;
	*ret_len = place.blob.plain ? place.blob.plain : place.blob.length - SEAL_EXTRA;
	return true;
}

/* Whether a hole covers [first, end). */
static bool is_hole(const struct holes *holes, uint64_t first, uint64_t end)
{
	size_t low = 0, high = holes->count;

	while (low < high) {
		const size_t middle = low + (high - low) / 2;
		const struct hole *hole = &holes->items[middle];

		if (hole->offset + hole->length <= first)
			low = middle + 1;
		else
			high = middle;
	}
	return low < holes->count && holes->items[low].offset <= first && holes->items[low].offset + holes->items[low].length >= end;
}

int restore_content_next(struct restore_reader *reader, struct restore_content *content, const void **ret_data, size_t *ret_len, uint64_t *ret_offset)
{
	const struct node *node = content->node;
	uint64_t len;
	int r;

	while (content->blob < node->content.count) {
		const struct blob_id *id = &node->content.items[content->blob++];

		if (content->holes->count > 0 && blob_length(reader, id, &len) && is_hole(content->holes, content->offset, content->offset + len)) {
			content->offset += len;
			continue;
		}
		r = read_data(reader, id);
		if (r < 0)
			return r;
		*ret_data = reader->plain.data;
		*ret_len = reader->plain.len;
		*ret_offset = content->offset;
		content->offset += reader->plain.len;
		return 1;
	}
	return 0;
}

const char *restore_content_damage(struct restore_reader *reader, const struct node *node, const struct holes *holes)
{
	struct restore_content content = {.node = node, .holes = holes};
	const void *data;
	uint64_t offset;
	size_t len;
	int r;

	do
		r = restore_content_next(reader, &content, &data, &len, &offset);
	while (r == 1);
	if (r < 0)
		return "a part of its content is damaged or missing in the repository";
	return content.offset == node->size ? NULL : "its content is not as long as the backup says";
}
