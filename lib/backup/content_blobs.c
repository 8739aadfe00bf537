#include "lib/backup/content_blobs.h"

#include <errno.h>

#include "lib/base/fault.h"
#include "lib/chunk/look.h"
#include "lib/tree/records/readers.h"

#define GATHERED_MAX 128 /* extents */
/* Chunks that are looked at together: up to so many bytes, for the memory next to the processor holds no more; less than LOOK_MIN is one by one. */
#define LOOK_BYTES (3U << 19)
#define LOOK_MIN (16U << 10)
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
	                             .hand = repository_hand_new(writer), .digest = digest_new(), .content = digest_new(),
	                             .streams = digest_streams_new(), .looks = chunk_looks_new(store_chunks(store))};
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
	digest_free(maker->content);
	digest_streams_free(maker->streams);
	content_notes_free(maker->notes);
	maker->notes = NULL;
	chunk_looks_free(maker->looks);
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

/* --- the content, to be noted --- */

/* No zeros are left out of it, so that it can be hashed beside others. */
static bool is_short(const struct blob_file *file)
{
	return file->size <= CONTENT_PLAIN_MAX;
}

static void add_to_stream(struct blob_maker *maker, const void *plain, size_t len, uint64_t offset)
{
	digest_streams_add(maker->streams, zeros, (size_t)(offset - maker->streamed));
	digest_streams_add(maker->streams, plain, len);
	maker->streamed = offset + len;
}

static bool end_stream(struct blob_maker *maker, const struct blob_file *file, bool all)
{
	if (all)
		add_to_stream(maker, NULL, 0, file->size);
	if (all)
		digest_streams_end(maker->streams);
	else
		digest_streams_drop(maker->streams);
	return all;
}

static void end_watch(struct blob_maker *maker, bool all)
{
	struct blob_file *file = maker->watched;

	maker->watched = NULL;
	if (!file)
		return;
	all = all && file->result == 0;
	file->is_noted = is_short(file) ? end_stream(maker, file, all)
	                                : content_watch_end(&maker->watch, all, file->note.content, &file->note.is_sparse);
}

static void begin_watch(struct blob_maker *maker, struct blob_file *file)
{
	maker->watched = file;
	maker->streamed = 0;
	if (is_short(file))
		digest_streams_begin(maker->streams, file->note.content);
	else
		content_watch_begin(&maker->watch, maker->content, file->size);
}

/*
 * `plain` is NULL where it was not read: then the content is not known. It lies there until the next chunks are looked at, if it `stays`. Files come one
 * after another.
 */
static void watch_data(struct blob_maker *maker, struct blob_file *file, const void *plain, size_t len, bool stays)
{
	if (maker->watched != file) {
		end_watch(maker, true);
		if (!maker->notes || file->was_watched) /* something is missing by now */
			return;
		file->was_watched = true;
		begin_watch(maker, file);
	}
	if (!plain)
		end_watch(maker, false);
	else if (!is_short(file))
		content_watch_data(&maker->watch, plain, len, file->at);
	else
		add_to_stream(maker, plain, len, file->at);
	if (plain && !stays)
		digest_streams_run(maker->streams);
}

/* The file is one chunk, whose SHA-256 is the content's. */
static void note_only_chunk(struct blob_maker *maker, struct blob_file *file, const struct chunk_header *header)
{
	end_watch(maker, true);
	memcpy(file->note.content, header->sha256, sizeof(header->sha256));
	file->is_noted = true;
}

/* --- a file --- */

static int add_bytes(struct blob_maker *maker, struct blob_file *file, const void *data, size_t len)
{
	struct blob_id id;
	int r = blob_maker_bytes(maker, false, data, len, &id);

	if (r == 0)
		array_add(&file->node->content, id);
	return r;
}

static int end_piece(struct blob_maker *maker, struct blob_file *file)
{
	struct buf *piece = &file->piece;
	int r = piece->len > 0 ? add_bytes(maker, file, piece->data, piece->len) : 0;

	buf_reset(piece);
	return r;
}

/* Most of a file of a TiB may be zeros: their SHA-256 is computed once. */
static int add_many_zeros(struct blob_maker *maker, struct blob_file *file)
{
	int r;

	if (maker->has_zeros) {
		array_add(&file->node->content, maker->zeros);
		return 0;
	}
	r = add_bytes(maker, file, zeros, ZEROS);
	maker->has_zeros = r == 0;
	if (r == 0)
		maker->zeros = *array_last(&file->node->content);
	return r;
}

/* Zeros up to `end`; a hole is noted. */
static int add_zeros(struct blob_maker *maker, struct blob_file *file, uint64_t end, bool is_hole)
{
	int r = end_piece(maker, file);

	if (is_hole && end > file->at) {
		array_add(file->holes, (struct hole){file->at, end - file->at});
		file->in_holes += end - file->at;
	}
	if (is_hole && file->holes->left_out) {
		file->at = MAX(file->at, end);
		return r;
	}
	if (file->in_holes > HOLES_MAX)
		return -EFBIG;
	while (r == 0 && file->at < end) {
		const size_t len = (size_t)MIN(end - file->at, ZEROS);

		r = transfer_stopped(maker->transfer) ? -ECANCELED :
		    len == ZEROS ? add_many_zeros(maker, file) : add_bytes(maker, file, zeros, len);
		file->at += len;
	}
	return r;
}

/* `plain` is NULL if the repository need not have it from here. */
static int add_whole_chunk(struct blob_maker *maker, struct blob_file *file, const struct chunk_header *header, const uint8_t *plain, bool stays)
{
	struct new_blob blob = {.plain = plain, .len = header->plain_len, .level = CHUNK_LEVEL};
	int r = end_piece(maker, file);

	if (r < 0)
		return r;
	memcpy(blob.id.bytes, header->sha256, sizeof(header->sha256));
	array_add(&file->node->content, blob.id);
	if (header->plain_len == file->size && file->size <= CONTENT_PLAIN_MAX)
		note_only_chunk(maker, file, header);
	else
		watch_data(maker, file, plain, header->plain_len, stays);
	if (header->codec == CHUNK_CODEC_ZSTD) {
		blob.packed = header->stored;
		blob.packed_len = header->stored_len;
	}
	/* Claimed only now that its bytes are there: other files rely on it from here on. */
	return plain && repository_writer_claim(maker->writer, &blob.id, false) ? repository_hand_add(maker->hand, &blob, &maker->err) : 0;
}

static int add_part(struct blob_maker *maker, struct blob_file *file, uint64_t chunk, uint32_t offset, uint32_t len)
{
	struct buf *piece = &file->piece;
	int r;

	buf_reserve(piece, len);
	r = chunks_read(store_chunks(maker->store), chunk, offset, len, piece->data + piece->len);
	if (r < 0)
		return r;
	watch_data(maker, file, piece->data + piece->len, len, false);
	piece->len += len;
	return piece->len >= PIECE_BYTES ? end_piece(maker, file) : 0;
}

static bool is_known(const struct blob_maker *maker, const struct chunk_header *header)
{
	struct blob_id id;

	memcpy(id.bytes, header->sha256, sizeof(header->sha256));
	return repository_writer_has(maker->writer, &id, false);
}

static int add_chunk(struct blob_maker *maker, struct blob_file *file, uint64_t chunk, uint32_t len)
{
	const uint8_t *plain = NULL;
	struct chunk_look look;
	int r = chunk_look_open(store_chunks(maker->store), chunk, &look);

	if (r < 0)
		return r;
	if (look.header.plain_len != len) {
		r = add_part(maker, file, chunk, 0, len);
	} else {
		if (!is_known(maker, &look.header))
			r = chunk_look_plain(&look, &maker->plain, &plain);
		if (r == 0)
			r = add_whole_chunk(maker, file, &look.header, plain, false);
	}
	chunk_look_close(&look);
	return r;
}

/* --- several files --- */

/* Extents that are not yet worked off, of one file after another: all of them were looked up in this turn (readers.h). */
struct gathering {
	struct blob_maker *maker;
	unsigned turn;
	struct blob_file *file; /* whose extents come in */
	struct gathered {
		struct blob_file *file;
		struct extent extent;
	} items[GATHERED_MAX];
	size_t count;
	/* Chunks that were looked at together. */
	uint64_t first;
	size_t looked;
	struct chunk_looks_item *looks;
};

/* May be a whole chunk. */
static bool is_candidate(const struct gathered *item)
{
	return item->file->result == 0 && item->extent.record.chunk_offset == 0 && (item->extent.record.chunk & CHUNK_BULK) &&
	       extent_end(&item->extent) <= item->file->size;
}

/* Looks at the chunk of the item, and at its neighbours that follow. */
static void look_ahead(struct gathering *gathering, size_t at)
{
	const struct gathered *items = &gathering->items[at];
	const uint64_t first = items->extent.record.chunk;
	uint64_t bytes = 0;
	size_t count = 0;

	for (; at + count < gathering->count && count < CHUNK_LOOKS_MAX && bytes < LOOK_BYTES; count++) {
		if (!is_candidate(&items[count]) || items[count].extent.record.chunk != first + count)
			break;
		bytes += items[count].extent.record.length;
	}
	gathering->looked = 0;
	if (bytes < LOOK_MIN)
		return;
	gathering->first = first;
	gathering->looked = count;
	digest_streams_run(gathering->maker->streams);
	gathering->looks = chunk_looks_read(gathering->maker->looks, first, count);
	for (size_t i = 0; i < count; i++) {
		struct chunk_looks_item *look = &gathering->looks[i];

		look->is_wanted = look->is_there && look->header.plain_len == items[i].extent.record.length &&
				  !is_known(gathering->maker, &look->header);
	}
	chunk_looks_verify(gathering->maker->looks, repository_hand_unhashed(gathering->maker->hand));
}

/* NULL: the chunk was not looked at, or is to be looked at by itself. */
static const struct chunk_looks_item *find_look(const struct gathering *gathering, uint64_t chunk, uint32_t len)
{
	const struct chunk_looks_item *look = chunk - gathering->first < gathering->looked ? &gathering->looks[chunk - gathering->first] : NULL;

	return look && look->is_there && look->header.plain_len == len && (look->plain || is_known(gathering->maker, &look->header)) ? look : NULL;
}

static int add_content(struct gathering *gathering, struct blob_file *file, const struct extent_record *record, uint32_t len)
{
	struct blob_maker *maker = gathering->maker;
	const struct chunk_looks_item *look;

	if (record->chunk_offset != 0)
		return add_part(maker, file, record->chunk, record->chunk_offset, len);
	look = find_look(gathering, record->chunk, len);
	return look ? add_whole_chunk(maker, file, &look->header, look->plain, true) : add_chunk(maker, file, record->chunk, len);
}

static int add_extent(struct gathering *gathering, struct blob_file *file, const struct extent *extent)
{
	struct blob_maker *maker = gathering->maker;
	const uint64_t end = MIN(extent_end(extent), file->size);
	int r = 0;

	file->mapped += extent->record.length;
	if (transfer_stopped(maker->transfer))
		return -ECANCELED;
	if (extent->offset >= file->size)
		return 0;
	file->mapped_inside += end - extent->offset;
	if (extent->offset < file->at)
		return -EIO;
	if (extent->offset > file->at)
		r = add_zeros(maker, file, extent->offset, true);
	if (r < 0)
		return r;
	if (extent->record.chunk == CHUNK_NONE)
		return add_zeros(maker, file, end, false);
	r = add_content(gathering, file, &extent->record, (uint32_t)(end - extent->offset));
	file->at = end;
	atomic_fetch_add(&maker->transfer->bytes, end - extent->offset);
	return r;
}

/* What is gathered afterwards is looked up anew: a collector does not wait for more than this. */
static void work_off(struct gathering *gathering)
{
	struct tree *tree = gathering->maker->scan->tree;
	const int failed = fault_point("backup-before-chunks");

	for (size_t i = 0; i < gathering->count; i++) {
		struct gathered *item = &gathering->items[i];

		if (is_candidate(item) && item->extent.record.chunk - gathering->first >= gathering->looked)
			look_ahead(gathering, i);
		if (item->file->result == 0)
			item->file->result = failed < 0 ? failed : add_extent(gathering, item->file, &item->extent);
	}
	gathering->count = 0;
	gathering->looked = 0;
	readers_leave(tree, gathering->turn);
	gathering->turn = readers_enter(tree);
}

static int gather(void *arg, const struct extent *extent)
{
	struct gathering *gathering = arg;

	gathering->items[gathering->count++] = (struct gathered){gathering->file, *extent};
	return gathering->count == GATHERED_MAX;
}

static int gather_file(struct gathering *gathering)
{
	struct blob_file *file = gathering->file;
	uint64_t from = 0;
	int r;

	while ((r = scan_extents_from(gathering->maker->scan, file->ino, from, gather, gathering)) == 1) {
		from = gathering->items[GATHERED_MAX - 1].extent.offset + 1;
		work_off(gathering);
		if (file->result < 0)
			return file->result;
	}
	return r;
}

static int add_inline(struct blob_maker *maker, struct blob_file *file, const struct scan_inode *inode)
{
	AUTO_BUF data = BUF_INIT;
	int r = scan_inline(maker->scan, inode, &data);

	if (r < 0)
		return r;
	data.len = MIN(data.len, file->size);
	if (data.len > 0)
		r = add_bytes(maker, file, data.data, data.len);
	file->at = data.len;
	atomic_fetch_add(&maker->transfer->bytes, data.len);
	return r;
}

static int begin_file(struct gathering *gathering, struct blob_file *file)
{
	struct blob_maker *maker = gathering->maker;
	struct scan_inode inode;
	int r = scan_inode(maker->scan, file->ino, &inode);

	if (r < 0)
		return r == -ENOENT ? -EIO : r;
	file->size = inode.record.size;
	file->allocated = inode.record.allocated;
	file->is_inline = inode.record.is_inline;
	file->holes->left_out = !maker->fills_holes && file->size > file->allocated && file->size - file->allocated > HOLES_MAX;
	file->note = (struct content_note){.ino = file->ino, .epoch = inode.epoch, .mode = inode.record.mode, .size = file->size};
	gathering->file = file;
	r = file->is_inline ? add_inline(maker, file, &inode) : gather_file(gathering);
	scan_inode_clear(&inode);
	return r;
}

/* What is not mapped is a hole only if nothing of what was stored is missing (I9). */
static int end_file(struct blob_maker *maker, struct blob_file *file)
{
	if (!file->is_inline && file->mapped_inside < file->size && file->mapped != file->allocated)
		return -EIO;
	return add_zeros(maker, file, file->size, true);
}

static void note_content(struct blob_maker *maker, struct blob_file *file)
{
	file->note.allocated = file->mapped;
	content_notes_add(maker->notes, &file->note);
}

void blob_maker_files(struct blob_maker *maker, struct blob_file *files, size_t count)
{
	struct gathering gathering = {.maker = maker, .turn = readers_enter(maker->scan->tree)};

	for (size_t i = 0; i < count; i++) {
		int r = begin_file(&gathering, &files[i]);

		if (files[i].result == 0)
			files[i].result = r;
	}
	work_off(&gathering);
	readers_leave(maker->scan->tree, gathering.turn);
	end_watch(maker, true);
	digest_streams_run(maker->streams);
	for (size_t i = 0; i < count; i++) {
		if (files[i].result == 0)
			files[i].result = end_file(maker, &files[i]);
		if (files[i].result == 0 && files[i].is_noted)
			note_content(maker, &files[i]);
		buf_clear(&files[i].piece);
	}
}
