#include "lib/backup/content_blobs.h"

#include <errno.h>

#include "lib/chunk/look.h"

#define ZEROS (8U << 20)       /* of a blob of zeros */
#define PIECE_BYTES (512U << 10) /* of a blob of parts of chunks */
#define LEVEL 3 /* of what is made here */
/*
 * Of chunks that the store has not compressed: it leaves what saves less than a fifth, for reading counts there. Stripes of text and noise in chunks
 * of 64 KiB shrink to 0.826 at level 1, to 0.801 at level 3, which takes 2.4 times as long. What the store has compressed is taken as it is: of JSON,
 * level 3 would save another twentieth, for three times the processor's time of the whole backup.
 */
#define CHUNK_LEVEL 1

/* Never written. Not const: then it would take its room in the program. */
static uint8_t zeros[ZEROS];

void blob_maker_init(struct blob_maker *maker, struct transfer *transfer, struct store *store, const struct scan *scan,
		     struct repository_writer *writer)
{
	*maker = (struct blob_maker){.transfer = transfer, .store = store, .scan = scan, .writer = writer,
	                             .hand = repository_hand_new(writer), .digest = digest_new()};
}

int blob_maker_end(struct blob_maker *maker, bool drop)
{
	int r = 0;

	if (drop)
		repository_hand_drop(maker->hand);
	else
		r = repository_hand_end(maker->hand, &maker->err);
	maker->hand = NULL;
	digest_free(maker->digest);
	buf_clear(&maker->piece);
	buf_clear(&maker->plain);
	return r;
}

int blob_maker_bytes(struct blob_maker *maker, bool is_tree, const void *data, size_t len, struct blob_id *ret_id)
{
	struct new_blob blob = {.is_tree = is_tree, .plain = data, .len = len, .level = LEVEL};

	digest_once(maker->digest, data, len, blob.id.bytes);
	*ret_id = blob.id;
	return repository_writer_claim(maker->writer, &blob.id, is_tree) ? repository_hand_add(maker->hand, &blob, &maker->err) : 0;
}

/* --- a file --- */

struct file_blobs {
	struct blob_maker *maker;
	struct node *node;
	struct holes *holes;
	uint64_t size, at; /* [0, at) is done, but for what is in the piece */
	uint64_t mapped, mapped_inside, in_holes;
};

static int add_bytes(struct file_blobs *file, const void *data, size_t len)
{
	struct blob_id id;
	int r = blob_maker_bytes(file->maker, false, data, len, &id);

	if (r == 0)
		array_add(&file->node->content, id);
	return r;
}

static int end_piece(struct file_blobs *file)
{
	struct buf *piece = &file->maker->piece;
	int r = piece->len > 0 ? add_bytes(file, piece->data, piece->len) : 0;

	buf_reset(piece);
	return r;
}

/* Most of a file of a TiB may be zeros: their SHA-256 is computed once. */
static int add_many_zeros(struct file_blobs *file)
{
	struct blob_maker *maker = file->maker;
	int r;

	if (maker->has_zeros) {
		array_add(&file->node->content, maker->zeros);
		return 0;
	}
	r = add_bytes(file, zeros, ZEROS);
	maker->has_zeros = r == 0;
	if (r == 0)
		maker->zeros = *array_last(&file->node->content);
	return r;
}

/* Zeros up to `end`; a hole is noted. */
static int add_zeros(struct file_blobs *file, uint64_t end, bool is_hole)
{
	int r = end_piece(file);

	if (is_hole && end > file->at) {
		array_add(file->holes, (struct hole){file->at, end - file->at});
		file->in_holes += end - file->at;
	}
	if (file->in_holes > HOLES_MAX)
		return -EFBIG;
	while (r == 0 && file->at < end) {
		const size_t len = (size_t)MIN(end - file->at, ZEROS);

		r = transfer_stopped(file->maker->transfer) ? -ECANCELED : len == ZEROS ? add_many_zeros(file) : add_bytes(file, zeros, len);
		file->at += len;
	}
	return r;
}

static int add_whole_chunk(struct file_blobs *file, struct chunk_look *look)
{
	struct blob_maker *maker = file->maker;
	const struct chunk_header *header = &look->header;
	struct new_blob blob = {.len = header->plain_len, .level = CHUNK_LEVEL};
	int r = end_piece(file);

	if (r < 0)
		return r;
	memcpy(blob.id.bytes, header->sha256, sizeof(header->sha256));
	array_add(&file->node->content, blob.id);
	if (repository_writer_has(maker->writer, &blob.id, false))
		return 0;
	r = chunk_look_plain(look, &maker->plain, (const uint8_t **)&blob.plain);
	if (r < 0)
		return r;
	if (chunk_look_is_packed(look)) {
		blob.packed = header->stored;
		blob.packed_len = header->stored_len;
	}
	/* Claimed only now that its bytes are there: other files rely on it from here on. */
	return repository_writer_claim(maker->writer, &blob.id, false) ? repository_hand_add(maker->hand, &blob, &maker->err) : 0;
}

static int add_part(struct file_blobs *file, uint64_t chunk, uint32_t offset, uint32_t len)
{
	struct buf *piece = &file->maker->piece;
	int r;

	buf_reserve(piece, len);
	r = chunks_read(store_chunks(file->maker->store), chunk, offset, len, piece->data + piece->len);
	if (r < 0)
		return r;
	piece->len += len;
	return piece->len >= PIECE_BYTES ? end_piece(file) : 0;
}

static int add_chunk(struct file_blobs *file, const struct extent_record *record, uint32_t len)
{
	struct chunk_look look;
	int r;

	if (record->chunk_offset != 0)
		return add_part(file, record->chunk, record->chunk_offset, len);
	r = chunk_look_open(store_chunks(file->maker->store), record->chunk, &look);
	if (r < 0)
		return r;
	if (look.header.plain_len == len)
		r = add_whole_chunk(file, &look);
	else
		r = add_part(file, record->chunk, 0, len);
	chunk_look_close(&look);
	return r;
}

static int add_extent(void *arg, const struct extent *extent)
{
	struct file_blobs *file = arg;
	const uint64_t end = MIN(extent_end(extent), file->size);
	int r = 0;

	file->mapped += extent->record.length;
	if (transfer_stopped(file->maker->transfer))
		return -ECANCELED;
	if (extent->offset >= file->size)
		return 0;
	file->mapped_inside += end - extent->offset;
	if (extent->offset < file->at)
		return -EIO;
	if (extent->offset > file->at)
		r = add_zeros(file, extent->offset, true);
	if (r < 0)
		return r;
	if (extent->record.chunk == CHUNK_NONE)
		return add_zeros(file, end, false);
	r = add_chunk(file, &extent->record, (uint32_t)(end - extent->offset));
	file->at = end;
	atomic_fetch_add(&file->maker->transfer->bytes, end - extent->offset);
	return r;
}

static int add_inline(struct file_blobs *file, const struct scan_inode *inode)
{
	AUTO_BUF data = BUF_INIT;
	int r = scan_inline(file->maker->scan, inode, &data);

	if (r < 0)
		return r;
	data.len = MIN(data.len, file->size);
	if (data.len > 0)
		r = add_bytes(file, data.data, data.len);
	file->at = data.len;
	atomic_fetch_add(&file->maker->transfer->bytes, data.len);
	return r < 0 ? r : add_zeros(file, file->size, true);
}

int blob_maker_file(struct blob_maker *maker, const struct scan_inode *inode, struct node *node, struct holes *holes)
{
	const struct inode_record *record = &inode->record;
	struct file_blobs file = {.maker = maker, .node = node, .holes = holes, .size = record->size};
	int r;

	buf_reset(&maker->piece);
	if (record->is_inline)
		return add_inline(&file, inode);
	r = scan_extents(maker->scan, inode->ino, add_extent, &file);
	/* I9: what is not mapped is a hole only if nothing of what was stored is missing. */
	if (r == 0 && file.mapped_inside < record->size && file.mapped != record->allocated)
		r = -EIO;
	return r < 0 ? r : add_zeros(&file, record->size, true);
}
