#include "lib/repository/pack_file.h"

#include <errno.h>

#include "lib/base/pages.h"

#define TYPE_TREE 1U
#define TYPE_COMPRESSED 2U

/* Of most packs, with their headers. What is longer is copied to other memory as it grows, and written by way of the page cache. */
#define ROOM (8 * PAGES_HUGE)
/* As long as it is shorter, it needs no huge page: each thread has a pack of trees, of which most stay short. */
#define SHORT (PAGES_HUGE / 8)

void pack_file_clear(struct pack_file *pack)
{
	buf_clear(&pack->bytes);
	array_clear(&pack->blobs);
}

static void make_room(struct buf *bytes, size_t len)
{
	struct buf pages = {.cap = ROOM};

	if (bytes->cap < ROOM && bytes->len + len > SHORT && (pages.data = pages_alloc(ROOM))) {
		buf_add(&pages, bytes->data, bytes->len);
		buf_clear(bytes);
		*bytes = pages;
	}
	buf_reserve(bytes, len);
}

void pack_file_add(struct pack_file *pack, struct seal *seal, const struct pack_blob *blob, const void *stored, size_t len)
{
	struct pack_blob added = *blob;

	added.offset = (uint32_t)pack->bytes.len;
	added.length = (uint32_t)(len + SEAL_EXTRA);
	make_room(&pack->bytes, added.length);
	seal_close(seal, stored, len, pack->bytes.data + pack->bytes.len);
	pack->bytes.len += added.length;
	array_add(&pack->blobs, added);
}

void pack_file_end(struct pack_file *pack, struct seal *seal)
{
	AUTO_BUF header = BUF_INIT;

	for (size_t i = 0; i < pack->blobs.count; i++) {
		const struct pack_blob *blob = &pack->blobs.items[i];

		buf_add_u8(&header, (uint8_t)((blob->is_tree ? TYPE_TREE : 0) | (blob->plain ? TYPE_COMPRESSED : 0)));
		buf_add_le32(&header, blob->length);
		if (blob->plain)
			buf_add_le32(&header, blob->plain);
		buf_add(&header, blob->id.bytes, BLOB_ID_LEN);
	}
	buf_reserve(&pack->bytes, header.len + SEAL_EXTRA);
	seal_close(seal, header.data, header.len, pack->bytes.data + pack->bytes.len);
	pack->bytes.len += header.len + SEAL_EXTRA;
	buf_add_le32(&pack->bytes, (uint32_t)(header.len + SEAL_EXTRA));
}

int pack_header_read(struct seal *seal, const uint8_t *sealed, size_t len, struct pack_blobs *ret_blobs)
{
	AUTO_FREE uint8_t *header = xmalloc(len + 1);
	struct reader reader;
	uint64_t offset = 0;

	if (seal_open(seal, sealed, len, header) < 0)
		return -EBADMSG;
	reader = reader_over(header, len - SEAL_EXTRA);
	while (reader.left > 0) {
		struct pack_blob blob = {.offset = (uint32_t)offset};
		const uint8_t type = read_u8(&reader), *id;

		blob.is_tree = type & TYPE_TREE;
		blob.length = read_le32(&reader);
		blob.plain = type & TYPE_COMPRESSED ? read_le32(&reader) : 0;
		id = read_bytes(&reader, BLOB_ID_LEN);
		if (!id || type > (TYPE_TREE | TYPE_COMPRESSED) || blob.length < SEAL_EXTRA || offset + blob.length > UINT32_MAX)
			return -EBADMSG;
		memcpy(blob.id.bytes, id, BLOB_ID_LEN);
		offset += blob.length;
		array_add(ret_blobs, blob);
	}
	return 0;
}
