#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/chunk/ahead.h"
#include "lib/format/record.h"
#include "tests/unit/chunk_store.h"

#define REGION 64
#define PATIENCE_MS 20000

/* Asked for by now, or, when more is expected, within some time. */
static uint64_t wait_beyond(struct ahead *ahead, uint64_t bytes)
{
	const uint64_t end = clock_ms() + PATIENCE_MS;

	while (ahead_bytes(ahead) <= bytes && clock_ms() < end)
		usleep(1000);
	return ahead_bytes(ahead);
}

struct filled {
	struct store *store;
	struct kv_tables *bulk;
	struct ahead *ahead;
	uint64_t first; /* region that is full, and so are some after it */
	uint64_t mean;  /* length of a chunk */
	uint64_t end;   /* id after the last */
};

static struct filled fill(struct store *store)
{
	const size_t len = 60 * MIB;
	AUTO_FREE uint8_t *data = noise(len, 1);
	struct stored stored = put(store, data, len, 0);
	struct filled filled = {.store = store, .bulk = kv_tables_new(store->kv, KV_BULK)};

	filled.ahead = ahead_new(filled.bulk, NULL);
	filled.first = (stored.pieces[0].chunk + REGION - 1) / REGION;
	filled.mean = len / stored.count;
	filled.end = stored.pieces[stored.count - 1].chunk + 1;
	assert_true(filled.end > (filled.first + 8) * REGION);
	free(stored.pieces);
	return filled;
}

static void note(const struct filled *filled, uint64_t region, unsigned from, unsigned count)
{
	for (unsigned i = from; i < from + count; i++)
		ahead_note(filled->ahead, (filled->first + region) * REGION + i);
}

static void assert_regions(const struct filled *filled, uint64_t bytes, unsigned regions)
{
	assert_in_range(bytes, filled->mean * REGION * regions / 2, filled->mean * REGION * regions * 2);
}

static void test_a_region_is_asked_for_once_when_several_of_its_chunks_were_read(void **state)
{
	struct filled filled = fill(*state);
	uint64_t bytes;

	note(&filled, 0, 0, 7);
	note(&filled, 0, 0, 7); /* the same again are no more */
	note(&filled, 3, 5, 1);
	assert_int_equal(ahead_bytes(filled.ahead), 0);
	note(&filled, 0, 40, 1);
	bytes = wait_beyond(filled.ahead, 0);
	assert_regions(&filled, bytes, 1);
	note(&filled, 0, 0, 64);
	note(&filled, 5, 0, 8);
	assert_regions(&filled, wait_beyond(filled.ahead, bytes) - bytes, 1);
	ahead_free(filled.ahead);
	kv_tables_free(filled.bulk);
}

static void test_a_sequential_reader_has_the_next_regions_asked_for(void **state)
{
	struct filled filled = fill(*state);
	uint64_t bytes = 0;

	note(&filled, 0, 0, 64);
	note(&filled, 1, 0, 8);
	/* two that were read and four ahead */
	for (unsigned i = 0; i < 6; i++)
		bytes = wait_beyond(filled.ahead, bytes);
	assert_regions(&filled, bytes, 6);
	note(&filled, 2, 0, 1);
	assert_regions(&filled, wait_beyond(filled.ahead, bytes) - bytes, 1);
	ahead_free(filled.ahead);
	kv_tables_free(filled.bulk);
}

static void test_ids_that_are_nowhere_do_no_harm(void **state)
{
	struct filled filled = fill(*state);
	const uint64_t beyond = (filled.end / REGION + 3 - filled.first);

	note(&filled, beyond, 0, 64);
	note(&filled, 1, 0, 64);
	assert_regions(&filled, wait_beyond(filled.ahead, 0), 1);
	ahead_free(filled.ahead);
	kv_tables_free(filled.bulk);
}

/* Pages of all table files of the store that are in the page cache. */
static size_t resident(const struct store *store)
{
	AUTO_FREE char *command = xasprintf("ls %s/*.sst", store->db);
	FILE *list = popen(command, "r");
	char path[256];
	size_t count = 0;

	while (fgets(path, sizeof(path), list)) {
		path[strcspn(path, "\n")] = '\0';
		const int fd = open(path, O_RDONLY);
		const size_t len = (size_t)lseek(fd, 0, SEEK_END), pages = (len + 4095) / 4096;
		uint8_t *present = xcalloc(pages, 1);
		void *map = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);

		assert_ptr_not_equal(map, MAP_FAILED);
		assert_int_equal(mincore(map, len, present), 0);
		for (size_t i = 0; i < pages; i++)
			count += present[i] & 1;
		munmap(map, len);
		close(fd);
		free(present);
	}
	pclose(list);
	return count;
}

static void forget_pages(const struct store *store)
{
	AUTO_FREE char *command =
		xasprintf("sync %s/*.sst; for f in %s/*.sst; do dd if=$f iflag=nocache count=0 status=none; done", store->db, store->db);

	assert_int_equal(system(command), 0);
}

static void test_reading_through_chunks_brings_the_next_ones_into_memory(void **state)
{
	struct store *store = *state;
	const size_t len = 60 * MIB;
	AUTO_FREE uint8_t *data = noise(len, 2), *out = xmalloc(262144);
	struct stored stored = put(store, data, len, 0);
	const uint64_t end = clock_ms() + PATIENCE_MS;
	size_t some = stored.count / 4;

	store_close(store);
	forget_pages(store);
	store_open(store, false);
	if (resident(store) > 60 * MIB / 4096 / 2)
		skip(); /* a filesystem that keeps its pages whatever it is told */
	for (size_t i = 0; i < some; i++)
		assert_int_equal(chunks_read(store->chunks, stored.pieces[i].chunk, 0, stored.pieces[i].length, out), 0);
	/* a quarter was read, and four regions of 64 chunks lie ahead */
	while (resident(store) < (some + 3 * REGION) * (len / stored.count) / 4096 && clock_ms() < end)
		usleep(1000);
	assert_in_range(resident(store), (some + 3 * REGION) * (len / stored.count) / 4096, 60 * MIB / 4096 + 100);
	free(stored.pieces);
}

/* --- straight from the tables --- */

static void check_values(const struct stored *stored, size_t first, size_t count, const struct kv_value *values, const uint8_t *data)
{
	for (size_t i = 0; i < count; i++) {
		const struct chunk_piece *piece = &stored->pieces[first + i];

		assert_non_null(values[i].data);
		assert_int_equal(values[i].len, CHUNK_HEADER_LEN + piece->length);
		assert_memory_equal(values[i].data + CHUNK_HEADER_LEN, data + piece->offset, piece->length);
	}
}

static void test_values_are_read_straight_from_the_tables(void **state)
{
	struct store *store = *state;
	const size_t len = 20 * MIB;
	struct kv_tables *tables = kv_tables_new(store->kv, KV_BULK);
	AUTO_FREE uint8_t *data = noise(len, 5);
	struct kv_value values[16];
	struct kv_raw raw = {0};

	/* two tables */
	for (unsigned round = 0; round < 2; round++) {
		struct stored stored = put(store, data + round * len / 2, len / 2, 0);
		const uint64_t end = clock_ms() + PATIENCE_MS;

		/* the list of tables is renewed only so often */
		while (kv_tables_read(tables, stored.pieces[0].chunk, 1, false, &raw, values) == 0 && clock_ms() < end)
			usleep(10000);
		for (size_t first = 0; first + 16 <= stored.count; first++)
			for (size_t count = 1; count <= 16; count += 5) {
				assert_int_equal(kv_tables_read(tables, stored.pieces[first].chunk, count, false, &raw, values), count);
				check_values(&stored, first, count, values, data + round * len / 2);
			}
		/* beyond the end of a table is nothing */
		assert_int_equal(kv_tables_read(tables, stored.pieces[stored.count - 1].chunk, 16, false, &raw, values), 1);
		assert_null(values[1].data);
		free(stored.pieces);
	}
	assert_int_equal(kv_tables_read(tables, 7, 16, false, &raw, values), 0);
	kv_raw_clear(&raw);
	kv_tables_free(tables);
}

static void test_what_is_read_straight_stays_out_of_the_page_cache(void **state)
{
	struct store *store = *state;
	const size_t len = 20 * MIB;
	AUTO_FREE uint8_t *data = noise(len, 6);
	struct stored stored = put(store, data, len, 0);
	struct kv_tables *tables;
	struct kv_value values[16];
	struct kv_raw raw = {0};
	size_t before;

	store_close(store);
	forget_pages(store);
	store_open(store, false);
	before = resident(store);
	if (before > len / 4096 / 2)
		skip(); /* a filesystem that keeps its pages whatever it is told */
	tables = kv_tables_new(store->kv, KV_BULK);
	for (size_t first = 0; first + 16 <= stored.count; first += 16) {
		assert_int_equal(kv_tables_read(tables, stored.pieces[first].chunk, 16, false, &raw, values), 16);
		check_values(&stored, first, 16, values, data);
	}
	/* the table's end is read through it */
	assert_in_range(resident(store), before, before + 64);
	assert_int_equal(kv_tables_read(tables, stored.pieces[0].chunk, 16, true, &raw, values), 16);
	assert_in_range(resident(store), before + 16 * (len / stored.count) / 4096 / 2, len / 4096);
	kv_raw_clear(&raw);
	kv_tables_free(tables);
	free(stored.pieces);
}

/* Flips bits in `path` at places that follow from the seed. */
static void damage(const char *path, uint64_t seed)
{
	const int fd = open(path, O_RDWR);
	const uint64_t size = (uint64_t)lseek(fd, 0, SEEK_END);
	AUTO_FREE uint8_t *random = noise(64, seed);

	assert_true(fd >= 0);
	for (unsigned i = 0; i < 8; i++) {
		uint64_t place;
		uint8_t byte;

		memcpy(&place, random + 8 * i, sizeof(place));
		/* one in two hits the places where blocks begin and end, and the index and footer behind them */
		place = i % 2 ? place % size : size - 1 - place % MIN(size, 8192);
		assert_int_equal(pread(fd, &byte, 1, (off_t)place), 1);
		byte ^= (uint8_t)(1 << (i % 8));
		assert_int_equal(pwrite(fd, &byte, 1, (off_t)place), 1);
	}
	assert_int_equal(fsync(fd), 0);
	close(fd);
}

/* Whatever the table holds, what is read is what was written, or an error. */
static void test_a_damaged_table_gives_the_right_bytes_or_none(void **state)
{
	struct store *store = *state;
	const size_t len = 2 * MIB;
	AUTO_FREE uint8_t *data = noise(len, 6), *out = xmalloc(len);
	struct stored stored = put(store, data, len, 0);
	struct chunk_want wants[64];
	unsigned right = 0, refused = 0;
	char path[160];
	FILE *list;

	assert_in_range(stored.count, 2, 64);
	AUTO_FREE char *command = xasprintf("ls -S %s/*.sst", store->db);
	list = popen(command, "r");
	assert_non_null(fgets(path, sizeof(path), list));
	pclose(list);
	path[strcspn(path, "\n")] = '\0';
	for (uint64_t seed = 1; seed <= 40; seed++) {
		damage(path, seed * 977);
		for (size_t i = 0; i < stored.count; i++)
			wants[i] = (struct chunk_want){stored.pieces[i].chunk, 0, stored.pieces[i].length, out + stored.pieces[i].offset};
		for (size_t i = 0; i < stored.count; i++) {
			const int result = chunks_read_many(store->chunks, &wants[i], 1);

			right += !result;
			refused += result == -EIO;
			if (!result)
				assert_memory_equal(wants[i].out, data + stored.pieces[i].offset, wants[i].length);
		}
		if (!chunks_read_many(store->chunks, wants, stored.count))
			assert_memory_equal(out, data, len);
	}
	assert_int_equal(right + refused, 40 * stored.count);
	assert_true(right > 0 && refused > 0);
	free(stored.pieces);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_region_is_asked_for_once_when_several_of_its_chunks_were_read, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_sequential_reader_has_the_next_regions_asked_for, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ids_that_are_nowhere_do_no_harm, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reading_through_chunks_brings_the_next_ones_into_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(test_values_are_read_straight_from_the_tables, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_is_read_straight_stays_out_of_the_page_cache, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_damaged_table_gives_the_right_bytes_or_none, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
