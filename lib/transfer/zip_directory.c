#include "lib/transfer/zip_directory.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "lib/base/buf.h"

#define END_LEN 22
#define END_COMMENT_MAX 65535
#define LOCATOR_LEN 20
#define END64_LEN 56
#define ENTRY_LEN 46
#define HEADER_LEN 30
#define DIRECTORY_MAX (4ULL << 30)

#define FLAG_ENCRYPTED 0x0001
#define FLAG_SIZES_BEHIND 0x0008 /* the header in front has none */
#define FLAG_MASKED 0x2000       /* the header in front is made unreadable */
#define MADE_BY_DOS 0
#define MADE_BY_UNIX 3
#define MADE_BY_MACOS 19
#define DOS_READ_ONLY 0x01
#define DOS_DIRECTORY 0x10

enum extra { EXTRA_ZIP64 = 0x0001, EXTRA_NTFS = 0x000a, EXTRA_TIME = 0x5455, EXTRA_NAME = 0x7075, EXTRA_OWNER = 0x7875 };

#define NTFS_EPOCH 11644473600LL /* seconds from 1601 to 1970 */
#define NTFS_PER_S 10000000LL

static int damaged(struct zip_directory *directory, const char *text)
{
	directory->problem = text;
	return -EBADMSG;
}

/* --- where it is --- */

struct place {
	uint64_t at, size, entries;
	uint64_t end;       /* what follows it */
	bool is_64;         /* the number of entries is whole */
	uint64_t zip_start; /* in the file: more than 0 when something stands in front */
};

static int read_at(struct zip_directory *directory, struct stream_in *in, uint64_t at, void *out, size_t len)
{
	size_t got;
	int r = stream_in_at(in, at, out, len, &got);

	if (r < 0)
		return r;
	return got < len ? damaged(directory, "it ends early") : 0;
}

static int read_zip64(struct zip_directory *directory, struct stream_in *in, uint64_t end_at, struct place *place)
{
	uint8_t locator[LOCATOR_LEN], end[END64_LEN];
	struct reader reader;
	uint64_t at;
	int r;

	if (end_at < LOCATOR_LEN || read_at(directory, in, end_at - LOCATOR_LEN, locator, sizeof(locator)) < 0 ||
	    memcmp(locator, "PK\6\7", 4) != 0)
		return 0;
	reader = reader_over(locator + 8, 8);
	at = read_le64(&reader);
	/* In front of the locator, wherever the zip itself begins. */
	if (end_at < LOCATOR_LEN + END64_LEN || at > end_at - LOCATOR_LEN - END64_LEN)
		return damaged(directory, "its directory is damaged");
	r = read_at(directory, in, at, end, sizeof(end));
	if (r == 0 && memcmp(end, "PK\6\6", 4) != 0) {
		at = end_at - LOCATOR_LEN - END64_LEN;
		r = read_at(directory, in, at, end, sizeof(end));
	}
	if (r < 0)
		return r;
	if (memcmp(end, "PK\6\6", 4) != 0)
		return damaged(directory, "its directory is damaged");
	reader = reader_over(end + 32, 24);
	place->entries = read_le64(&reader);
	place->size = read_le64(&reader);
	place->at = read_le64(&reader);
	place->end = at;
	place->is_64 = true;
	return 0;
}

static int take_end(struct zip_directory *directory, struct stream_in *in, const uint8_t *end, uint64_t end_at, struct place *place)
{
	struct reader reader = reader_over(end + 4, END_LEN - 4);
	uint16_t disk = read_le16(&reader), directory_disk = read_le16(&reader);
	int r;

	(void)read_le16(&reader);
	*place = (struct place){.entries = read_le16(&reader), .end = end_at};
	place->size = read_le32(&reader);
	place->at = read_le32(&reader);
	r = read_zip64(directory, in, end_at, place);
	if (r < 0)
		return r;
	if (!place->is_64 && (disk != 0 || directory_disk != 0))
		return damaged(directory, "it is one of several volumes");
	if (place->size > place->end || place->at > place->end - place->size)
		return damaged(directory, "its directory is damaged");
	place->zip_start = place->end - place->size - place->at;
	return 0;
}

static int find_end(struct zip_directory *directory, struct stream_in *in, struct place *place)
{
	uint64_t size = stream_in_size(in), len = MIN(size, END_LEN + END_COMMENT_MAX);
	AUTO_FREE uint8_t *tail = xmalloc(len + 1);
	int r = read_at(directory, in, size - len, tail, len);

	for (uint64_t at = len < END_LEN ? 0 : len - END_LEN + 1; at-- > 0 && r == 0;) {
		size_t comment = (size_t)tail[at + 20] | (size_t)tail[at + 21] << 8;

		if (memcmp(tail + at, "PK\5\6", 4) == 0 && at + END_LEN + comment == len)
			return take_end(directory, in, tail + at, size - len + at, place);
	}
	return r < 0 ? r : damaged(directory, "it has no directory at its end");
}

/* --- entries --- */

static struct timespec dos_time(uint16_t date, uint16_t clock)
{
	struct tm tm = {.tm_year = (date >> 9) + 80, .tm_mon = (date >> 5 & 15) - 1, .tm_mday = date & 31, .tm_hour = clock >> 11,
	                .tm_min = clock >> 5 & 63, .tm_sec = (clock & 31) * 2, .tm_isdst = -1};

	return (struct timespec){.tv_sec = mktime(&tm)};
}

static struct timespec ntfs_time(uint64_t ticks)
{
	int64_t since = (int64_t)ticks - NTFS_EPOCH * NTFS_PER_S, seconds = since / NTFS_PER_S, rest = since % NTFS_PER_S;

	if (rest < 0) {
		seconds--;
		rest += NTFS_PER_S;
	}
	return (struct timespec){.tv_sec = seconds, .tv_nsec = (long)rest * 100};
}

/* Only those that did not fit. */
static int take_zip64(struct zip_directory *directory, struct reader *field, struct zip_entry *entry)
{
	if (entry->size == UINT32_MAX)
		entry->size = read_le64(field);
	if (entry->packed_size == UINT32_MAX)
		entry->packed_size = read_le64(field);
	if (entry->header_at == UINT32_MAX)
		entry->header_at = read_le64(field);
	return field->bad ? damaged(directory, "its directory is damaged") : 0;
}

/* The first attribute of a file's times: tag u16, length u16, then mtime, atime, ctime. */
static void take_ntfs(struct reader *field, struct zip_entry *entry)
{
	(void)read_le32(field);
	if (read_le16(field) == 1 && read_le16(field) >= 8 && field->left >= 8)
		entry->mtime = ntfs_time(read_le64(field));
}

static uint32_t read_id(struct reader *field)
{
	uint8_t len = read_u8(field);
	const uint8_t *bytes = read_bytes(field, len);
	uint64_t id = 0;

	for (unsigned i = 0; bytes && i < len && i < sizeof(id); i++)
		id |= (uint64_t)bytes[i] << 8 * i;
	return id < UINT32_MAX ? (uint32_t)id : 0;
}

static void take_owner(struct reader *field, struct zip_entry *entry)
{
	if (read_u8(field) != 1)
		return;
	entry->uid = read_id(field);
	entry->gid = read_id(field);
}

/* The name in UTF-8, if it belongs to the one that the entry has. */
static void take_name(struct reader *field, struct zip_entry *entry)
{
	uint8_t version = read_u8(field);
	uint32_t crc = read_le32(field);
	const uint8_t *name = field->at;
	char *copy;

	if (field->bad || version != 1 || crc != entry->name_crc)
		return;
	copy = xcalloc(1, field->left + 1);
	memcpy(copy, name, field->left);
	free(entry->name);
	entry->name = copy;
}

static int take_extra(struct zip_directory *directory, struct reader *extra, struct zip_entry *entry)
{
	bool has_ntfs = false;

	while (extra->left >= 4) {
		uint16_t kind = read_le16(extra), len = read_le16(extra);
		const uint8_t *data = read_bytes(extra, len);
		struct reader field;

		if (!data)
			break;
		field = reader_over(data, len);
		if (kind == EXTRA_ZIP64 && take_zip64(directory, &field, entry) < 0)
			return -EBADMSG;
		if (kind == EXTRA_NTFS)
			take_ntfs(&field, entry);
		has_ntfs = has_ntfs || kind == EXTRA_NTFS;
		if (kind == EXTRA_TIME && !has_ntfs && (read_u8(&field) & 1) && field.left >= 4)
			entry->mtime = (struct timespec){.tv_sec = (int32_t)read_le32(&field)};
		if (kind == EXTRA_OWNER)
			take_owner(&field, entry);
		if (kind == EXTRA_NAME)
			take_name(&field, entry);
	}
	return 0;
}

static void take_mode(struct zip_entry *entry, uint8_t made_by, uint32_t attributes)
{
	size_t len = strlen(entry->name);
	bool is_dir = len > 0 && entry->name[len - 1] == '/';

	entry->mode = made_by == MADE_BY_UNIX || made_by == MADE_BY_MACOS ? attributes >> 16 : 0;
	if (made_by == MADE_BY_DOS && (attributes & DOS_DIRECTORY))
		is_dir = true;
	if ((entry->mode & 07777) == 0 && (entry->mode & S_IFMT) == 0)
		entry->mode = is_dir ? 0755 : made_by == MADE_BY_DOS && (attributes & DOS_READ_ONLY) ? 0444 : 0644;
	if ((entry->mode & S_IFMT) == 0)
		entry->mode |= is_dir ? S_IFDIR : S_IFREG;
	/* Some for DOS write what DOS calls a path. */
	if (made_by == MADE_BY_DOS && !strchr(entry->name, '/'))
		for (char *at = entry->name; (at = strchr(at, '\\'));)
			*at = '/';
}

static int take_entry(struct zip_directory *directory, struct reader *reader, const struct place *place)
{
	const uint8_t *fixed = read_bytes(reader, ENTRY_LEN), *name, *extra;
	struct zip_entry entry = {0};
	struct reader field, extras;
	uint16_t made_by, clock, date, name_len, extra_len, comment_len;
	uint32_t attributes;

	if (!fixed || memcmp(fixed, "PK\1\2", 4) != 0)
		return damaged(directory, "its directory is damaged");
	field = reader_over(fixed + 4, ENTRY_LEN - 4);
	made_by = read_le16(&field);
	(void)read_le16(&field);
	entry.flags = read_le16(&field);
	entry.method = read_le16(&field);
	clock = read_le16(&field);
	date = read_le16(&field);
	entry.crc = read_le32(&field);
	entry.packed_size = read_le32(&field);
	entry.size = read_le32(&field);
	name_len = read_le16(&field);
	extra_len = read_le16(&field);
	comment_len = read_le16(&field);
	(void)read_le32(&field); /* disk, kind of content */
	attributes = read_le32(&field);
	entry.header_at = read_le32(&field);
	name = read_bytes(reader, name_len);
	extra = read_bytes(reader, extra_len);
	(void)read_bytes(reader, comment_len);
	if (reader->bad || memchr(name, '\0', name_len))
		return damaged(directory, "its directory is damaged");
	entry.name = xcalloc(1, (size_t)name_len + 1);
	memcpy(entry.name, name, name_len);
	entry.name_crc = (uint32_t)crc32(0, name, name_len);
	entry.mtime = dos_time(date, clock);
	array_add(directory, entry);
	extras = reader_over(extra, extra_len);
	if (take_extra(directory, &extras, array_last(directory)) < 0)
		return -EBADMSG;
	take_mode(array_last(directory), (uint8_t)(made_by >> 8), attributes);
	array_last(directory)->header_at += place->zip_start;
	return 0;
}

int zip_directory_load(struct zip_directory *directory, struct stream_in *in)
{
	AUTO_FREE uint8_t *data = NULL;
	struct place place;
	struct reader reader;
	int r = find_end(directory, in, &place);

	if (r < 0)
		return r;
	if (place.size > DIRECTORY_MAX)
		return damaged(directory, "its directory is too long");
	data = malloc(place.size + 1);
	if (!data)
		return -ENOMEM;
	r = read_at(directory, in, place.end - place.size, data, place.size);
	reader = reader_over(data, place.size);
	while (r == 0 && reader.left > 0)
		r = take_entry(directory, &reader, &place);
	if (r == 0 && (place.is_64 ? directory->count : directory->count & 0xffff) != place.entries)
		r = damaged(directory, "its directory does not have as many members as it says");
	return r;
}

void zip_directory_clear(struct zip_directory *directory)
{
	for (size_t i = 0; i < directory->count; i++)
		free(directory->items[i].name);
	array_clear(directory);
}

/* --- in front of the data --- */

int zip_entry_data(struct zip_directory *directory, const struct zip_entry *entry, struct stream_in *in, uint64_t *ret_at)
{
	uint8_t header[HEADER_LEN + UINT16_MAX];
	struct reader reader;
	uint16_t flags, method, name_len, extra_len;
	uint32_t crc;
	int r = read_at(directory, in, entry->header_at, header, HEADER_LEN);

	if (r < 0)
		return r;
	reader = reader_over(header + 6, HEADER_LEN - 6);
	flags = read_le16(&reader);
	method = read_le16(&reader);
	(void)read_le32(&reader); /* time */
	crc = read_le32(&reader);
	(void)read_le64(&reader); /* sizes */
	name_len = read_le16(&reader);
	extra_len = read_le16(&reader);
	r = read_at(directory, in, entry->header_at + HEADER_LEN, header + HEADER_LEN, name_len);
	if (r < 0)
		return r;
	if (memcmp(header, "PK\3\4", 4) != 0 || method != entry->method || ((flags ^ entry->flags) & FLAG_ENCRYPTED) ||
	    (!(flags & (FLAG_SIZES_BEHIND | FLAG_MASKED)) && crc != entry->crc) ||
	    (!(flags & FLAG_MASKED) && crc32(0, header + HEADER_LEN, name_len) != entry->name_crc))
		return damaged(directory, "what stands in front of a member's data says something else than the directory");
	*ret_at = entry->header_at + HEADER_LEN + name_len + extra_len;
	return 0;
}

bool zip_entry_is_encrypted(const struct zip_entry *entry)
{
	return entry->flags & FLAG_ENCRYPTED;
}
