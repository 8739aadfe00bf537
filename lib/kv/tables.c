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
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/base/clock.h"
#include "lib/kv/internal.h"

#define KEY_LEN 8
#define INNER_LEN 8 /* sequence number and type, behind each key */
#define TYPE_VALUE 1
#define BLOCK_END 13 /* one restart, their number, type, checksum */
#define FOOTER_LEN 53
#define FUZZ 2 /* how far rounding may put an offset off */
#define NAME_LEN 32
#define PAGE 4096U
#define READ_MAX (8U << 20)
/* The kernel cuts a longer piece of advice off at what the device takes at once. */
#define STEP (256U << 10)
/* Files come and go with ingestion and compaction. Listing them holds a lock of the database: at most a hundredth of the time. */
#define LIST_AGE_MS 1000
#define LIST_SHARE 100

struct table {
	char name[NAME_LEN]; /* with a leading slash */
	uint64_t first, last, size;
	uint64_t data_len; /* 0: not looked up yet */
};

struct kv_tables {
	struct kv *kv;
	enum kv_family family;
	pthread_rwlock_t lock; /* guards all below */
	struct table *items;   /* by first */
	size_t count;
	uint64_t stale_ms; /* from then on the list may be made anew */
};

struct kv_tables *kv_tables_new(struct kv *kv, enum kv_family family)
{
	struct kv_tables *tables = xcalloc(1, sizeof(*tables));

	tables->kv = kv;
	tables->family = family;
	pthread_rwlock_init(&tables->lock, NULL);
	return tables;
}

void kv_tables_free(struct kv_tables *tables)
{
	if (!tables)
		return;
	pthread_rwlock_destroy(&tables->lock);
	free(tables->items);
	free(tables);
}

static uint64_t number_of(const void *key, size_t len)
{
	struct reader reader = reader_over(key, len);

	return read_be64(&reader);
}

static void key_of(uint64_t number, char key[KEY_LEN])
{
	number = htobe64(number);
	memcpy(key, &number, KEY_LEN);
}

static int by_first(const void *left, const void *right)
{
	const struct table *a = left, *b = right;

	return a->first < b->first ? -1 : a->first > b->first;
}

/* --- which table --- */

static void add_table(struct kv_tables *tables, const rocksdb_livefiles_t *live, int index)
{
	struct table *table = &tables->items[tables->count];
	const char *name = rocksdb_livefiles_name(live, index), *key;
	size_t len;

	if (strcmp(rocksdb_livefiles_column_family_name(live, index), kv_family_names[tables->family]) != 0 ||
	    strlen(name) >= sizeof(table->name))
		return;
	memcpy(table->name, name, strlen(name) + 1);
	table->size = rocksdb_livefiles_size(live, index);
	table->data_len = 0;
	key = rocksdb_livefiles_smallestkey(live, index, &len);
	table->first = number_of(key, len);
	key = rocksdb_livefiles_largestkey(live, index, &len);
	table->last = number_of(key, len);
	tables->count++;
}

/* False when that was done a moment ago. */
static bool list_tables(struct kv_tables *tables)
{
	const uint64_t now = clock_ms();
	const rocksdb_livefiles_t *live;
	int count;

	pthread_rwlock_wrlock(&tables->lock);
	if (now < tables->stale_ms) {
		pthread_rwlock_unlock(&tables->lock);
		return false;
	}
	live = rocksdb_livefiles(tables->kv->db);
	count = rocksdb_livefiles_count(live);
	tables->items = xrealloc(tables->items, (size_t)(count + 1) * sizeof(*tables->items));
	tables->count = 0;
	for (int i = 0; i < count; i++)
		add_table(tables, live, i);
	rocksdb_livefiles_destroy(live);
	qsort(tables->items, tables->count, sizeof(*tables->items), by_first);
	tables->stale_ms = clock_ms() + MAX(LIST_AGE_MS, LIST_SHARE * (clock_ms() - now));
	pthread_rwlock_unlock(&tables->lock);
	return true;
}

/* The last table that begins at or before the number; -ENOENT when it ends before. */
static int find_listed(struct kv_tables *tables, uint64_t number, struct table *ret_table)
{
	size_t low = 0, high;
	int result = -ENOENT;

	pthread_rwlock_rdlock(&tables->lock);
	high = tables->count;
	while (low < high) {
		const size_t middle = low + (high - low) / 2;

		if (tables->items[middle].first <= number)
			low = middle + 1;
		else
			high = middle;
	}
	if (low > 0 && tables->items[low - 1].last >= number) {
		*ret_table = tables->items[low - 1];
		result = 0;
	}
	pthread_rwlock_unlock(&tables->lock);
	return result;
}

/* The table's file, open; -ENOENT also when it has just been compacted away. */
static int open_listed(struct kv_tables *tables, uint64_t number, struct table *ret_table, int *ret_fd)
{
	char path[PATH_MAX];
	int fd, result = find_listed(tables, number, ret_table);

	if (result < 0)
		return result;
	if (snprintf(path, sizeof(path), "%s%s", tables->kv->path, ret_table->name) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

static int open_table(struct kv_tables *tables, uint64_t number, struct table *ret_table, int *ret_fd)
{
	int result = open_listed(tables, number, ret_table, ret_fd);

	return result == -ENOENT && list_tables(tables) ? open_listed(tables, number, ret_table, ret_fd) : result;
}

/* --- where in it --- */

/* Where the values from `first` on begin, and where those from `end` on do, up to FUZZ. */
static bool find_range(const struct kv_tables *tables, const struct table *table, uint64_t first, uint64_t end, uint64_t *ret_from,
		       uint64_t *ret_to)
{
	const double share = (double)(table->data_len ? table->data_len : table->size) / (double)table->size;
	char base[KEY_LEN], from[KEY_LEN], to[KEY_LEN];
	const char *const starts[] = {base, base}, *const limits[] = {from, to};
	const size_t lens[] = {KEY_LEN, KEY_LEN};
	uint64_t sizes[2] = {0, 0};
	char *message = NULL;

	key_of(table->first, base);
	key_of(first, from);
	key_of(end, to);
	rocksdb_approximate_sizes_cf(tables->kv->db, tables->kv->handles[tables->family], 2, starts, lens, limits, lens, sizes, &message);
	rocksdb_free(message);
	if (end > table->last)
		sizes[1] = table->size;
	*ret_from = (uint64_t)((double)sizes[0] * share);
	*ret_to = (uint64_t)((double)MIN(sizes[1], table->size) * share);
	return !message && *ret_from < *ret_to;
}

uint64_t kv_tables_ask(struct kv_tables *tables, uint64_t first, uint64_t end)
{
	uint64_t from, to, bytes = 0;
	struct table table;
	char byte;
	int fd;

	while (first < end && open_table(tables, first, &table, &fd) == 0) {
		if (find_range(tables, &table, first, end, &from, &to)) {
			for (uint64_t at = from; at < to; at += STEP)
				(void)posix_fadvise(fd, (off_t)at, (off_t)MIN(STEP, to - at), POSIX_FADV_WILLNEED);
			/* no more than twice what is asked for at once is ever under way */
			(void)!pread(fd, &byte, 1, (off_t)(from + (to - from) / 2));
			bytes += to - from;
		}
		close(fd);
		first = table.last + 1;
	}
	return bytes;
}

/* --- reading --- */

static bool raw_ready(struct kv_raw *raw, size_t len)
{
	if (raw->cap >= len)
		return true;
	free(raw->bytes);
	raw->cap = 0;
	raw->bytes = aligned_alloc(PAGE, len);
	raw->cap = raw->bytes ? len : 0;
	return raw->bytes;
}

void kv_raw_clear(struct kv_raw *raw)
{
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
	*ret_number = number_of(key, KEY_LEN);
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

struct source {
	struct table table;
	int fd;
	bool cached; /* it is, or soon will be, in the page cache */
};

/* Not by reading with RWF_NOWAIT: that finds out, too, but starts the kernel's read-ahead, and the disk then gives everything twice. */
static bool in_page_cache(const struct source *source, size_t len, uint64_t at)
{
	const size_t pages = (MIN(len, source->table.size - at) + PAGE - 1) / PAGE;
	unsigned char present[READ_MAX / PAGE];
	void *area = mmap(NULL, pages * PAGE, PROT_READ, MAP_SHARED, source->fd, (off_t)at);
	bool all;

	if (area == MAP_FAILED)
		return false;
	all = mincore(area, pages * PAGE, present) == 0;
	for (size_t i = 0; i < pages && all; i++)
		all = present[i] & 1;
	munmap(area, pages * PAGE);
	return all;
}

/*
 * From the page cache when all is there, or is to be waited for; else past it. A filesystem that cannot do that reads through its cache.
 */
static ssize_t read_at(const struct source *source, void *bytes, size_t len, uint64_t at)
{
	(void)!fcntl(source->fd, F_SETFL, source->cached || in_page_cache(source, len, at) ? 0 : O_DIRECT);
	return pread(source->fd, bytes, len, (off_t)at);
}

/* Reads at least [from, to) of the file; what it got begins at *ret_bytes. */
static size_t read_pages(const struct source *source, uint64_t from, uint64_t to, struct kv_raw *raw, const uint8_t **ret_bytes)
{
	const uint64_t start = from & ~(uint64_t)(PAGE - 1);
	const size_t len = (size_t)((to - start + PAGE - 1) & ~(uint64_t)(PAGE - 1));
	ssize_t got;

	if (len > READ_MAX || !raw_ready(raw, len))
		return 0;
	got = read_at(source, raw->bytes, len, start);
	if (got <= (ssize_t)(from - start))
		return 0;
	*ret_bytes = raw->bytes + (from - start);
	return (size_t)got - (size_t)(from - start);
}

static size_t read_values(const struct source *source, uint64_t from, uint64_t to, uint64_t first, size_t count, struct kv_raw *raw,
			  struct kv_value *values)
{
	const uint64_t early = from - MIN(from, FUZZ);
	const uint8_t *bytes;
	const size_t len = read_pages(source, early, MIN(to + FUZZ, source->table.size), raw, &bytes);
	size_t found = 0;

	for (size_t skip = 0; skip <= 2 * FUZZ && skip < len && !found; skip++)
		found = take_apart(bytes + skip, len - skip, first, count, values);
	return found;
}

/* The index follows the data. */
static void read_footer(struct source *source, struct kv_raw *raw)
{
	struct table *table = &source->table;
	const uint8_t *bytes;
	struct reader reader;
	uint64_t offset;

	if (table->size < FOOTER_LEN || read_pages(source, table->size - FOOTER_LEN, table->size, raw, &bytes) < FOOTER_LEN)
		return;
	reader = reader_over(bytes + 1, FOOTER_LEN - 1);
	(void)read_varint(&reader);
	(void)read_varint(&reader);
	offset = read_varint(&reader);
	if (!reader.bad && offset < table->size)
		table->data_len = offset;
}

static void note_data_len(struct kv_tables *tables, const struct table *table)
{
	pthread_rwlock_wrlock(&tables->lock);
	for (size_t i = 0; i < tables->count; i++)
		if (strcmp(tables->items[i].name, table->name) == 0)
			tables->items[i].data_len = table->data_len;
	pthread_rwlock_unlock(&tables->lock);
}

size_t kv_tables_read(struct kv_tables *tables, uint64_t first, size_t count, bool cached, struct kv_raw *raw, struct kv_value *values)
{
	struct source source = {.cached = true};
	uint64_t from, to;
	size_t found = 0;

	memset(values, 0, count * sizeof(*values));
	if (open_table(tables, first, &source.table, &source.fd) < 0)
		return 0;
	if (!source.table.data_len) {
		read_footer(&source, raw);
		note_data_len(tables, &source.table);
	}
	source.cached = cached;
	if (source.table.data_len && find_range(tables, &source.table, first, first + count, &from, &to))
		found = read_values(&source, from, to, first, count, raw, values);
	close(source.fd);
	return found;
}
