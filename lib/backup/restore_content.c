#include "lib/backup/restore_content.h"

#include <errno.h>

#include "lib/chunk/look.h"

#define CONFIG_MAX 65536

void restore_reader_init(struct restore_reader *reader, struct repository *repository, struct store *store, struct pool *pool)
{
	*reader = (struct restore_reader){.repository = repository, .store = store, .blobs = repository_reader_new(repository),
	                                  .fetch = fetch_new(repository, pool)};
}

void restore_reader_clear(struct restore_reader *reader)
{
	buf_clear(&reader->plain);
	repository_reader_free(reader->blobs);
	fetch_free(reader->fetch);
	reader->fetch = NULL;
	reader->blobs = NULL;
}

static void reuse(struct restore_reader *reader)
{
	if (reader->reuses)
		reader->reuses(reader->reuses_arg);
}

static bool read_local(struct restore_reader *reader, const struct blob_id *id)
{
	const uint8_t *plain;
	struct chunk_look look;
	bool good;

	if (!reader->store || chunk_look_find(store_chunks(reader->store), id->bytes, &look) < 0)
		return false;
	reuse(reader);
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

static bool is_passed_over(const struct restore_reader *reader, const struct restore_content *content, uint64_t *ret_len)
{
	const struct blob_id *id = &content->node->content.items[content->blob];

	return content->holes->count > 0 && !content->holes->left_out && blob_length(reader, id, ret_len) &&
	       is_hole(content->holes, content->offset, content->offset + *ret_len);
}

/* --- reading ahead --- */

static bool store_has(const struct restore_reader *reader, const struct blob_id *id)
{
	struct chunk_look look;

	if (!reader->store || chunk_look_find(store_chunks(reader->store), id->bytes, &look) < 0)
		return false;
	chunk_look_close(&look);
	return true;
}

/* Adds the blobs of a file from the given one on. False: the fetch is full, or the store has what comes now. */
static bool add_blobs(struct restore_reader *reader, const struct node *node, size_t first)
{
	for (size_t i = first; i < node->content.count; i++)
		if (store_has(reader, &node->content.items[i]) || !fetch_add(reader->fetch, &node->content.items[i]))
			return false;
	return true;
}

/* Of a file with holes only the next blob: which of the others are passed over shows when they come. */
static void fetch_ahead(struct restore_reader *reader, const struct restore_content *content)
{
	const struct blob_id *id = &content->node->content.items[content->blob];
	const struct node *node = NULL;
	bool has_room;

	reuse(reader);
	fetch_begin(reader->fetch);
	has_room = content->holes->count > 0 ? fetch_add(reader->fetch, id) : add_blobs(reader, content->node, content->blob);
	for (size_t i = 0; has_room && reader->following && (node = reader->following(reader->following_arg, i)); i++)
		has_room = add_blobs(reader, node, 0);
	fetch_run(reader->fetch);
}

/* All copies in turn, of which the fetch tried the first one. */
static int read_alone(struct restore_reader *reader, const struct blob_id *id)
{
	reuse(reader);
	return repository_read_blob(reader->blobs, id, false, &reader->plain);
}

/* The content's blob number `blob`. */
static int read_data(struct restore_reader *reader, const struct restore_content *content, const void **ret_data, size_t *ret_len)
{
	const struct blob_id *id = &content->node->content.items[content->blob];
	int r = fetch_find(reader->fetch, id, ret_data, ret_len);

	if (r == 0 && read_local(reader, id)) {
		reader->local += reader->plain.len;
		*ret_data = reader->plain.data;
		*ret_len = reader->plain.len;
		return 0;
	}
	if (r == 0) {
		fetch_ahead(reader, content);
		r = fetch_find(reader->fetch, id, ret_data, ret_len);
	}
	/* The place was waited for in vain: nobody waits again. What a disk cannot read may have another copy. */
	if (objects_is_away(r) && r != -EIO)
		return r;
	if (r <= 0) {
		r = read_alone(reader, id);
		if (r < 0)
			return r;
		*ret_data = reader->plain.data;
		*ret_len = reader->plain.len;
	}
	reader->fetched += *ret_len;
	return 0;
}

/* Between two blobs, or at the end. */
static void pass_left_out(struct restore_content *content)
{
	const struct holes *holes = content->holes;

	while (holes->left_out && content->hole < holes->count && holes->items[content->hole].offset == content->offset)
		content->offset += holes->items[content->hole++].length;
}

int restore_content_next(struct restore_reader *reader, struct restore_content *content, const void **ret_data, size_t *ret_len, uint64_t *ret_offset)
{
	uint64_t len;
	int r;

	for (pass_left_out(content); content->blob < content->node->content.count; pass_left_out(content)) {
		if (is_passed_over(reader, content, &len)) {
			content->blob++;
			content->offset += len;
			continue;
		}
		r = read_data(reader, content, ret_data, ret_len);
		if (r < 0)
			return r;
		*ret_offset = content->offset;
		content->blob++;
		content->offset += *ret_len;
		return 1;
	}
	return 0;
}

bool restore_content_is_damage(struct repository *repository, int code)
{
	AUTO_BUF config = BUF_INIT;

	/* A pack that was cut off, or a bad sector; or the whole disk, which does not give the config either then. */
	if (code == -EIO)
		return objects_get_whole(repository->objects, OBJECT_CONFIG, "", CONFIG_MAX, &config) == 0;
	return code == -ENOENT || code == -EBADMSG;
}

int restore_content_check(struct restore_reader *reader, const struct node *node, const struct holes *holes, const char **ret_damage)
{
	struct restore_content content = {.node = node, .holes = holes};
	const char *damage = NULL;
	const void *data;
	uint64_t offset;
	size_t len;
	int r;

	do
		r = restore_content_next(reader, &content, &data, &len, &offset);
	while (r == 1);
	if (r < 0 && !restore_content_is_damage(reader->repository, r))
		return r;
	if (r < 0)
		damage = "a part of its content is damaged or missing in the repository";
	else if (content.offset != node->size)
		damage = "its content is not as long as the backup says";
	*ret_damage = damage;
	return 0;
}
