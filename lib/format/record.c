#include "lib/format/record.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/format/check.h"
#include "lib/format/key.h"

#define FLAG_INLINE 1U
#define SHA256_LEN 32
#define DATASET_QUOTA 2 /* the version of a dataset with a quota */
#define EXTENT_PART 2 /* the version of an extent that its chunk goes on behind */

_Static_assert(CHUNK_HEADER_LEN == 8 + 1 + 1 + 1 + 1 + 4 + SHA256_LEN, "checksum, version, codec, hash, cipher, length, identity");

static void add_time(struct buf *out, struct timespec time)
{
	buf_add_le64(out, (uint64_t)time.tv_sec);
	buf_add_le32(out, (uint32_t)time.tv_nsec);
}

static struct timespec read_time(struct reader *reader)
{
	struct timespec time = {.tv_sec = (time_t)read_le64(reader), .tv_nsec = read_le32(reader)};

	if (time.tv_nsec >= 1000000000)
		reader->bad = true;
	return time;
}

static void add_text(struct buf *out, const char *text)
{
	size_t len = text ? strlen(text) : 0;

	buf_add_le32(out, (uint32_t)len);
	buf_add(out, text, len);
}

/* A copy of the text, or NULL and the reader is bad. */
static char *read_text(struct reader *reader)
{
	uint32_t len = read_le32(reader);
	const uint8_t *bytes = read_bytes(reader, len);

	if (!bytes || memchr(bytes, '\0', len)) {
		reader->bad = true;
		return NULL;
	}
	char *text = xmalloc((size_t)len + 1);
	memcpy(text, bytes, len);
	text[len] = '\0';
	return text;
}

void inode_record_encode(const struct inode_record *record, struct buf *out)
{
	buf_add_u8(out, FORMAT_VERSION);
	buf_add_u8(out, record->is_inline ? FLAG_INLINE : 0);
	buf_add_le16(out, 0);
	buf_add_le32(out, record->mode);
	buf_add_le32(out, record->uid);
	buf_add_le32(out, record->gid);
	buf_add_le32(out, record->nlink);
	buf_add_le64(out, record->size);
	buf_add_le64(out, record->allocated);
	buf_add_le64(out, record->rdev);
	buf_add_le64(out, record->parent);
	add_time(out, record->atime);
	add_time(out, record->mtime);
	add_time(out, record->ctime);
	add_time(out, record->btime);
	buf_add_le64(out, record->content);
	buf_add_le32(out, record->target_len);
	buf_add(out, record->target, record->target_len);
}

int inode_record_decode(const void *value, size_t len, struct inode_record *ret_record)
{
	struct reader reader = reader_over(value, len);
	struct inode_record record = {0};

	check_version(&reader);
	uint8_t flags = read_u8(&reader);
	uint16_t reserved = read_le16(&reader);
	record.is_inline = flags & FLAG_INLINE;
	record.mode = read_le32(&reader);
	record.uid = read_le32(&reader);
	record.gid = read_le32(&reader);
	record.nlink = read_le32(&reader);
	record.size = read_le64(&reader);
	record.allocated = read_le64(&reader);
	record.rdev = read_le64(&reader);
	record.parent = read_le64(&reader);
	record.atime = read_time(&reader);
	record.mtime = read_time(&reader);
	record.ctime = read_time(&reader);
	record.btime = read_time(&reader);
	record.content = read_le64(&reader);
	record.target_len = read_le32(&reader);
	record.target = read_bytes(&reader, record.target_len);

	if (!complete(&reader) || (flags & ~FLAG_INLINE) || reserved != 0)
		return -EBADMSG;
	if (record.is_inline && (record.content == 0 || record.allocated > INLINE_MAX))
		return -EBADMSG;
	if (record.content != 0 && !S_ISREG(record.mode))
		return -EBADMSG;
	if (record.target_len > (S_ISLNK(record.mode) ? SYMLINK_MAX : 0))
		return -EBADMSG;
	if (record.target_len == 0)
		record.target = NULL;
	*ret_record = record;
	return 0;
}

void content_record_encode(const void *data, size_t len, struct buf *out)
{
	buf_add_u8(out, FORMAT_VERSION);
	buf_add(out, data, len);
}

int content_record_decode(const void *value, size_t len, const uint8_t **ret_data, size_t *ret_len)
{
	struct reader reader = reader_over(value, len);

	check_version(&reader);
	if (reader.bad || reader.left == 0 || reader.left > INLINE_MAX)
		return -EBADMSG;
	*ret_len = reader.left;
	*ret_data = read_bytes(&reader, reader.left);
	return 0;
}

void extent_record_encode(const struct extent_record *record, struct buf *out)
{
	bool goes_on = record->chunk != CHUNK_NONE && record->chunk_len > record->chunk_offset + record->length;

	buf_add_u8(out, goes_on ? EXTENT_PART : FORMAT_VERSION);
	buf_add_le32(out, record->length);
	buf_add_le64(out, record->chunk);
	buf_add_le32(out, record->chunk_offset);
	if (goes_on)
		buf_add_le32(out, record->chunk_len);
}

int extent_record_decode(const void *value, size_t len, struct extent_record *ret_record)
{
	struct reader reader = reader_over(value, len);
	struct extent_record record;
	uint8_t version = read_u8(&reader);
	bool goes_on = version == EXTENT_PART;

	record.length = read_le32(&reader);
	record.chunk = read_le64(&reader);
	record.chunk_offset = read_le32(&reader);
	record.chunk_len = goes_on ? read_le32(&reader) : 0;
	if (!complete(&reader) || (version != FORMAT_VERSION && !goes_on) || record.length == 0 || record.length > EXTENT_LEN_MAX)
		return -EBADMSG;
	if (record.chunk != CHUNK_NONE && (!chunk_id_valid(record.chunk) || record.chunk_offset > CHUNK_LEN_MAX - record.length))
		return -EBADMSG;
	if (goes_on && (record.chunk == CHUNK_NONE || record.chunk_len <= record.chunk_offset + record.length || record.chunk_len > CHUNK_LEN_MAX))
		return -EBADMSG;
	if (!goes_on && record.chunk != CHUNK_NONE)
		record.chunk_len = record.chunk_offset + record.length;
	*ret_record = record;
	return 0;
}

void entry_record_encode(const struct entry_record *record, struct buf *out)
{
	buf_add_u8(out, FORMAT_VERSION);
	buf_add_le64(out, record->ino);
	buf_add_u8(out, record->type);
}

static bool is_file_type(uint8_t type)
{
	switch (type) {
	case DT_FIFO:
	case DT_CHR:
	case DT_DIR:
	case DT_BLK:
	case DT_REG:
	case DT_LNK:
	case DT_SOCK: return true;
	default: return false;
	}
}

int entry_record_decode(const void *value, size_t len, struct entry_record *ret_record)
{
	struct reader reader = reader_over(value, len);
	struct entry_record record;

	check_version(&reader);
	record.ino = read_le64(&reader);
	record.type = read_u8(&reader);
	if (!complete(&reader) || record.ino == 0 || record.ino > INO_MAX || !is_file_type(record.type))
		return -EBADMSG;
	*ret_record = record;
	return 0;
}

void dataset_record_encode(const struct dataset_record *record, struct buf *out)
{
	buf_add_u8(out, record->quota ? DATASET_QUOTA : FORMAT_VERSION);
	buf_add_le32(out, record->id);
	buf_add_le32(out, record->family);
	buf_add_le32(out, record->view);
	buf_add_le64(out, record->epoch);
	buf_add_le64(out, (uint64_t)record->created);
	buf_add_le32(out, (uint32_t)record->level);
	line_encode(&record->line, out);
	add_text(out, record->schedule);
	if (record->quota)
		buf_add_le64(out, record->quota);
}

int dataset_record_decode(const void *value, size_t len, struct dataset_record *ret_record)
{
	struct reader reader = reader_over(value, len);
	struct dataset_record record = {0};
	uint8_t version = read_u8(&reader);

	if (version != FORMAT_VERSION && version != DATASET_QUOTA)
		return -EBADMSG;
	record.id = read_le32(&reader);
	record.family = read_le32(&reader);
	record.view = read_le32(&reader);
	record.epoch = read_le64(&reader);
	record.created = (int64_t)read_le64(&reader);
	record.level = (int32_t)read_le32(&reader);
	if (line_decode(&reader, &record.line) < 0)
		return -EBADMSG;
	record.schedule = read_text(&reader);
	if (version == DATASET_QUOTA)
		record.quota = read_le64(&reader);
	if (!complete(&reader) || record.view > VIEW_MAX || (version == DATASET_QUOTA && record.quota == 0)) {
		dataset_record_clear(&record);
		return -EBADMSG;
	}
	*ret_record = record;
	return 0;
}

void dataset_record_clear(struct dataset_record *record)
{
	line_clear(&record->line);
	free(record->schedule);
	record->schedule = NULL;
}

void snapshot_record_encode(const struct snapshot_record *record, struct buf *out)
{
	buf_add_u8(out, FORMAT_VERSION);
	buf_add_le32(out, record->dataset);
	buf_add_le32(out, record->family);
	buf_add_le32(out, record->view);
	buf_add_le64(out, record->number);
	add_time(out, record->taken);
	buf_add_le64(out, record->files);
	buf_add_le64(out, record->bytes);
	buf_add_le32(out, record->flags);
	line_encode(&record->line, out);
	add_text(out, record->note);
	buf_add_le32(out, record->hold_count);
	for (uint32_t i = 0; i < record->hold_count; i++)
		add_text(out, record->holds[i]);
}

static void read_holds(struct reader *reader, struct snapshot_record *record)
{
	uint32_t count = read_le32(reader);

	/* Each takes four bytes at least: a damaged count must not allocate more than the record could fill. */
	if (count > reader->left / 4) {
		reader->bad = true;
		return;
	}
	if (count > 0)
		record->holds = xcalloc(count, sizeof(*record->holds));
	while (record->hold_count < count) {
		char *hold = read_text(reader);
		if (!hold)
			return;
		record->holds[record->hold_count++] = hold;
	}
}

int snapshot_record_decode(const void *value, size_t len, struct snapshot_record *ret_record)
{
	struct reader reader = reader_over(value, len);
	struct snapshot_record record = {0};

	check_version(&reader);
	record.dataset = read_le32(&reader);
	record.family = read_le32(&reader);
	record.view = read_le32(&reader);
	record.number = read_le64(&reader);
	record.taken = read_time(&reader);
	record.files = read_le64(&reader);
	record.bytes = read_le64(&reader);
	record.flags = read_le32(&reader);
	if (line_decode(&reader, &record.line) < 0)
		return -EBADMSG;
	record.note = read_text(&reader);
	read_holds(&reader, &record);
	if (!complete(&reader) || record.view > VIEW_MAX) {
		snapshot_record_clear(&record);
		return -EBADMSG;
	}
	*ret_record = record;
	return 0;
}

void snapshot_record_clear(struct snapshot_record *record)
{
	line_clear(&record->line);
	free(record->note);
	for (uint32_t i = 0; i < record->hold_count; i++)
		free(record->holds[i]);
	free(record->holds);
	record->note = NULL;
	record->holds = NULL;
	record->hold_count = 0;
}

void family_record_encode(const struct family_record *record, struct buf *out)
{
	buf_add_u8(out, FORMAT_VERSION);
	buf_add_le64(out, record->next_epoch);
	buf_add_le64(out, record->next_ino);
}

int family_record_decode(const void *value, size_t len, struct family_record *ret_record)
{
	struct reader reader = reader_over(value, len);
	struct family_record record;

	check_version(&reader);
	record.next_epoch = read_le64(&reader);
	record.next_ino = read_le64(&reader);
	if (!complete(&reader))
		return -EBADMSG;
	*ret_record = record;
	return 0;
}

void prune_record_encode(const struct prune_record *record, struct buf *out)
{
	buf_add_u8(out, FORMAT_VERSION);
	buf_add_le32(out, record->family);
	line_encode(&record->line, out);
	line_encode(&record->scan, out);
	buf_add_le64(out, record->at_epoch);
	buf_add_le64(out, record->at_ino);
}

int prune_record_decode(const void *value, size_t len, struct prune_record *ret_record)
{
	struct reader reader = reader_over(value, len);
	struct prune_record record = {0};

	check_version(&reader);
	record.family = read_le32(&reader);
	if (line_decode(&reader, &record.line) < 0)
		return -EBADMSG;
	if (line_decode(&reader, &record.scan) < 0) {
		prune_record_clear(&record);
		return -EBADMSG;
	}
	record.at_epoch = read_le64(&reader);
	record.at_ino = read_le64(&reader);
	if (!complete(&reader)) {
		prune_record_clear(&record);
		return -EBADMSG;
	}
	*ret_record = record;
	return 0;
}

void prune_record_clear(struct prune_record *record)
{
	line_clear(&record->line);
	line_clear(&record->scan);
}

void chunk_header_encode(const struct chunk_header *header, uint8_t out[CHUNK_HEADER_LEN])
{
	AUTO_BUF bytes = BUF_INIT;

	buf_reserve(&bytes, CHUNK_HEADER_LEN);
	buf_add_le64(&bytes, header->checksum);
	buf_add_u8(&bytes, FORMAT_VERSION);
	buf_add_u8(&bytes, header->codec);
	buf_add_u8(&bytes, HASH_SHA256);
	buf_add_u8(&bytes, CIPHER_NONE);
	buf_add_le32(&bytes, header->plain_len);
	buf_add(&bytes, header->sha256, SHA256_LEN);
	memcpy(out, bytes.data, CHUNK_HEADER_LEN);
}

int chunk_header_decode(const void *value, size_t len, struct chunk_header *ret_header)
{
	struct reader reader = reader_over(value, len);
	struct chunk_header header = {.checksum = read_le64(&reader)};

	check_version(&reader);
	header.codec = read_u8(&reader);
	check_hash(&reader);
	uint8_t cipher = read_u8(&reader);
	header.plain_len = read_le32(&reader);
	const uint8_t *sha256 = read_bytes(&reader, SHA256_LEN);
	if (reader.bad || cipher != CIPHER_NONE || header.codec > CHUNK_CODEC_ZSTD || reader.left > UINT32_MAX)
		return -EBADMSG;
	if (header.plain_len == 0 || header.plain_len > CHUNK_LEN_MAX)
		return -EBADMSG;
	if (header.codec == CHUNK_CODEC_PLAIN && reader.left != header.plain_len)
		return -EBADMSG;
	memcpy(header.sha256, sha256, SHA256_LEN);
	header.stored = reader.at;
	header.stored_len = (uint32_t)reader.left;
	*ret_header = header;
	return 0;
}

void damage_record_encode(const struct damage_record *record, struct buf *out)
{
	buf_add_u8(out, FORMAT_VERSION);
	buf_add_le64(out, (uint64_t)record->found);
	buf_add_le64(out, record->replacement);
}

int damage_record_decode(const void *value, size_t len, struct damage_record *ret_record)
{
	struct reader reader = reader_over(value, len);
	struct damage_record record;

	check_version(&reader);
	record.found = (int64_t)read_le64(&reader);
	record.replacement = read_le64(&reader);
	if (!complete(&reader) || (record.replacement != CHUNK_NONE && !chunk_id_valid(record.replacement)))
		return -EBADMSG;
	*ret_record = record;
	return 0;
}

void dedup_record_encode(const struct dedup_record *record, struct buf *out)
{
	buf_add_u8(out, FORMAT_VERSION);
	buf_add_u8(out, HASH_SHA256);
	buf_add_le64(out, record->chunk);
	buf_add_le32(out, record->length);
}

int dedup_record_decode(const void *value, size_t len, struct dedup_record *ret_record)
{
	struct reader reader = reader_over(value, len);
	struct dedup_record record;

	check_version(&reader);
	check_hash(&reader);
	record.chunk = read_le64(&reader);
	record.length = read_le32(&reader);
	if (!complete(&reader) || !chunk_id_valid(record.chunk))
		return -EBADMSG;
	*ret_record = record;
	return 0;
}
