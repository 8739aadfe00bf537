#include <errno.h>

#include "lib/chunk/digest.h"
#include "lib/repository/repository.h"

struct repository_reader {
	struct repository *repository;
	struct seal *seal;
	struct codec *codec;
	struct digest *digest;
	struct buf sealed;
};

struct repository_reader *repository_reader_new(struct repository *repository)
{
	struct repository_reader *reader = xcalloc(1, sizeof(*reader));

	reader->repository = repository;
	reader->seal = seal_new(&repository->key);
	reader->codec = codec_new();
	reader->digest = digest_new();
	return reader;
}

void repository_reader_free(struct repository_reader *reader)
{
	if (!reader)
		return;
	buf_clear(&reader->sealed);
	digest_free(reader->digest);
	codec_free(reader->codec);
	seal_free(reader->seal);
	free(reader);
}

/* The plain bytes, which nobody has compared with their name yet. */
static int unseal(struct repository_reader *reader, struct blob_opening *opening)
{
	const struct pack_blob *blob = opening->blob;
	const uint8_t *bytes = opening->sealed + SEAL_IV;
	int r;

	if (blob->plain > PACK_BYTES_MAX || seal_open(reader->seal, opening->sealed, blob->length, opening->sealed + SEAL_IV) < 0)
		return -EBADMSG;
	if (blob->plain) {
		r = codec_unpack(reader->codec, bytes, blob->length - SEAL_EXTRA, opening->room, blob->plain);
		if (r < 0)
			return r;
		bytes = opening->room;
	}
	opening->plain = bytes;
	return 0;
}

void repository_open_many(struct repository_reader *reader, struct blob_opening *openings, size_t count)
{
	struct digest_job jobs[OPENINGS_MAX], *order[OPENINGS_MAX];
	struct blob_id found[OPENINGS_MAX];
	size_t good = 0;

	count = MIN(count, OPENINGS_MAX);
	for (size_t i = 0; i < count; i++) {
		openings[i].plain = NULL;
		if (!openings[i].sealed || unseal(reader, &openings[i]) < 0)
			continue;
		jobs[i] = (struct digest_job){.data = openings[i].plain, .len = pack_blob_plain(openings[i].blob), .sha256 = found[i].bytes};
		order[good++] = &jobs[i];
	}
	digest_many(reader->digest, order, good);
	for (size_t i = 0; i < count; i++)
		if (openings[i].plain && !blob_id_equal(&found[i], &openings[i].blob->id))
			openings[i].plain = NULL;
}

int repository_open_blob(struct repository_reader *reader, const struct pack_blob *blob, uint8_t *sealed, struct buf *ret_plain)
{
	const size_t len = pack_blob_plain(blob);
	struct blob_opening opening = {.blob = blob, .sealed = sealed};
	struct blob_id id;
	int r;

	if (blob->plain > PACK_BYTES_MAX)
		return -EBADMSG;
	buf_reset(ret_plain);
	buf_reserve(ret_plain, len + 1);
	opening.room = ret_plain->data;
	r = unseal(reader, &opening);
	if (r < 0)
		return r;
	digest_once(reader->digest, opening.plain, len, id.bytes);
	if (!blob_id_equal(&id, &blob->id))
		return -EBADMSG;
	if (opening.plain != ret_plain->data)
		memcpy(ret_plain->data, opening.plain, len);
	ret_plain->len = len;
	ret_plain->data[len] = '\0';
	return 0;
}

static int read_place(struct repository_reader *reader, const struct blob_place *place, struct buf *ret_plain)
{
	struct objects *objects = reader->repository->objects;
	char pack[BLOB_ID_TEXT];
	int r;

	if (place->blob.length < SEAL_EXTRA || place->blob.length > PACK_BYTES_MAX)
		return -EBADMSG;
	blob_id_text(&place->pack, pack);
	buf_reset(&reader->sealed);
	buf_reserve(&reader->sealed, place->blob.length);
	r = objects->place->get(objects, OBJECT_PACK, pack, place->blob.offset, place->blob.length, reader->sealed.data);
	return r < 0 ? r : repository_open_blob(reader, &place->blob, reader->sealed.data, ret_plain);
}

int repository_read_blob(struct repository_reader *reader, const struct blob_id *id, bool is_tree, struct buf *ret_plain)
{
	struct blob_place place;
	int result = -ENOENT, r = result;

	for (unsigned copy = 0; r < 0 && blob_index_find(reader->repository->index, id, is_tree, copy, &place); copy++) {
		r = read_place(reader, &place, ret_plain);
		/* One that could not be read may be good. */
		if (r == 0 || result == -ENOENT || result == -EBADMSG)
			result = r;
	}
	return result;
}

int repository_read_pack_header(struct repository_reader *reader, const struct blob_id *pack, struct pack_blobs *ret_blobs)
{
	struct objects *objects = reader->repository->objects;
	AUTO_BUF header = BUF_INIT;
	char name[BLOB_ID_TEXT];
	struct reader length;
	uint8_t tail[4];
	uint64_t size;
	uint32_t len;
	int r;

	blob_id_text(pack, name);
	r = objects->place->size(objects, OBJECT_PACK, name, &size);
	if (r < 0)
		return r;
	if (size < sizeof(tail) + SEAL_EXTRA)
		return -EBADMSG;
	r = objects->place->get(objects, OBJECT_PACK, name, size - sizeof(tail), sizeof(tail), tail);
	if (r < 0)
		return r;
	length = reader_over(tail, sizeof(tail));
	len = read_le32(&length);
	if (len < SEAL_EXTRA || len > PACK_HEADER_MAX || len > size - sizeof(tail))
		return -EBADMSG;
	buf_reserve(&header, len);
	r = objects->place->get(objects, OBJECT_PACK, name, size - sizeof(tail) - len, len, header.data);
	return r < 0 ? r : pack_header_read(reader->seal, header.data, len, ret_blobs);
}
