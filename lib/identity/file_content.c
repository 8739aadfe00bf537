/*
 * How the content of a file gets its digest, the cheapest way first:
 *
 *   it is inline                                       hashed from the content record
 *   it is what the old digest record was made of       taken from there
 *   it is short, and one whole chunk                   the chunk's SHA-256, from its record
 *   else                                               chunks are hashed in order; zeros cost nothing where they are many
 *
 * The second, for a file of which only attributes changed since epoch e of the old record: the extents that the line sees are all of
 * epoch e or older, as many bytes as then, and the size is the same. Epochs form a tree and a line is the path to its last epoch
 * (prune.c), so what the line has up to e is what the old record's view had. An extent seen now, of an epoch up to e, was seen then; if
 * they add up to the bytes there were then, they are all of them, since extents do not overlap.
 */
#include "lib/identity/file_content.h"

#include <errno.h>
#include <string.h>

#include "lib/identity/content_digest.h"

#define WINDOW (4U << 20)
#define WINDOW_PIECES 1024
#define ZEROS (64U << 10)
/* Somebody is asked whether to go on after so many bytes, a piece counting as so many. */
#define POLL_BYTES (64U << 20)
#define PIECE_WORK (16U << 10)
/* What one step of a pool job may look at and hash: whether to go on is asked only between jobs. */
#define STEP_BYTES WINDOW
#define STEP_EXTENTS 4096

struct piece {
	uint64_t chunk;
	uint32_t offset, length;
	size_t at; /* in the window */
};

/* A file that is being read: [0, at) is done, then come the pieces of the window. */
struct reading {
	struct node_source *source;
	uint64_t ino, size;
	bool in_step;
	struct content_digest *content; /* NULL: all bytes are hashed */
	struct digest *digest;
	uint64_t at;
	uint64_t work; /* since somebody was asked */
	uint8_t *window;
	struct piece *pieces;
	size_t piece_count, filled;
	atomic_int result; /* of the pieces */
};

static int ask(struct reading *reading, uint64_t work)
{
	struct node_source *source = reading->source;

	reading->work += work;
	if (reading->in_step || !source->cancelled || reading->work < POLL_BYTES)
		return 0;
	reading->work = 0;
	return source->cancelled(source->arg) ? -ECANCELED : 0;
}

static void read_piece(void *arg, size_t index)
{
	struct reading *reading = arg;
	const struct piece *piece = &reading->pieces[index];
	int result = chunks_read(reading->source->store->chunks, piece->chunk, piece->offset, piece->length, reading->window + piece->at);

	if (result < 0)
		atomic_store(&reading->result, result);
}

static int hash_window(struct reading *reading)
{
	uint64_t work = reading->filled + (uint64_t)reading->piece_count * PIECE_WORK;

	if (reading->piece_count == 0)
		return 0;
	if (reading->in_step) {
		for (size_t i = 0; i < reading->piece_count; i++)
			read_piece(reading, i);
	} else {
		pool_run(reading->source->store->pool, read_piece, reading, reading->piece_count);
	}
	if (atomic_load(&reading->result) < 0)
		return atomic_load(&reading->result);
	if (reading->content)
		content_digest_data(reading->content, reading->window, reading->filled);
	else
		digest_update(reading->digest, reading->window, reading->filled);
	reading->at += reading->filled;
	reading->piece_count = reading->filled = 0;
	return ask(reading, work);
}

/* The file has no data up to `end`. */
static int add_zeros(struct reading *reading, uint64_t end)
{
	static const uint8_t zeros[ZEROS];
	int result = hash_window(reading);

	if (result == 0 && reading->content && reading->at < end) {
		content_digest_zeros(reading->content, end - reading->at);
		reading->at = end;
	}
	while (result == 0 && reading->at < end) {
		uint64_t len = MIN(end - reading->at, ZEROS);
		digest_update(reading->digest, zeros, len);
		reading->at += len;
		result = ask(reading, len);
	}
	return result;
}

static int add_extent(void *arg, const struct extent *extent)
{
	struct reading *reading = arg;
	uint64_t end = MIN(extent->offset + extent->record.length, reading->size), at = extent->offset;
	int result = 0;

	if (at >= reading->size)
		return ask(reading, PIECE_WORK);
	if (at < reading->at + reading->filled)
		return -EIO;
	if (at > reading->at + reading->filled)
		result = add_zeros(reading, at);
	if (result == 0 && extent->record.chunk == CHUNK_NONE) {
		result = add_zeros(reading, end);
		return result < 0 ? result : ask(reading, PIECE_WORK);
	}
	while (result == 0 && at < end) {
		if (reading->filled == WINDOW || reading->piece_count == WINDOW_PIECES)
			result = hash_window(reading);
		uint32_t len = (uint32_t)MIN(end - at, WINDOW - reading->filled);
		reading->pieces[reading->piece_count++] = (struct piece){
			.chunk = extent->record.chunk,
			.offset = extent->record.chunk_offset + (uint32_t)(at - extent->offset),
			.length = len,
			.at = reading->filled,
		};
		reading->filled += len;
		at += len;
	}
	return result;
}

static int read_extents(struct reading *reading)
{
	AUTO_FREE uint8_t *window = malloc(MAX(MIN(reading->size, WINDOW), 1U));
	AUTO_FREE struct piece *pieces = xcalloc(WINDOW_PIECES, sizeof(*pieces));
	int result;

	if (!window)
		return -ENOMEM;
	reading->window = window;
	reading->pieces = pieces;
	result = scan_extents(&reading->source->scan, reading->ino, add_extent, reading);
	return result < 0 ? result : add_zeros(reading, reading->size);
}

static int read_content(struct reading *reading, const struct scan_inode *inode)
{
	AUTO_BUF data = BUF_INIT;
	int result;

	if (!inode->record.is_inline)
		return read_extents(reading);
	result = scan_inline(&reading->source->scan, inode, &data);
	if (result < 0)
		return result;
	data.len = MIN(data.len, reading->size);
	if (reading->content)
		content_digest_data(reading->content, data.data, data.len);
	else
		digest_update(reading->digest, data.data, data.len);
	reading->at = data.len;
	return add_zeros(reading, reading->size);
}

/* --- the digest --- */

/* What the extents that the line sees amount to. */
struct summary {
	struct reading *reading;
	uint64_t size;          /* of the file */
	uint64_t mapped;        /* bytes */
	uint64_t mapped_inside; /* below the file's size */
	uint64_t newest;        /* epoch */
	size_t count;
	struct extent first;
};

static int add_to_summary(void *arg, const struct extent *extent)
{
	struct summary *summary = arg;

	if (summary->count++ == 0)
		summary->first = *extent;
	summary->mapped += extent->record.length;
	if (extent->offset < summary->size)
		summary->mapped_inside += MIN(extent->record.length, summary->size - extent->offset);
	summary->newest = MAX(summary->newest, extent->epoch);
	if (summary->reading->in_step && summary->count > STEP_EXTENTS)
		return -EINPROGRESS;
	return ask(summary->reading, PIECE_WORK);
}

/* I9: what is not mapped is a hole only if nothing of what was stored is missing. */
static int summarize(struct reading *reading, const struct inode_record *record, struct summary *summary)
{
	*summary = (struct summary){.reading = reading, .size = record->size};
	int result = scan_extents(&reading->source->scan, reading->ino, add_to_summary, summary);

	if (result == 0 && summary->mapped_inside < record->size && summary->mapped != record->allocated)
		result = -EIO;
	return result;
}

/* The whole file is one whole chunk: its digest is known. */
static bool is_one_chunk(struct node_source *source, const struct summary *summary, uint8_t *ret_sha256)
{
	const struct extent *first = &summary->first;
	uint8_t sha256[NODE_LEN];
	uint32_t len;

	if (summary->size > CONTENT_PLAIN_MAX || summary->count != 1 || first->record.chunk == CHUNK_NONE || first->offset != 0 ||
	    first->record.chunk_offset != 0 || first->record.length != summary->size)
		return false;
	if (chunks_digest(source->store->chunks, first->record.chunk, &len, sha256) < 0 || len != summary->size)
		return false;
	memcpy(ret_sha256, sha256, NODE_LEN);
	return true;
}

static bool is_as_before(const struct summary *summary, const struct digest_record *old, uint64_t old_epoch)
{
	return old && old->has_content && old->size == summary->size && old->allocated == summary->mapped && summary->newest <= old_epoch &&
	       (summary->mapped > 0 || summary->size == 0);
}

static void take_content(const struct digest_record *old, struct digest_record *record)
{
	memcpy(record->content, old->content, NODE_LEN);
	record->is_sparse = old->is_sparse;
	record->has_sha256 = old->has_sha256;
	memcpy(record->sha256, old->sha256, NODE_LEN);
}

static int hash_content(struct reading *reading, const struct scan_inode *inode, struct digest_record *record)
{
	struct content_digest content;
	int result;

	content_digest_begin(&content, reading->digest, reading->size);
	reading->content = &content;
	result = read_content(reading, inode);
	if (result == 0)
		content_digest_final(&content, record->content, &record->is_sparse);
	content_digest_clear(&content);
	return result;
}

int file_content_digest(struct node_source *source, const struct scan_inode *inode, const struct digest_record *old, uint64_t old_epoch,
			unsigned flags, struct digest *digest, struct digest_record *record)
{
	struct reading reading = {
		.source = source, .ino = inode->ino, .size = inode->record.size, .in_step = flags & NODE_IN_STEP, .digest = digest};
	struct summary summary;
	int result;

	record->has_content = true;
	record->size = inode->record.size;
	if (inode->record.is_inline)
		return hash_content(&reading, inode, record);
	result = summarize(&reading, &inode->record, &summary);
	if (result < 0)
		return result;
	record->allocated = summary.mapped;
	if (is_as_before(&summary, old, old_epoch)) {
		take_content(old, record);
		return 0;
	}
	if (is_one_chunk(source, &summary, record->content))
		return 0;
	if (reading.in_step && summary.mapped > STEP_BYTES)
		return -EINPROGRESS;
	atomic_fetch_add(&source->contents, 1);
	return hash_content(&reading, inode, record);
}

int file_content_sha256(struct node_source *source, const struct scan_inode *inode, uint8_t ret_sha256[DIGEST_LEN])
{
	const struct inode_record *record = &inode->record;
	struct reading reading = {.source = source, .ino = inode->ino, .size = record->size, .digest = digest_new()};
	struct summary summary = {.mapped_inside = record->is_inline ? record->allocated : 0};
	int result = record->is_inline ? 0 : summarize(&reading, record, &summary);

	if (result == 0 && record->size > summary.mapped_inside && record->size - summary.mapped_inside > SHA256_ZEROS_MAX)
		result = -EFBIG;
	if (result == 0)
		result = read_content(&reading, inode);
	if (result == 0)
		digest_final(reading.digest, ret_sha256);
	digest_free(reading.digest);
	return result;
}
