/*
 * Small new files are gathered and added many at a time, with their content and names in one batch. Others are made under their name and
 * written; nobody sees them before all of the stream is there.
 */
#include <errno.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/stream/applying.h"

#define SMALL_MAX (1U << 20)      /* bytes of a file that is gathered */
#define WAITING_FILES 2048U
#define WAITING_BYTES (16U << 20) /* of all that wait, but for the last; and at most a quarter of the write buffer */

/* --- gathering --- */

static void gathered_clear(struct gathered *gathered)
{
	buf_clear(&gathered->body);
	buf_clear(&gathered->content);
	*gathered = (struct gathered){0};
}

/* Keeps what the entry points to. */
static void keep(struct gathered *gathered, uint64_t directory, const struct stream_entry *entry)
{
	stream_entry_encode(entry, &gathered->body);
	gathered->directory = directory;
	/* It was decoded before, from the same bytes. */
	if (stream_entry_decode(entry->kind, gathered->body.data, gathered->body.len, &gathered->entry) < 0)
		abort();
}

static void fill(const struct gathered *gathered, struct xattr_list *xattrs, struct bulk_file *file)
{
	const struct stream_attributes *attributes = &gathered->entry.attributes;

	applying_xattrs(attributes, xattrs);
	*file = (struct bulk_file){
		.dir = gathered->directory,
		.name = gathered->entry.name,
		.create = {.mode = attributes->mode, .uid = attributes->uid, .gid = attributes->gid, .rdev = attributes->rdev,
	                   .target = S_ISLNK(attributes->mode) ? attributes->target : NULL, .xattrs = xattrs->items, .xattr_count = xattrs->count},
		.atime = attributes->atime,
		.mtime = attributes->mtime,
		.data = gathered->content.data,
		.len = gathered->content.len,
	};
}

static int add_waiting(struct applying *applying, struct bulk_file *files)
{
	int r = view_add_files(applying->view, files, applying->waiting.count);

	for (size_t i = 0; i < applying->waiting.count && r == 0; i++) {
		const struct stream_entry *entry = &applying->waiting.items[i].entry;

		r = applying_result(applying, files[i].name, files[i].result);
		if (r == 0 && (entry->flags & STREAM_MORE_NAMES))
			r = applying_bind(applying, entry->label, files[i].ino);
	}
	return r;
}

int applying_flush(struct applying *applying)
{
	const size_t count = applying->waiting.count, bytes = applying->waiting_bytes;
	int r;

	if (count == 0)
		return 0;
	r = bulk_reserve(applying->view, bytes);
	if (r < 0)
		return r;
	AUTO_FREE struct bulk_file *files = xcalloc(count, sizeof(*files));
	AUTO_FREE struct xattr_list *xattrs = xcalloc(count, sizeof(*xattrs));
	for (size_t i = 0; i < count; i++)
		fill(&applying->waiting.items[i], &xattrs[i], &files[i]);
	r = add_waiting(applying, files);
	for (size_t i = 0; i < count; i++) {
		array_clear(&xattrs[i]);
		gathered_clear(&applying->waiting.items[i]);
	}
	bulk_release(applying->view, bytes);
	array_reset(&applying->waiting);
	applying->waiting_bytes = 0;
	return r;
}

static int wait_for_others(struct applying *applying, struct gathered *gathered)
{
	const bool is_asked_for = gathered->entry.flags & STREAM_MORE_NAMES;

	/* Attributes may be far longer than content. */
	applying->waiting_bytes += gathered->body.len + gathered->content.len;
	array_add(&applying->waiting, *gathered);
	*gathered = (struct gathered){0};
	return is_asked_for || applying->waiting.count >= WAITING_FILES ||
	                       applying->waiting_bytes >= MIN(WAITING_BYTES, bulk_budget(applying->view) / 4)
	               ? applying_flush(applying)
	               : 0;
}

/* --- files --- */

int applying_open(struct applying *applying, uint64_t label, uint64_t ino, uint64_t size)
{
	int r = inode_open(applying->view, ino, &applying->inode);

	if (r < 0)
		return r;
	applying->open_label = label;
	applying->open_size = size;
	return 0;
}

/* The file gets its name now, and what was gathered of it is written. */
static int make_file(struct applying *applying)
{
	struct gathered *gathered = &applying->gathered;
	struct stream_entry *entry = &gathered->entry;
	struct bulk_file file;
	AUTO_ARRAY struct xattr_list xattrs = {0};
	struct attr attr;
	int r = applying_flush(applying);

	fill(gathered, &xattrs, &file);
	if (r == 0)
		r = applying_result(applying, entry->name, view_create(applying->view, gathered->directory, entry->name, &file.create, &attr, &applying->inode));
	if (r == 0)
		r = applying_bind(applying, entry->label, attr.ino);
	if (r == 0 && gathered->content.len > 0)
		r = inode_write(applying->inode, 0, gathered->content.data, gathered->content.len, 0);
	gathered_clear(gathered);
	return r;
}

int applying_new_file(struct applying *applying, uint64_t directory, const struct stream_entry *entry)
{
	struct gathered gathered = {0};

	if (!(entry->flags & STREAM_MORE) && entry->attributes.size > 0)
		return applying_bad(applying, "\"%s\" has a size and no content", entry->name);
	keep(&gathered, directory, entry);
	if (!(entry->flags & STREAM_MORE))
		return wait_for_others(applying, &gathered);
	applying->gathered = gathered;
	applying->open_label = entry->label;
	applying->open_size = entry->attributes.size;
	return entry->attributes.size > SMALL_MAX ? make_file(applying) : 0;
}

int applying_settle(struct applying *applying)
{
	int r = applying_flush(applying);

	if (r == 0 && applying->open_label && !applying->inode)
		r = make_file(applying);
	return r == 0 && applying->inode ? inode_commit(applying->inode) : r;
}

/* --- content --- */

static int check_range(struct applying *applying, uint64_t offset, uint64_t len)
{
	if (!applying->open_label)
		return applying_bad(applying, "content belongs to nothing");
	if (offset < applying->position.offset || offset > applying->open_size || len > applying->open_size - offset)
		return applying_bad(applying, "content lies outside of its file, or comes in a wrong order");
	return 0;
}

/* The plain bytes, whose SHA-256 is right. */
static int unpack(struct applying *applying, const struct stream_data *data, const uint8_t **ret_plain)
{
	uint8_t sha256[DIGEST_LEN];
	int r = 0;

	*ret_plain = data->stored;
	if (data->codec == CHUNK_CODEC_ZSTD) {
		buf_reset(&applying->plain);
		buf_reserve(&applying->plain, data->plain_len);
		r = codec_unpack(applying->codec, data->stored, data->stored_len, applying->plain.data, data->plain_len);
		*ret_plain = applying->plain.data;
	}
	if (r == -EBADMSG)
		return applying_bad(applying, "content cannot be unpacked");
	if (r < 0)
		return r;
	digest_once(applying->digest, *ret_plain, data->plain_len, sha256);
	return memcmp(sha256, data->sha256, DIGEST_LEN) == 0 ? 0 : applying_bad(applying, "content does not have its SHA-256");
}

int applying_data(struct applying *applying, const struct stream_data *data)
{
	const uint8_t *plain = NULL;
	int r = check_range(applying, data->offset, data->plain_len);

	if (r == 0)
		r = unpack(applying, data, &plain);
	if (r < 0)
		return r;
	applying->result->bytes += data->plain_len;
	if (!applying->inode && data->offset == applying->gathered.content.len) {
		buf_add(&applying->gathered.content, plain, data->plain_len);
		return 0;
	}
	r = applying->inode ? 0 : make_file(applying);
	return r < 0 ? r : inode_write(applying->inode, data->offset, plain, data->plain_len, 0);
}

int applying_space(struct applying *applying, const struct stream_space *space)
{
	const int mode = (space->allocated ? FALLOC_FL_ZERO_RANGE : FALLOC_FL_PUNCH_HOLE) | FALLOC_FL_KEEP_SIZE;
	int r = check_range(applying, space->offset, space->length);

	if (r == 0 && !applying->inode)
		r = make_file(applying);
	return r < 0 ? r : applying_result(applying, "a hole", inode_allocate(applying->inode, mode, space->offset, space->length));
}

static int end_file(struct applying *applying, const struct stream_entry *entry)
{
	struct setattr set = {.mask = SET_ATIME | SET_MTIME, .size = applying->open_size, .atime = entry->attributes.atime, .mtime = entry->attributes.mtime};
	struct attr attr;
	int r = inode_commit(applying->inode);

	/* It ends with a hole. */
	inode_attr(applying->inode, &attr);
	if (attr.size != applying->open_size)
		set.mask |= SET_SIZE;
	if (r == 0)
		r = view_setattr(applying->view, inode_ino(applying->inode), &set, &attr);
	inode_close(applying->inode);
	applying->inode = NULL;
	return r;
}

int applying_leave(struct applying *applying, const struct stream_entry *entry)
{
	int r = 0;

	if (entry->label != applying->open_label)
		return applying_bad(applying, "another file ends than the one that is open");
	if (!applying->inode && applying->gathered.content.len < applying->open_size)
		r = make_file(applying);
	if (r == 0 && applying->inode)
		r = end_file(applying, entry);
	else if (r == 0)
		r = wait_for_others(applying, &applying->gathered);
	applying->open_label = 0;
	return r;
}

void applying_content_clear(struct applying *applying)
{
	for (size_t i = 0; i < applying->waiting.count; i++)
		gathered_clear(&applying->waiting.items[i]);
	array_clear(&applying->waiting);
	gathered_clear(&applying->gathered);
	if (applying->inode)
		inode_close(applying->inode);
	applying->inode = NULL;
}
