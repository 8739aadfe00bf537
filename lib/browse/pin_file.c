#include "lib/browse/pin_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <xxhash.h>

#include "lib/base/file.h"

#define MAGIC "corpusP1"
#define MAGIC_LEN 8
#define ENTRY 12
#define SUM_LEN 8
#define PREFIX "pin-"
#define NEW "pin-new"
#define NAME_MAX_LEN 16
#define FILE_MAX (4ULL << 30)

static void name_of(uint32_t number, char name[NAME_MAX_LEN])
{
	(void)snprintf(name, NAME_MAX_LEN, PREFIX "%08x", number);
}

void pins_clear(struct pins *pins)
{
	for (size_t i = 0; i < pins->count; i++)
		free(pins->items[i].path);
	array_clear(pins);
}

/* --- reading --- */

/* False: it is not what was written. */
static bool decode(const struct buf *content, struct pin *ret_pin, struct pin_entries *entries)
{
	const size_t whole = content->len < SUM_LEN ? 0 : content->len - SUM_LEN;
	struct reader sum = reader_over(content->data + whole, content->len - whole), reader = reader_over(content->data, whole);
	const uint8_t *magic, *backup, *path;
	uint32_t path_len;
	uint64_t count;

	if (content->len < SUM_LEN || XXH3_64bits(content->data, whole) != read_le64(&sum))
		return false;
	magic = read_bytes(&reader, MAGIC_LEN);
	ret_pin->since = read_le64(&reader);
	ret_pin->files = read_le64(&reader);
	ret_pin->bytes = read_le64(&reader);
	backup = read_bytes(&reader, BLOB_ID_LEN);
	path_len = read_le32(&reader);
	path = read_bytes(&reader, path_len);
	count = read_le64(&reader);
	if (reader.bad || memcmp(magic, MAGIC, MAGIC_LEN) != 0 || reader.left % ENTRY != 0 || reader.left / ENTRY != count)
		return false;
	memcpy(ret_pin->backup.bytes, backup, BLOB_ID_LEN);
	ret_pin->path = xasprintf("%.*s", (int)path_len, (const char *)path);
	array_reserve(entries, count);
	for (uint64_t i = 0; i < count; i++) {
		struct pin_entry entry;

		entry.key = read_le64(&reader);
		entry.length = read_le32(&reader);
		array_add(entries, entry);
	}
	return true;
}

/* -EBADMSG: it is not what was written. */
static int read_file(int dir, uint32_t number, struct pin *ret_pin, struct pin_entries *entries)
{
	AUTO_BUF content = BUF_INIT;
	char name[NAME_MAX_LEN];
	int r;

	name_of(number, name);
	ret_pin->number = number;
	r = file_read_inside(dir, name, FILE_MAX, &content);
	if (r == -EUCLEAN || r == -EFBIG || (r == 0 && !decode(&content, ret_pin, entries)))
		return -EBADMSG;
	return r;
}

static int read_one(int dir, const char *name, struct pins *pins, struct pin_entries *entries, size_t *damaged)
{
	const uint32_t number = (uint32_t)strtoul(name + strlen(PREFIX), NULL, 16);
	struct pin pin = {0};
	char again[NAME_MAX_LEN];
	int r;

	name_of(number, again);
	if (strcmp(name, again) != 0)
		return 0;
	r = read_file(dir, number, &pin, entries);
	if (r == 0)
		array_add(pins, pin);
	*damaged += r == -EBADMSG;
	return r == -EBADMSG ? 0 : r;
}

int pin_file_read(int dir, uint32_t number, struct pin_entries *entries)
{
	struct pin pin = {0};
	int r = read_file(dir, number, &pin, entries);

	free(pin.path);
	return r;
}

static int compare_pins(const void *a, const void *b)
{
	const struct pin *x = a, *y = b;

	return (x->number > y->number) - (x->number < y->number);
}

int pin_files_read(int dir, struct pins *pins, struct pin_entries *entries, size_t *ret_damaged)
{
	DIR *names = file_entries(dir);
	const char *name;
	size_t damaged = 0;
	int more, r = names ? 0 : -errno;

	while (r == 0 && (more = file_next_entry(names, &name)) != 0)
		r = more < 0 ? more : strncmp(name, PREFIX, strlen(PREFIX)) == 0 ? read_one(dir, name, pins, entries, &damaged) : 0;
	if (names)
		closedir(names);
	if (r == 0 && pins->count > 0)
		qsort(pins->items, pins->count, sizeof(*pins->items), compare_pins);
	if (r == 0)
		*ret_damaged = damaged;
	return r;
}

/* --- writing --- */

static void encode(const struct pin *pin, const struct pin_entries *entries, struct buf *out)
{
	const size_t path_len = strlen(pin->path);

	buf_add(out, MAGIC, MAGIC_LEN);
	buf_add_le64(out, pin->since);
	buf_add_le64(out, pin->files);
	buf_add_le64(out, pin->bytes);
	buf_add(out, pin->backup.bytes, BLOB_ID_LEN);
	buf_add_le32(out, (uint32_t)path_len);
	buf_add(out, pin->path, path_len);
	buf_add_le64(out, entries->count);
	buf_reserve(out, entries->count * ENTRY + SUM_LEN);
	for (size_t i = 0; i < entries->count; i++) {
		buf_add_le64(out, entries->items[i].key);
		buf_add_le32(out, entries->items[i].length);
	}
	buf_add_le64(out, XXH3_64bits(out->data, out->len));
}

int pin_file_write(int dir, const struct pin *pin, const struct pin_entries *entries)
{
	AUTO_BUF content = BUF_INIT;
	char name[NAME_MAX_LEN];
	int fd, r;

	name_of(pin->number, name);
	encode(pin, entries, &content);
	(void)unlinkat(dir, NEW, 0);
	fd = openat(dir, NEW, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	r = file_write_all(fd, content.data, content.len);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	close(fd);
	if (r == 0 && renameat(dir, NEW, dir, name) < 0)
		r = -errno;
	if (r < 0) {
		(void)unlinkat(dir, NEW, 0);
		return r;
	}
	if (fsync(dir) == 0)
		return 0;
	r = -errno;
	(void)unlinkat(dir, name, 0); /* what was told to have failed does not hold later */
	return r;
}

int pin_file_remove(int dir, uint32_t number)
{
	char name[NAME_MAX_LEN];

	name_of(number, name);
	return (unlinkat(dir, name, 0) < 0 && errno != ENOENT) || fsync(dir) < 0 ? -errno : 0;
}
