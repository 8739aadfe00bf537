#include "lib/format/stream.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "lib/format/check.h"
#include "lib/format/key.h"

#define FILE_MAX (1ULL << 62)
#define NANOSECONDS 1000000000U

/* --- parts --- */

static void add_text(struct buf *out, const char *text)
{
	const size_t len = strlen(text);

	buf_add_le32(out, (uint32_t)len);
	buf_add(out, text, len + 1);
}

/* "" where the reader is bad. */
static const char *get_text(struct reader *reader, size_t max)
{
	const uint32_t len = read_le32(reader);
	const uint8_t *text = reader->bad || len > max ? NULL : read_bytes(reader, (size_t)len + 1);

	if (text && memchr(text, 0, (size_t)len + 1) == text + len)
		return (const char *)text;
	reader->bad = true;
	return "";
}

static void add_time(struct buf *out, struct timespec time)
{
	buf_add_le64(out, (uint64_t)time.tv_sec);
	buf_add_le32(out, (uint32_t)time.tv_nsec);
}

static struct timespec get_time(struct reader *reader)
{
	struct timespec time = {.tv_sec = (time_t)read_le64(reader)};
	const uint32_t nanoseconds = read_le32(reader);

	time.tv_nsec = (long)nanoseconds;
	if (nanoseconds >= NANOSECONDS)
		reader->bad = true;
	return time;
}

static void get_id(struct reader *reader, uint8_t ret_id[STREAM_ID_LEN])
{
	const uint8_t *bytes = read_bytes(reader, STREAM_ID_LEN);

	if (bytes)
		memcpy(ret_id, bytes, STREAM_ID_LEN);
}

/* --- the header --- */

void stream_header_encode(const struct stream_header *header, struct buf *out)
{
	buf_add_le32(out, STREAM_VERSION);
	buf_add_le32(out, header->has_base ? STREAM_HAS_BASE : 0);
	buf_add_le32(out, (uint32_t)header->level);
	buf_add(out, header->stream, STREAM_ID_LEN);
	buf_add(out, header->snapshot, STREAM_ID_LEN);
	buf_add(out, header->identity, STREAM_ID_LEN);
	buf_add(out, header->base, STREAM_ID_LEN);
	buf_add(out, header->base_identity, STREAM_ID_LEN);
	add_time(out, header->taken);
	buf_add_le64(out, header->step);
	buf_add_le64(out, header->offset);
	add_text(out, header->dataset_name);
	add_text(out, header->snapshot_name);
	add_text(out, header->base_name);
	add_text(out, header->note);
}

int stream_header_decode(const void *body, size_t len, struct stream_header *ret_header)
{
	struct reader reader = reader_over(body, len);
	struct stream_header header = {0};
	const uint32_t version = read_le32(&reader);

	if (!reader.bad && version > STREAM_VERSION)
		return -EPROTONOSUPPORT;
	const uint32_t flags = read_le32(&reader);
	header.level = (int32_t)read_le32(&reader);
	get_id(&reader, header.stream);
	get_id(&reader, header.snapshot);
	get_id(&reader, header.identity);
	get_id(&reader, header.base);
	get_id(&reader, header.base_identity);
	header.taken = get_time(&reader);
	header.step = read_le64(&reader);
	header.offset = read_le64(&reader);
	header.dataset_name = get_text(&reader, NAME_LEN_MAX);
	header.snapshot_name = get_text(&reader, NAME_LEN_MAX);
	header.base_name = get_text(&reader, NAME_LEN_MAX);
	header.note = get_text(&reader, STREAM_NOTE_MAX);
	header.has_base = flags == STREAM_HAS_BASE;
	if (!complete(&reader) || version != STREAM_VERSION || flags > STREAM_HAS_BASE || header.level < 0 || header.level > 22)
		return -EBADMSG;
	*ret_header = header;
	return 0;
}

/* --- entries --- */

static bool has_directory(enum stream_kind kind)
{
	return kind == STREAM_OLD || kind == STREAM_NODE || kind == STREAM_NAME;
}

static bool has_flags(enum stream_kind kind)
{
	return kind == STREAM_OLD || kind == STREAM_NODE || kind == STREAM_META;
}

static bool has_attributes(enum stream_kind kind)
{
	return kind == STREAM_NODE || kind == STREAM_META;
}

void stream_xattr_encode(const char *name, const void *value, size_t len, struct buf *out)
{
	add_text(out, name);
	buf_add_le32(out, (uint32_t)len);
	buf_add(out, value, len);
}

static void get_xattr(struct reader *reader, const char **ret_name, const uint8_t **ret_value, size_t *ret_len)
{
	*ret_name = get_text(reader, NAME_LEN_MAX);
	*ret_len = read_le32(reader);
	if (**ret_name == '\0' || *ret_len > XATTR_VALUE_MAX)
		reader->bad = true;
	*ret_value = reader->bad ? NULL : read_bytes(reader, *ret_len);
}

void stream_xattr_next(struct reader *xattrs, const char **ret_name, const uint8_t **ret_value, size_t *ret_len)
{
	get_xattr(xattrs, ret_name, ret_value, ret_len);
}

static void add_attributes(const struct stream_attributes *attributes, struct buf *out)
{
	buf_add_le32(out, attributes->mode);
	buf_add_le32(out, attributes->uid);
	buf_add_le32(out, attributes->gid);
	buf_add_le64(out, attributes->rdev);
	buf_add_le64(out, attributes->size);
	add_time(out, attributes->atime);
	add_time(out, attributes->mtime);
	add_text(out, attributes->target);
	buf_add_le32(out, attributes->xattr_count);
	buf_add(out, attributes->xattrs.at, attributes->xattrs.left);
}

static bool is_type(uint32_t mode)
{
	const uint32_t type = mode & S_IFMT;

	return (mode & ~(uint32_t)(S_IFMT | 07777)) == 0 && (type == S_IFREG || type == S_IFDIR || type == S_IFLNK || type == S_IFCHR ||
	                                                     type == S_IFBLK || type == S_IFIFO || type == S_IFSOCK);
}

static void get_attributes(struct reader *reader, struct stream_attributes *attributes)
{
	attributes->mode = read_le32(reader);
	attributes->uid = read_le32(reader);
	attributes->gid = read_le32(reader);
	attributes->rdev = read_le64(reader);
	attributes->size = read_le64(reader);
	attributes->atime = get_time(reader);
	attributes->mtime = get_time(reader);
	attributes->target = get_text(reader, SYMLINK_MAX);
	attributes->xattr_count = read_le32(reader);
	attributes->xattrs = *reader;
	for (uint32_t i = 0; i < attributes->xattr_count && !reader->bad; i++) {
		const char *name;
		const uint8_t *value;
		size_t len;

		get_xattr(reader, &name, &value, &len);
	}
	attributes->xattrs.left -= MIN(reader->left, attributes->xattrs.left);
	if (!is_type(attributes->mode) || S_ISLNK(attributes->mode) != (*attributes->target != '\0') ||
	    (S_ISREG(attributes->mode) ? attributes->size > FILE_MAX : attributes->size != 0))
		reader->bad = true;
}

void stream_entry_encode(const struct stream_entry *entry, struct buf *out)
{
	if (has_directory(entry->kind))
		buf_add_le64(out, entry->directory);
	buf_add_le64(out, entry->label);
	if (has_flags(entry->kind))
		buf_add_u8(out, (uint8_t)entry->flags);
	if (has_directory(entry->kind))
		add_text(out, entry->name);
	if (has_attributes(entry->kind))
		add_attributes(&entry->attributes, out);
	if (entry->kind == STREAM_LEAVE) {
		add_time(out, entry->attributes.atime);
		add_time(out, entry->attributes.mtime);
	}
}

/* Which flags a kind may have. */
static unsigned flags_of(enum stream_kind kind)
{
	return kind == STREAM_OLD ? STREAM_OLD_LOST : kind == STREAM_NODE ? STREAM_MORE_NAMES | STREAM_MORE : STREAM_MORE;
}

int stream_entry_decode(enum stream_kind kind, const void *body, size_t len, struct stream_entry *ret_entry)
{
	struct reader reader = reader_over(body, len);
	struct stream_entry entry = {.kind = kind, .name = "", .attributes = {.target = ""}};

	if (has_directory(kind))
		entry.directory = read_le64(&reader);
	entry.label = read_le64(&reader);
	if (has_flags(kind))
		entry.flags = read_u8(&reader);
	if (has_directory(kind)) {
		entry.name = get_text(&reader, NAME_LEN_MAX);
		/* Nothing but the name of one thing in one directory. */
		if (name_check(entry.name) < 0 || entry.directory == 0)
			reader.bad = true;
	}
	if (has_attributes(kind))
		get_attributes(&reader, &entry.attributes);
	if (kind == STREAM_LEAVE) {
		entry.attributes.atime = get_time(&reader);
		entry.attributes.mtime = get_time(&reader);
	}
	if (entry.label == 0 && (kind != STREAM_OLD || entry.flags != STREAM_OLD_LOST))
		reader.bad = true;
	if (!complete(&reader) || (has_flags(kind) && (entry.flags & ~flags_of(kind))))
		return -EBADMSG;
	*ret_entry = entry;
	return 0;
}

/* --- content --- */

void stream_data_encode(const struct stream_data *data, struct buf *out)
{
	buf_add_le64(out, data->offset);
	buf_add_le32(out, data->plain_len);
	buf_add_u8(out, data->codec);
	buf_add(out, data->sha256, STREAM_ID_LEN);
}

int stream_data_decode(const void *body, size_t len, struct stream_data *ret_data)
{
	struct reader reader = reader_over(body, len);
	struct stream_data data = {0};

	data.offset = read_le64(&reader);
	data.plain_len = read_le32(&reader);
	data.codec = read_u8(&reader);
	data.sha256 = read_bytes(&reader, STREAM_ID_LEN);
	data.stored = reader.at;
	data.stored_len = reader.left;
	if (reader.bad || data.plain_len == 0 || data.plain_len > CHUNK_LEN_MAX || data.codec > CHUNK_CODEC_ZSTD || data.offset > FILE_MAX ||
	    data.stored_len > CHUNK_LEN_MAX || (data.codec == CHUNK_CODEC_PLAIN && data.stored_len != data.plain_len))
		return -EBADMSG;
	*ret_data = data;
	return 0;
}

void stream_space_encode(const struct stream_space *space, struct buf *out)
{
	buf_add_le64(out, space->offset);
	buf_add_le64(out, space->length);
	buf_add_u8(out, space->allocated);
}

int stream_space_decode(const void *body, size_t len, struct stream_space *ret_space)
{
	struct reader reader = reader_over(body, len);
	struct stream_space space = {.offset = read_le64(&reader), .length = read_le64(&reader)};
	const uint8_t kind = read_u8(&reader);

	space.allocated = kind == 1;
	if (!complete(&reader) || kind > 1 || space.length == 0 || space.offset > FILE_MAX || space.length > FILE_MAX - space.offset)
		return -EBADMSG;
	*ret_space = space;
	return 0;
}

/* --- frames --- */

void stream_frame_encode(enum stream_kind kind, uint32_t len, uint8_t out[STREAM_FRAME_HEADER])
{
	AUTO_BUF header = BUF_INIT;

	buf_add_le32(&header, len);
	buf_add_le32(&header, (uint32_t)kind);
	memcpy(out, header.data, STREAM_FRAME_HEADER);
}

int stream_frame_decode(const uint8_t header[STREAM_FRAME_HEADER], enum stream_kind *ret_kind, uint32_t *ret_len)
{
	struct reader reader = reader_over(header, STREAM_FRAME_HEADER);
	const uint32_t len = read_le32(&reader), kind = read_le32(&reader);

	if (len > STREAM_BODY_MAX || kind < STREAM_HEADER || kind > STREAM_END)
		return -EBADMSG;
	*ret_kind = (enum stream_kind)kind;
	*ret_len = len;
	return 0;
}

uint64_t stream_checksum(uint64_t seed, const struct stream_piece *pieces, size_t count)
{
	XXH3_state_t *state = XXH3_createState();
	uint64_t checksum;

	if (!state || XXH3_64bits_reset_withSeed(state, seed) != XXH_OK)
		abort();
	for (size_t i = 0; i < count; i++)
		if (pieces[i].len > 0)
			(void)XXH3_64bits_update(state, pieces[i].data, pieces[i].len);
	checksum = XXH3_64bits_digest(state);
	(void)XXH3_freeState(state);
	return checksum;
}
