#include "lib/kv/manifest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/kv/internal.h"
#include "lib/kv/log_file.h"

enum tag {
	TAG_COMPARATOR = 1,
	TAG_LOG_NUMBER = 2,
	TAG_NEXT_FILE = 3,
	TAG_LAST_SEQUENCE = 4,
	TAG_COMPACT_CURSOR = 5,
	TAG_DELETED_FILE = 6,
	TAG_PREVIOUS_LOG = 9,
	TAG_FIRST_LOG = 10,
	TAG_NEW_FILE = 103,
	TAG_FAMILY = 200,
	TAG_FAMILY_ADD = 201,
	TAG_FAMILY_DROP = 202,
	TAG_MAX_FAMILY = 203,
	TAG_ATOMIC_GROUP = 300,
	TAG_MAY_BE_SKIPPED = 1 << 13, /* bit: a length follows, and that many bytes */
};

/* Of a new file: fields with a length each, until this one. */
#define FIELDS_END 1
#define INNER_LEN 8 /* of a key inside: sequence number and type */

/* One edit: what it says of the files is about one family, and is applied when all of it was read. */
struct edit {
	uint32_t family;
	bool adds_family, drops_family;
	uint64_t first_log;
	ARRAY(struct manifest_table) added;
	ARRAY(uint64_t) deleted;
};

uint64_t manifest_varint(struct reader *reader)
{
	uint64_t value = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		const uint8_t byte = read_u8(reader);
		value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return value;
	}
	reader->bad = true;
	return 0;
}

static const uint8_t *read_sized(struct reader *reader, size_t *ret_len)
{
	const uint64_t len = manifest_varint(reader);

	*ret_len = (size_t)len;
	return read_bytes(reader, len);
}

/* Of a key inside. */
static void read_key(struct reader *reader, struct buf *key)
{
	size_t len;
	const uint8_t *bytes = read_sized(reader, &len);

	if (bytes && len >= INNER_LEN)
		buf_add(key, bytes, len - INNER_LEN);
}

static void clear_table(struct manifest_table *table)
{
	buf_clear(&table->first);
	buf_clear(&table->last);
}

static void read_new_file(struct reader *reader, struct edit *edit)
{
	struct manifest_table table = {0};
	size_t len;

	(void)manifest_varint(reader); /* level */
	table.number = manifest_varint(reader);
	table.bytes = manifest_varint(reader);
	read_key(reader, &table.first);
	read_key(reader, &table.last);
	(void)manifest_varint(reader); /* its changes: from */
	(void)manifest_varint(reader); /* to */
	while (manifest_varint(reader) != FIELDS_END && !reader->bad)
		(void)read_sized(reader, &len);
	array_add(&edit->added, table);
}

static void read_family_name(struct manifest *manifest, struct reader *reader, struct edit *edit)
{
	size_t len;
	const uint8_t *name = read_sized(reader, &len);
	struct manifest_family *family = array_new(&manifest->families);

	edit->adds_family = true;
	if (name && len < sizeof(family->name))
		memcpy(family->name, name, len);
}

static int read_field(struct manifest *manifest, struct reader *reader, struct edit *edit)
{
	const uint64_t tag = manifest_varint(reader);
	uint64_t number;
	size_t len;

	switch (tag) {
	case TAG_COMPARATOR:
		(void)read_sized(reader, &len);
		return 0;
	case TAG_LOG_NUMBER:
		edit->first_log = manifest_varint(reader);
		return 0;
	case TAG_NEXT_FILE:
		manifest->next_file = manifest_varint(reader);
		return 0;
	case TAG_FIRST_LOG:
		number = manifest_varint(reader);
		manifest->first_log = MAX(manifest->first_log, number);
		return 0;
	case TAG_LAST_SEQUENCE:
	case TAG_PREVIOUS_LOG:
	case TAG_MAX_FAMILY:
	case TAG_ATOMIC_GROUP:
		(void)manifest_varint(reader);
		return 0;
	case TAG_COMPACT_CURSOR:
		(void)manifest_varint(reader);
		(void)read_sized(reader, &len);
		return 0;
	case TAG_DELETED_FILE:
		(void)manifest_varint(reader);
		array_add(&edit->deleted, manifest_varint(reader));
		return 0;
	case TAG_NEW_FILE:
		read_new_file(reader, edit);
		return 0;
	case TAG_FAMILY:
		edit->family = (uint32_t)manifest_varint(reader);
		return 0;
	case TAG_FAMILY_ADD:
		read_family_name(manifest, reader, edit);
		return 0;
	case TAG_FAMILY_DROP:
		edit->drops_family = true;
		return 0;
	default:
		if (!(tag & TAG_MAY_BE_SKIPPED))
			return reader->bad ? -EBADMSG : -ENOTSUP;
		(void)read_sized(reader, &len);
		return 0;
	}
}

static struct manifest_family *find_family(struct manifest *manifest, uint32_t number)
{
	for (size_t i = 0; i < manifest->families.count; i++)
		if (manifest->families.items[i].number == number)
			return &manifest->families.items[i];
	return NULL;
}

static void apply(struct manifest *manifest, struct edit *edit)
{
	if (edit->adds_family)
		array_last(&manifest->families)->number = edit->family;
	struct manifest_family *family = find_family(manifest, edit->family);
	/* RocksDB's own family 0 is there without being added. */
	if (!family) {
		family = array_new(&manifest->families);
		family->number = edit->family;
	}
	family->first_log = MAX(family->first_log, edit->first_log);
	const bool removes = edit->drops_family || edit->deleted.count > 0;
	/* A file that moves to another level is deleted and added by the same edit. */
	for (size_t i = removes ? manifest->tables.count : 0; i-- > 0;) {
		const struct manifest_table *table = &manifest->tables.items[i];
		bool goes = edit->drops_family && table->family == edit->family;
		for (size_t k = 0; k < edit->deleted.count && !goes; k++)
			goes = table->number == edit->deleted.items[k];
		if (goes) {
			clear_table(&manifest->tables.items[i]);
			array_remove(&manifest->tables, i, 1);
		}
	}
	for (size_t i = 0; i < edit->added.count; i++) {
		edit->added.items[i].family = edit->family;
		array_add(&manifest->tables, edit->added.items[i]);
	}
	if (edit->drops_family)
		array_remove(&manifest->families, (size_t)(family - manifest->families.items), 1);
}

static int read_edit(struct manifest *manifest, const uint8_t *record, size_t len)
{
	struct reader reader = reader_over(record, len);
	struct edit edit = {0};
	int result = 0;

	while (reader.left > 0 && !reader.bad && result == 0)
		result = read_field(manifest, &reader, &edit);
	if (result == 0 && reader.bad)
		result = -EBADMSG;
	if (result == 0)
		apply(manifest, &edit);
	for (size_t i = 0; i < edit.added.count && result < 0; i++)
		clear_table(&edit.added.items[i]);
	array_clear(&edit.added);
	array_clear(&edit.deleted);
	return result;
}

static int by_number(const void *a, const void *b)
{
	const struct manifest_table *left = a, *right = b;

	return left->number < right->number ? -1 : left->number > right->number;
}

int manifest_current(int dir, char ret_name[MANIFEST_NAME_MAX], uint64_t *ret_number)
{
	AUTO_BUF text = BUF_INIT;
	int result = file_read_inside(dir, "CURRENT", MANIFEST_NAME_MAX, &text), used = 0;
	uint64_t number;

	if (result < 0)
		return result == -EFBIG || result == -EUCLEAN ? -EBADMSG : result;
	buf_add_u8(&text, 0);
	if (sscanf((const char *)text.data, MANIFEST_PREFIX "%" SCNu64 "\n%n", &number, &used) != 1 || (size_t)used != text.len - 1)
		return -EBADMSG;
	snprintf(ret_name, MANIFEST_NAME_MAX, MANIFEST_NAME_FORMAT, number);
	*ret_number = number;
	return 0;
}

static int read_edits(struct log_file *file, struct manifest *manifest)
{
	const uint8_t *record;
	size_t len;
	int result, edited = 0;

	while ((result = log_file_next(file, &record, &len)) > 0) {
		edited = read_edit(manifest, record, len);
		if (edited < 0)
			return edited;
		manifest->whole = log_file_end(file);
	}
	manifest->bytes = log_file_size(file);
	if (result == -EBADMSG && manifest->whole > 0)
		result = 0;
	return result == 0 && manifest->families.count == 0 ? -EBADMSG : result;
}

static void sort_tables(struct manifest *manifest)
{
	if (manifest->tables.count > 0)
		qsort(manifest->tables.items, manifest->tables.count, sizeof(*manifest->tables.items), by_number);
}

int manifest_of_bytes(const void *bytes, size_t len, struct manifest *ret_manifest)
{
	struct manifest manifest = {0};
	int fd = file_in_memory("manifest", bytes, len);

	if (fd < 0)
		return fd;
	struct log_file *file = log_file_over(fd);
	int result = read_edits(file, &manifest);
	log_file_close(file);
	if (result < 0) {
		manifest_clear(&manifest);
		return result;
	}
	sort_tables(&manifest);
	*ret_manifest = manifest;
	return 0;
}

int manifest_read(int dir, const char *shown, struct manifest *ret_manifest, struct error *err)
{
	struct manifest manifest = {0};
	struct log_file *file = NULL;
	int result = manifest_current(dir, manifest.name, &manifest.number);

	if (result < 0)
		return error_set(err, result == -ENOENT ? -EBADMSG : result, "%s/CURRENT: %s", shown,
				 result == -EBADMSG ? "is damaged" : result == -ENOENT ? "is missing" : error_text(result));
	result = log_file_open(dir, manifest.name, &file);
	if (result == 0)
		result = read_edits(file, &manifest);
	log_file_close(file);
	if (result < 0) {
		manifest_clear(&manifest);
		if (result == -ENOTSUP)
			return result;
		return error_set(err, result == -ENOENT || result == -EUCLEAN ? -EBADMSG : result, "%s/%s: %s", shown, manifest.name,
				 result == -EBADMSG   ? "is damaged"
				 : result == -ENOENT  ? "is missing"
				 : result == -EUCLEAN ? "is not a regular file"
				                      : error_text(result));
	}
	sort_tables(&manifest);
	*ret_manifest = manifest;
	return 0;
}

void manifest_clear(struct manifest *manifest)
{
	for (size_t i = 0; i < manifest->tables.count; i++)
		clear_table(&manifest->tables.items[i]);
	array_clear(&manifest->families);
	array_clear(&manifest->tables);
}

enum kv_family manifest_family_of(const struct manifest *manifest, uint32_t number)
{
	for (size_t i = 0; i < manifest->families.count; i++)
		for (int family = 0; family < KV_FAMILY_COUNT && manifest->families.items[i].number == number; family++)
			if (strcmp(manifest->families.items[i].name, kv_family_names[family]) == 0)
				return (enum kv_family)family;
	return KV_FAMILY_COUNT;
}
