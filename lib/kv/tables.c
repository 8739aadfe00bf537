/*
 * Past RocksDB to the bytes of its table files. Get() costs two copies of the value and a read of its own per value, and leaves the file's
 * pages in the page cache next to those of the mount; here neighbours come with one read into a buffer of the caller's.
 *
 * RocksDB tells where a value begins (by the table's index: ApproximateSizes() from the table's first key on; it spreads what follows the
 * data over the data, which is undone here). There a block begins, in the format of block-based tables (block_builder.cc, the same since
 * LevelDB, 2011), which for families without compression reads
 *
 *   entry  = shared varint | rest varint | value length varint | rest of the key | value
 *   block  = entry+ | restart u32 LE * n | n u32 LE,  then type u8, checksum u32 LE
 *   table  = block* | index | ... | footer
 *   footer = checksum type u8 | metaindex: offset, length varint | index: offset, length varint | ... 53 bytes in all (format.cc)
 *
 * and a value of the block size or more is the only one of its block. Nothing is believed: a key that is not the expected one ends the
 * reading, values carry a checksum of their own, and whatever is not found here is asked of RocksDB.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "lib/base/direct_file.h"
#include "lib/base/pages.h"
#include "lib/kv/inside.h"
#include "lib/kv/table_files.h"

#define KEY_LEN 8
#define INNER_LEN 8 /* sequence number and type, behind each key */
#define TYPE_VALUE 1
#define BLOCK_END 13 /* one restart, their number, type, checksum */
#define FOOTER_LEN 53
#define FUZZ 2 /* how far rounding may put an offset off */
#define PAGE 4096U
#define READ_MAX (8U << 20)

struct kv_tables {
	struct kv *kv;
	enum kv_family family;
	struct table_files *files;
};

struct kv_tables *kv_tables_new(struct kv *kv, enum kv_family family)
{
	struct kv_tables *tables = xcalloc(1, sizeof(*tables));

	tables->kv = kv;
	tables->family = family;
	tables->files = table_files_new(kv, family);
	return tables;
}

void kv_tables_free(struct kv_tables *tables)
{
	if (!tables)
		return;
	table_files_free(tables->files);
	free(tables);
}

void kv_tables_refresh(struct kv_tables *tables)
{
	table_files_refresh(tables->files);
}

static void key_of(uint64_t number, char key[KEY_LEN])
{
	number = htobe64(number);
	memcpy(key, &number, KEY_LEN);
}

/* --- where in it --- */

/* Where the values from `first` on begin, and where those from `end` on do, up to FUZZ. */
static bool find_range(const struct kv_tables *tables, const struct table_file *table, uint64_t first, uint64_t end, uint64_t *ret_from,
		       uint64_t *ret_to)
{
	const uint64_t data_len = table->data_len;
	const double share = (double)(data_len ? data_len : table->size) / (double)table->size;
	char base[KEY_LEN], from[KEY_LEN], to[KEY_LEN];
	const char *const starts[] = {base, base}, *const limits[] = {from, to};
	const size_t lens[] = {KEY_LEN, KEY_LEN};
	uint64_t sizes[2] = {0, 0};
	char *message = NULL;

	key_of(table->first, base);
	key_of(first, from);
	key_of(end, to);
	if (!kv_enter(tables->kv))
		return false;
	rocksdb_approximate_sizes_cf(tables->kv->db, tables->kv->handles[tables->family], 2, starts, lens, limits, lens, sizes, &message);
	kv_leave(tables->kv);
	rocksdb_free(message);
	if (end > table->last)
		sizes[1] = table->size;
	*ret_from = (uint64_t)((double)sizes[0] * share);
	*ret_to = (uint64_t)((double)MIN(sizes[1], table->size) * share);
	return !message && *ret_from < *ret_to;
}

/* --- reading --- */

static bool raw_ready(struct kv_raw *raw, size_t len)
{
	if (raw->cap >= len)
		return true;
	free(raw->bytes);
	raw->cap = 0;
	len = (len + PAGES_HUGE - 1) & ~(PAGES_HUGE - 1);
	raw->bytes = pages_alloc(len);
	raw->cap = raw->bytes ? len : 0;
	return raw->bytes;
}

void kv_raw_clear(struct kv_raw *raw)
{
	if (raw->context)
		(void)syscall(SYS_io_destroy, raw->context); /* waits */
	free(raw->bytes);
	*raw = (struct kv_raw){0};
}

static uint64_t read_varint(struct reader *reader)
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

/* A block with one entry; false at anything else. */
static bool read_block(struct reader *reader, uint64_t *ret_number, struct kv_value *ret_value)
{
	const uint64_t shared = read_varint(reader), rest = read_varint(reader), len = read_varint(reader);
	const uint8_t *key = read_bytes(reader, KEY_LEN + INNER_LEN);
	const uint8_t *value = read_bytes(reader, len);

	if (reader->bad || shared || rest != KEY_LEN + INNER_LEN || len < KV_TABLE_BLOCK || key[KEY_LEN] != TYPE_VALUE)
		return false;
	*ret_number = kv_number_of(key, KEY_LEN);
	*ret_value = (struct kv_value){value, len};
	(void)read_bytes(reader, BLOCK_END);
	return true;
}

static size_t take_apart(const uint8_t *bytes, size_t len, uint64_t first, size_t count, struct kv_value *values)
{
	struct reader reader = reader_over(bytes, len);
	struct kv_value value;
	uint64_t number;
	size_t found = 0;

	while (read_block(&reader, &number, &value) && number >= first && number - first < count) {
		values[number - first] = value;
		found++;
	}
	return found;
}

/* Not by reading with RWF_NOWAIT: that finds out, too, but starts the kernel's read-ahead, and the disk then gives everything twice. */
static bool in_page_cache(const struct table_file *table, size_t len, uint64_t at)
{
	const size_t pages = (MIN(len, table->size - at) + PAGE - 1) / PAGE;
	unsigned char present[READ_MAX / PAGE];

	if (!table->map || mincore(table->map + at, pages * PAGE, present) < 0)
		return false;
	for (size_t i = 0; i < pages; i++)
		if (!(present[i] & 1))
			return false;
	return true;
}

static bool can_go_past(const struct table_file *table)
{
	return table->direct_fd >= 0 && !atomic_load(&table->is_indirect);
}

/* `past`: past the page cache, else from it when all is there. A filesystem that cannot do that reads through its cache, without those pages. */
static ssize_t read_at(struct table_file *table, bool past, void *bytes, size_t len, uint64_t at)
{
	if (can_go_past(table) && (past || !in_page_cache(table, len, at))) {
		const ssize_t got = pread(table->direct_fd, bytes, len, (off_t)at);
		if (got >= 0 || !direct_is_unable(errno))
			return got;
		atomic_store(&table->is_indirect, true);
	}
	if (past)
		(void)posix_fadvise(table->fd, (off_t)at, (off_t)len, POSIX_FADV_DONTNEED);
	return pread(table->fd, bytes, len, (off_t)at);
}

/* It tells nothing of the disk. */
static bool is_momentary(int code)
{
	return code == ENOMEM || code == EINTR || code == EAGAIN || code == EMFILE || code == ENFILE;
}

/* One page after the other, since the disk cannot read all of them: those are zeros, which fit no checksum. */
static ssize_t read_what_can_be(struct table_file *table, struct kv_raw *raw, size_t len, uint64_t at)
{
	for (size_t done = 0; done < len; done += PAGE) {
		const ssize_t got = read_at(table, true, raw->bytes + done, PAGE, at + done);
		if (got >= 0 && got < PAGE)
			return (ssize_t)done + got;
		if (got < 0 && is_momentary(errno))
			return got;
		if (got < 0) {
			memset(raw->bytes + done, 0, PAGE);
			raw->unreadable = true;
		}
	}
	return (ssize_t)len;
}

/* Reads at least [from, to) of the file; what it got begins at *ret_bytes. */
static size_t read_pages(struct table_file *table, bool past, uint64_t from, uint64_t to, struct kv_raw *raw, const uint8_t **ret_bytes)
{
	const uint64_t start = from & ~(uint64_t)(PAGE - 1);
	const size_t len = (size_t)((to - start + PAGE - 1) & ~(uint64_t)(PAGE - 1));
	ssize_t got;

	if (len > READ_MAX || !raw_ready(raw, len))
		return 0;
	got = read_at(table, past, raw->bytes, len, start);
	if (got < 0 && past)
		got = read_what_can_be(table, raw, len, start);
	if (got <= (ssize_t)(from - start))
		return 0;
	*ret_bytes = raw->bytes + (from - start);
	return (size_t)got - (size_t)(from - start);
}

/* The first value begins among the first bytes. */
static size_t take_values(const uint8_t *bytes, size_t len, uint64_t first, size_t count, struct kv_value *values)
{
	size_t found = 0;

	for (size_t skip = 0; skip <= 2 * FUZZ && skip < len && !found; skip++)
		found = take_apart(bytes + skip, len - skip, first, count, values);
	return found;
}

/* The index follows the data. */
static void read_footer(struct table_file *table, struct kv_raw *raw)
{
	const uint8_t *bytes;
	struct reader reader;
	uint64_t offset;

	if (table->size < FOOTER_LEN || read_pages(table, false, table->size - FOOTER_LEN, table->size, raw, &bytes) < FOOTER_LEN)
		return;
	reader = reader_over(bytes + 1, FOOTER_LEN - 1);
	(void)read_varint(&reader);
	(void)read_varint(&reader);
	offset = read_varint(&reader);
	if (!reader.bad && offset < table->size)
		table->data_len = offset;
}

/* Where to read, so that all of it is there; false: not to be found so. */
static bool locate(const struct kv_tables *tables, struct table_file *table, uint64_t first, size_t count, struct kv_raw *raw,
		   uint64_t *ret_from, uint64_t *ret_to)
{
	uint64_t from, to;

	if (!table->data_len)
		read_footer(table, raw);
	if (!table->data_len || !find_range(tables, table, first, first + count, &from, &to))
		return false;
	*ret_from = from - MIN(from, FUZZ);
	*ret_to = MIN(to + FUZZ, table->size);
	return true;
}

static size_t read_values(struct kv_tables *tables, bool past, uint64_t first, size_t count, struct kv_raw *raw, struct kv_value *values)
{
	struct table_file *table;
	const uint8_t *bytes;
	uint64_t from, to;
	size_t found = 0;

	memset(values, 0, count * sizeof(*values));
	raw->unreadable = false;
	if (table_files_get(tables->files, first, &table) < 0)
		return 0;
	if (locate(tables, table, first, count, raw, &from, &to)) {
		const size_t len = read_pages(table, past, from, to, raw, &bytes);

		found = take_values(bytes, len, first, count, values);
	}
	table_files_put(table);
	return found;
}

size_t kv_tables_read(struct kv_tables *tables, uint64_t first, size_t count, struct kv_raw *raw, struct kv_value *values)
{
	return read_values(tables, false, first, count, raw, values);
}

size_t kv_tables_read_disk(struct kv_tables *tables, uint64_t first, size_t count, struct kv_raw *raw, struct kv_value *values)
{
	return read_values(tables, true, first, count, raw, values);
}

/* The kernel holds the file for as long as it reads. */
static bool submit(const struct table_file *table, uint64_t from, uint64_t to, struct kv_raw *raw)
{
	const uint64_t start = from & ~(uint64_t)(PAGE - 1);
	const size_t len = (size_t)((to - start + PAGE - 1) & ~(uint64_t)(PAGE - 1));
	struct iocb request = {.aio_lio_opcode = IOCB_CMD_PREAD, .aio_offset = (int64_t)start, .aio_nbytes = len}, *requests = &request;

	if (!can_go_past(table) || len > READ_MAX || in_page_cache(table, PAGE, start) || !raw_ready(raw, len))
		return false;
	if (!raw->context && syscall(SYS_io_setup, 1, &raw->context) < 0)
		return false;
	request.aio_fildes = (uint32_t)table->direct_fd;
	request.aio_buf = (uintptr_t)raw->bytes;
	raw->skip = (size_t)(from - start);
	return syscall(SYS_io_submit, raw->context, 1, &requests) == 1;
}

bool kv_tables_begin(struct kv_tables *tables, uint64_t first, size_t count, struct kv_raw *raw)
{
	struct table_file *table;
	uint64_t from, to;
	bool begun;

	if (table_files_get(tables->files, first, &table) < 0)
		return false;
	raw->first = first;
	raw->count = count;
	begun = locate(tables, table, first, count, raw, &from, &to) && submit(table, from, to, raw);
	table_files_put(table);
	return begun;
}

size_t kv_tables_end(struct kv_raw *raw, struct kv_value *values)
{
	struct io_event event = {0};
	long count;

	memset(values, 0, raw->count * sizeof(*values));
	do {
		count = syscall(SYS_io_getevents, raw->context, 1, 1, &event, NULL);
	} while (count < 0 && errno == EINTR);
	if (count != 1 || event.res <= (int64_t)raw->skip)
		return 0;
	return take_values(raw->bytes + raw->skip, (size_t)event.res - raw->skip, raw->first, raw->count, values);
}
