/*
 * How the content of a file gets its digest, the cheapest way first:
 *
 *   it is inline                                       hashed from the record
 *   it is what the old digest record was made of       taken from there
 *   it is one whole chunk                              the chunk's SHA-256, from its record
 *   else                                               chunks and zeros, hashed in order
 *
 * The second, for a file of which only attributes changed since epoch e of the old record: the extents that the line sees are all of
 * epoch e or older, as many bytes as then, and the size is the same. Epochs form a tree and a line is the path to its last epoch
 * (prune.c), so what the line has up to e is what the old record's view had. An extent seen now, of an epoch up to e, was seen then; if
 * they add up to the bytes there were then, they are all of them, since extents do not overlap.
 */
#include "lib/identity/node.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define WINDOW (4U << 20)
#define WINDOW_PIECES 1024
#define ZEROS (64U << 10)
#define POLL_BYTES (64U << 20)
/* A content that one step of a pool job may hash: polled for cancellation only between jobs. */
#define STEP_BYTES WINDOW

static void add_u32(struct digest *digest, uint32_t value)
{
	const uint8_t bytes[] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16), (uint8_t)(value >> 24)};

	digest_update(digest, bytes, sizeof(bytes));
}

static void add_u64(struct digest *digest, uint64_t value)
{
	add_u32(digest, (uint32_t)value);
	add_u32(digest, (uint32_t)(value >> 32));
}

static void begin(struct digest *digest, const char *tag, uint32_t mode)
{
	digest_update(digest, tag, strlen(tag) + 1);
	add_u32(digest, mode & (S_IFMT | 07777));
}

void node_begin_directory(struct digest *digest, uint32_t mode)
{
	begin(digest, "corpusfs-dir", mode);
}

void node_add_entry(struct digest *digest, const char *name, size_t len, const uint8_t node[NODE_LEN])
{
	add_u32(digest, (uint32_t)len);
	digest_update(digest, name, len);
	digest_update(digest, node, NODE_LEN);
}

/* --- content --- */

struct piece {
	uint64_t chunk;
	uint32_t offset, length;
	size_t at; /* in the window */
};

/* A file that is being hashed: [0, at) is done, then come the pieces of the window. */
struct content {
	struct node_source *source;
	uint64_t ino, size;
	bool in_step;
	struct digest *digest;
	uint64_t at;
	uint64_t polled_at;
	uint8_t *window;
	struct piece *pieces;
	size_t piece_count, filled;
	atomic_int result; /* of the pieces */
};

static int check_cancelled(struct content *content)
{
	struct node_source *source = content->source;

	if (content->in_step || !source->cancelled || content->at - content->polled_at < POLL_BYTES)
		return 0;
	content->polled_at = content->at;
	return source->cancelled(source->arg) ? -ECANCELED : 0;
}

static void read_piece(void *arg, size_t index)
{
	struct content *content = arg;
	const struct piece *piece = &content->pieces[index];
	int result = chunks_read(content->source->store->chunks, piece->chunk, piece->offset, piece->length, content->window + piece->at);

	if (result < 0)
		atomic_store(&content->result, result);
}

static int hash_window(struct content *content)
{
	if (content->in_step) {
		for (size_t i = 0; i < content->piece_count; i++)
			read_piece(content, i);
	} else {
		pool_run(content->source->store->pool, read_piece, content, content->piece_count);
	}
	if (atomic_load(&content->result) < 0)
		return atomic_load(&content->result);
	digest_update(content->digest, content->window, content->filled);
	content->at += content->filled;
	content->piece_count = content->filled = 0;
	return check_cancelled(content);
}

static int hash_zeros(struct content *content, uint64_t end)
{
	static const uint8_t zeros[ZEROS];
	int result = hash_window(content);

	while (result == 0 && content->at < end) {
		uint64_t len = MIN(end - content->at, ZEROS);
		digest_update(content->digest, zeros, len);
		content->at += len;
		result = check_cancelled(content);
	}
	return result;
}

static int hash_extent(void *arg, const struct extent *extent)
{
	struct content *content = arg;
	uint64_t end = MIN(extent->offset + extent->record.length, content->size), at = extent->offset;
	int result = 0;

	if (at >= content->size)
		return 0;
	if (at < content->at + content->filled)
		return -EIO;
	if (at > content->at + content->filled)
		result = hash_zeros(content, at);
	if (result == 0 && extent->record.chunk == CHUNK_NONE)
		return hash_zeros(content, end);
	while (result == 0 && at < end) {
		if (content->filled == WINDOW || content->piece_count == WINDOW_PIECES)
			result = hash_window(content);
		uint32_t len = (uint32_t)MIN(end - at, WINDOW - content->filled);
		content->pieces[content->piece_count++] = (struct piece){
			.chunk = extent->record.chunk,
			.offset = extent->record.chunk_offset + (uint32_t)(at - extent->offset),
			.length = len,
			.at = content->filled,
		};
		content->filled += len;
		at += len;
	}
	return result;
}

static int hash_extents(struct content *content)
{
	int result = scan_extents(&content->source->scan, content->ino, hash_extent, content);

	return result < 0 ? result : hash_zeros(content, content->size);
}

static int hash_content(struct node_source *source, uint64_t ino, uint64_t size, bool in_step, struct digest *digest, uint8_t *ret_sha256)
{
	struct content content = {.source = source, .ino = ino, .size = size, .in_step = in_step, .digest = digest};
	AUTO_FREE uint8_t *window = malloc(MAX(MIN(size, WINDOW), 1U));
	AUTO_FREE struct piece *pieces = xcalloc(WINDOW_PIECES, sizeof(*pieces));
	int result = window ? 0 : -ENOMEM;

	content.window = window;
	content.pieces = pieces;
	if (result == 0)
		result = hash_extents(&content);
	if (result < 0)
		return result;
	atomic_fetch_add(&source->contents, 1);
	digest_final(digest, ret_sha256);
	return 0;
}

static void hash_inline(const struct inode_record *record, struct digest *digest, uint8_t *ret_sha256)
{
	static const uint8_t zeros[INLINE_MAX];
	size_t have = MIN(record->data_len, record->size);

	digest_update(digest, record->data, have);
	for (uint64_t rest = record->size - have; rest > 0; rest -= MIN(rest, INLINE_MAX))
		digest_update(digest, zeros, MIN(rest, INLINE_MAX));
	digest_final(digest, ret_sha256);
}

/* What the extents that the line sees amount to. */
struct summary {
	uint64_t size; /* of the file */
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
	return 0;
}

/* The whole file is one whole chunk: its digest is known. */
static bool is_one_chunk(struct node_source *source, const struct summary *summary, uint64_t size, uint8_t *ret_sha256)
{
	const struct extent *first = &summary->first;
	uint8_t sha256[NODE_LEN];
	uint32_t len;

	if (summary->count != 1 || first->record.chunk == CHUNK_NONE || first->offset != 0 || first->record.chunk_offset != 0 ||
	    first->record.length != size)
		return false;
	if (chunks_digest(source->store->chunks, first->record.chunk, &len, sha256) < 0 || len != size)
		return false;
	memcpy(ret_sha256, sha256, NODE_LEN);
	return true;
}

static int digest_extents(struct node_source *source, uint64_t ino, const struct inode_record *record, const struct digest_record *old,
			  uint64_t old_epoch, unsigned flags, struct digest *digest, struct digest_record *out)
{
	struct summary summary = {.size = record->size};
	int result = scan_extents(&source->scan, ino, add_to_summary, &summary);

	if (result < 0)
		return result;
	/* I9: what is not mapped is a hole only if nothing of what was stored is missing. */
	if (summary.mapped_inside < record->size && summary.mapped != record->allocated)
		return -EIO;
	if (record->size - summary.mapped_inside > NODE_HOLES_MAX)
		return -EFBIG;
	out->allocated = summary.mapped;
	if (old && old->has_content && old->size == record->size && old->allocated == summary.mapped && summary.newest <= old_epoch &&
	    (summary.mapped > 0 || record->size == 0)) {
		memcpy(out->content, old->content, NODE_LEN);
		return 0;
	}
	if (is_one_chunk(source, &summary, record->size, out->content))
		return 0;
	if ((flags & NODE_IN_STEP) && record->size > STEP_BYTES)
		return -EINPROGRESS;
	return hash_content(source, ino, record->size, flags & NODE_IN_STEP, digest, out->content);
}

static int regular_node(struct node_source *source, uint64_t ino, const struct inode_record *record, const struct digest_record *old,
			uint64_t old_epoch, unsigned flags, struct digest *digest, struct digest_record *out)
{
	int result = 0;

	out->has_content = true;
	out->size = record->size;
	if (record->is_inline)
		hash_inline(record, digest, out->content);
	else
		result = digest_extents(source, ino, record, old, old_epoch, flags, digest, out);
	if (result < 0)
		return result;
	begin(digest, "corpusfs-file", record->mode);
	add_u64(digest, record->size);
	digest_update(digest, out->content, NODE_LEN);
	return 0;
}

static void symlink_node(const struct inode_record *record, struct digest *digest)
{
	begin(digest, "corpusfs-symlink", S_IFLNK | 0777);
	add_u64(digest, record->data_len);
	digest_update(digest, record->data, record->data_len);
}

static void special_node(const struct inode_record *record, struct digest *digest)
{
	begin(digest, "corpusfs-special", record->mode);
	if (S_ISCHR(record->mode) || S_ISBLK(record->mode)) {
		add_u32(digest, major((dev_t)record->rdev));
		add_u32(digest, minor((dev_t)record->rdev));
	} else {
		add_u64(digest, 0);
	}
}

static int compute(struct node_source *source, const struct scan_inode *inode, const struct digest_record *old, uint64_t old_epoch,
		   unsigned flags, struct digest_record *out)
{
	const struct inode_record *record = &inode->record;
	struct digest *digest = digest_new();
	int result = 0;

	if (S_ISREG(record->mode))
		result = regular_node(source, inode->ino, record, old, old_epoch, flags, digest, out);
	else if (S_ISLNK(record->mode))
		symlink_node(record, digest);
	else
		special_node(record, digest);
	if (result == 0)
		digest_final(digest, out->node);
	digest_free(digest);
	return result;
}

int node_compute(struct node_source *source, uint64_t ino, const struct digest_record *old, uint64_t old_epoch, unsigned flags,
		 struct node *ret_node)
{
	struct scan_inode inode;
	struct node node = {0};
	int result = scan_inode(&source->scan, ino, &inode);

	if (result < 0)
		return result;
	node.epoch = inode.epoch;
	node.mode = inode.record.mode;
	node.nlink = inode.record.nlink;
	if (S_ISDIR(node.mode))
		result = -EISDIR;
	else if (old && old_epoch == node.epoch)
		node.digest = *old;
	else
		result = compute(source, &inode, old, old_epoch, flags, &node.digest);
	scan_inode_clear(&inode);
	if (result == 0)
		*ret_node = node;
	return result;
}
