/*
 * The content of a file as stretches: data of a chunk, allocated zeros, holes, or bytes in the file's own record. With a file of the base only
 * those stretches are sent that are not the same part of the same chunk there, or not of the same kind.
 *
 * The sender counts as a reader (readers.h) while extents are looked up and while a chunk is read, but not while it is written: the other end may
 * take its time.
 */
#include <errno.h>

#include "lib/base/fault.h"
#include "lib/chunk/look.h"
#include "lib/stream/sending.h"
#include "lib/tree/records/readers.h"

#define EXTENTS_AT_ONCE 512

struct stretch {
	enum { HOLE, ZEROS, CHUNK, OWN } kind;
	uint64_t offset, end;
	struct extent_record record; /* CHUNK */
};

struct stretches {
	const struct scan *scan;
	const struct scan_inode *inode; /* NULL: there is no file, all is a hole */
	ARRAY(struct extent) batch;
	unsigned turn; /* in which the batch was looked up */
	size_t next;
	uint64_t from; /* extents that begin there or later are not read yet */
	bool complete;
	uint64_t mapped; /* bytes of all extents that were read */
	bool has_holes;
	struct stretch now;
};

static int add_extent(void *arg, const struct extent *extent)
{
	struct stretches *stretches = arg;

	array_add(&stretches->batch, *extent);
	return stretches->batch.count == EXTENTS_AT_ONCE;
}

static int read_batch(struct stretches *stretches)
{
	struct tree *tree = stretches->scan->tree;
	int r;

	array_reset(&stretches->batch);
	stretches->next = 0;
	stretches->turn = readers_enter(tree);
	r = scan_extents_from(stretches->scan, stretches->inode->ino, stretches->from, add_extent, stretches);
	readers_leave(tree, stretches->turn);
	if (r < 0)
		return r;
	stretches->complete = r == 0;
	for (size_t i = 0; i < stretches->batch.count; i++)
		stretches->mapped += stretches->batch.items[i].record.length;
	if (stretches->batch.count > 0)
		stretches->from = array_last(&stretches->batch)->offset + 1;
	return 0;
}

/* The next stretch of at most `limit`; 1, or 0 at the end. */
static int next_stretch(struct stretches *stretches, uint64_t limit)
{
	struct stretch *now = &stretches->now;
	const uint64_t offset = now->end, size = stretches->inode ? MIN(stretches->inode->record.size, limit) : 0;
	int r = 0;

	*now = (struct stretch){.kind = HOLE, .offset = offset, .end = limit};
	if (offset >= limit)
		return 0;
	if (offset >= size)
		return 1;
	if (stretches->inode->record.is_inline) {
		const uint64_t own = MIN(size, stretches->inode->record.allocated);

		now->kind = offset < own ? OWN : HOLE;
		now->end = offset < own ? own : size;
		return 1;
	}
	if (stretches->next == stretches->batch.count && !stretches->complete)
		r = read_batch(stretches);
	if (r < 0)
		return r;
	const struct extent *extent = stretches->next < stretches->batch.count ? &stretches->batch.items[stretches->next] : NULL;
	if (!extent || extent->offset > offset) {
		now->end = extent ? MIN(extent->offset, size) : size;
		stretches->has_holes = true;
		return 1;
	}
	if (extent->offset < offset)
		return -EIO;
	now->kind = extent->record.chunk == CHUNK_NONE ? ZEROS : CHUNK;
	now->record = extent->record;
	now->end = MIN(extent_end(extent), size);
	stretches->next++;
	return 1;
}

/* I9: what is not mapped is a hole only if nothing of what was stored is missing. */
static int check_holes(struct stretches *stretches)
{
	int r = 0;

	if (stretches->inode->record.is_inline || !stretches->has_holes)
		return 0;
	while (r == 0 && !stretches->complete)
		r = read_batch(stretches);
	return r == 0 && stretches->mapped != stretches->inode->record.allocated ? -EIO : r;
}

/* --- what differs --- */

/* How far [at, end) of the stretch of B is what A has there, as A's stretch at hand goes. */
static bool is_same(const struct stretch *b, const struct stretch *a, uint64_t at)
{
	if (a->kind != b->kind || a->kind == OWN)
		return false;
	return a->kind != CHUNK || (a->record.chunk == b->record.chunk &&
	                            a->record.chunk_offset + (at - a->offset) == b->record.chunk_offset + (at - b->offset));
}

/* 1: all of the stretch is the same in A, whose stretches go along. */
static int is_all_same(struct stretches *old, const struct stretch *b)
{
	uint64_t at = b->offset;

	while (at < b->end) {
		while (old->now.end <= at) {
			int r = next_stretch(old, UINT64_MAX);

			if (r <= 0)
				return r < 0 ? r : -EIO;
		}
		if (!is_same(b, &old->now, at))
			return 0;
		at = MIN(b->end, old->now.end);
	}
	return 1;
}

/* --- telling --- */

static int tell_space(struct sending *sending, uint64_t offset, uint64_t end, bool allocated)
{
	const struct stream_space space = {.offset = offset, .length = end - offset, .allocated = allocated};

	stream_space_encode(&space, &sending->frames.body);
	return frames_out_put(&sending->frames, STREAM_SPACE, NULL, 0);
}

static int tell_bytes(struct sending *sending, uint64_t offset, const uint8_t *bytes, uint32_t len)
{
	struct digest *digest = digest_new();
	uint8_t sha256[DIGEST_LEN];
	const struct stream_data data = {.offset = offset, .plain_len = len, .codec = CHUNK_CODEC_PLAIN, .sha256 = sha256};

	digest_once(digest, bytes, len, sha256);
	digest_free(digest);
	sending->result->bytes += len;
	stream_data_encode(&data, &sending->frames.body);
	return frames_out_put(&sending->frames, STREAM_DATA, bytes, len);
}

static int read_part(struct sending *sending, const struct stretch *stretch, uint64_t from)
{
	const uint32_t len = (uint32_t)(stretch->end - from);

	buf_reset(&sending->plain);
	buf_reserve(&sending->plain, len);
	return chunks_read(store_chunks(sending->store), stretch->record.chunk, stretch->record.chunk_offset + (uint32_t)(from - stretch->offset), len,
	                   sending->plain.data);
}

static int take_one(void *arg, const struct extent *extent)
{
	*(struct extent *)arg = *extent;
	return 1;
}

/* Which chunk the extent names by now. */
static int look_up_again(const struct stretches *stretches, struct stretch *stretch)
{
	struct extent extent;
	int r = scan_extents_from(stretches->scan, stretches->inode->ino, stretch->offset, take_one, &extent);

	if (r < 0)
		return r;
	if (r == 0 || extent.offset != stretch->offset || extent_end(&extent) < stretch->end || extent.record.chunk == CHUNK_NONE)
		return -EIO;
	stretch->record = extent.record;
	return 0;
}

/* 1: the file has the chunk whole, which is open. 0: its bytes from `from` on are in `plain`. */
static int read_inside(struct sending *sending, const struct stretch *stretch, uint64_t from, struct chunk_look *look)
{
	int r = fault_point("send-before-chunk");

	if (r < 0)
		return r;
	if (from != stretch->offset || stretch->record.chunk_offset != 0)
		return read_part(sending, stretch, from);
	r = chunk_look_open(store_chunks(sending->store), stretch->record.chunk, look);
	if (r < 0 || look->header.plain_len == stretch->end - stretch->offset)
		return r < 0 ? r : 1;
	chunk_look_close(look);
	return read_part(sending, stretch, from);
}

static int read_chunk(struct sending *sending, struct stretches *stretches, uint64_t from, struct chunk_look *look)
{
	struct tree *tree = stretches->scan->tree;
	const unsigned turn = readers_enter(tree);
	int r = turn == stretches->turn ? 0 : look_up_again(stretches, &stretches->now);

	if (r == 0)
		r = read_inside(sending, &stretches->now, from, look);
	readers_leave(tree, turn);
	return r;
}

/* A chunk that the file has whole goes as it is stored. */
static int tell_chunk(struct sending *sending, struct stretches *stretches, uint64_t from)
{
	struct chunk_look look;
	int r = read_chunk(sending, stretches, from, &look);

	if (r <= 0)
		return r < 0 ? r : tell_bytes(sending, from, sending->plain.data, (uint32_t)(stretches->now.end - from));
	const struct stream_data data = {.offset = from, .plain_len = look.header.plain_len, .codec = look.header.codec, .sha256 = look.header.sha256};
	sending->result->bytes += data.plain_len;
	stream_data_encode(&data, &sending->frames.body);
	r = frames_out_put(&sending->frames, STREAM_DATA, look.header.stored, look.header.stored_len);
	chunk_look_close(&look);
	return r;
}

static int tell_own(struct sending *sending, const struct scan_inode *inode, const struct stretch *stretch, uint64_t from)
{
	int r;

	buf_reset(&sending->plain);
	r = scan_inline(&sending->b, inode, &sending->plain);
	if (r == 0 && sending->plain.len < stretch->end)
		r = -EIO;
	return r < 0 ? r : tell_bytes(sending, from, sending->plain.data + from, (uint32_t)(stretch->end - from));
}

/* From `from` on; the receiver has what comes before. */
static int tell(struct sending *sending, struct stretches *stretches, uint64_t from)
{
	const struct stretch *stretch = &stretches->now;

	switch (stretch->kind) {
	case CHUNK: return tell_chunk(sending, stretches, from);
	case OWN: return tell_own(sending, stretches->inode, stretch, from);
	default: return tell_space(sending, from, stretch->end, stretch->kind == ZEROS);
	}
}

static int tell_all(struct sending *sending, struct stretches *new, struct stretches *old, uint64_t from)
{
	int r;

	while ((r = next_stretch(new, new->inode->record.size)) == 1) {
		int same = old->inode ? is_all_same(old, &new->now) : new->now.kind == HOLE;

		if (same < 0)
			return same;
		if (same || new->now.end <= from)
			continue;
		if (sending_stopped(sending))
			return -ECANCELED;
		r = tell(sending, new, MAX(from, new->now.offset));
		if (r < 0)
			return r;
	}
	return r == 0 ? check_holes(new) : r;
}

int sending_content(struct sending *sending, const struct scan_inode *inode, const struct scan_inode *old)
{
	struct stretches new = {.scan = &sending->b, .inode = inode}, base = {.scan = &sending->a, .inode = old};
	const struct stream_entry leave = {.kind = STREAM_LEAVE, .label = inode->ino,
	                                   .attributes = {.atime = inode->record.atime, .mtime = inode->record.mtime}};
	int r = 0;

	/* Steps are counted even where the receiver has them. */
	if (sending->step >= sending->options->step)
		r = tell_all(sending, &new, &base, sending->step == sending->options->step ? sending->options->offset : 0);
	array_clear(&new.batch);
	array_clear(&base.batch);
	return r < 0 ? r : sending_entry(sending, &leave);
}
