#include "lib/backup/verify_pack.h"

#include <errno.h>

const char VERIFY_INDEX_IS_WRONG[] = "what an index says stands in it stands elsewhere";

static const char *open_blobs(struct repository_reader *reader, const struct buf *bytes, const struct pack_blobs *blobs)
{
	AUTO_BUF plain = BUF_INIT;

	for (size_t i = 0; i < blobs->count; i++) {
		const struct pack_blob *blob = &blobs->items[i];

		if ((uint64_t)blob->offset + blob->length > bytes->len || repository_open_blob(reader, blob, bytes->data + blob->offset, &plain) < 0)
			return "a blob in it is damaged";
	}
	return NULL;
}

/* Offsets grow in a header. */
static const struct pack_blob *find_at(const struct pack_blobs *blobs, uint32_t offset)
{
	size_t low = 0, high = blobs->count;

	while (low < high) {
		const size_t middle = low + (high - low) / 2;

		if (blobs->items[middle].offset < offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low < blobs->count ? &blobs->items[low] : NULL;
}

/* Readers go by the index alone, and never look at the header. */
static int compare_place(void *arg, const struct blob_place *place)
{
	const struct pack_blob *says = &place->blob, *is = find_at(arg, says->offset);

	return is && is->offset == says->offset && is->length == says->length && is->plain == says->plain && is->is_tree == says->is_tree &&
	                       blob_id_equal(&is->id, &says->id)
	               ? 0
	               : -EBADMSG;
}

const char *verify_pack(struct repository_reader *reader, const struct blob_index *index, const struct blob_id *pack, const struct buf *bytes)
{
	struct pack_blobs blobs = {0};
	const char *why = NULL;

	if (repository_read_pack_header(reader, pack, &blobs) < 0)
		why = "its header is damaged";
	else
		why = open_blobs(reader, bytes, &blobs);
	if (!why && blob_index_each_of(index, pack, compare_place, &blobs) != 0)
		why = VERIFY_INDEX_IS_WRONG;
	array_clear(&blobs);
	return why;
}
