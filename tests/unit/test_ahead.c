#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/pages.h"
#include "lib/chunk/ahead.h"
#include "lib/chunk/chunk_store.h"
#include "lib/format/record.h"
#include "tests/unit/chunk_store.h"

#define PATIENCE_MS 20000

/* Chunks that were read ahead, once there are so many. */
static uint64_t wait_for(struct ahead *ahead, uint64_t chunks)
{
	const uint64_t end = clock_ms() + PATIENCE_MS;

	while (ahead_chunks(ahead) < chunks && clock_ms() < end)
		usleep(1000);
	return ahead_chunks(ahead);
}

struct filled {
	struct store *store;
	struct backend *backend;
	struct ahead *ahead;
	uint64_t first; /* chunk */
	uint64_t end;   /* id after the last */
};

static struct filled fill(struct store *store)
{
	const size_t len = 60 * MIB;
	AUTO_FREE uint8_t *data = noise(len, 1);
	struct stored stored = put(store, data, len, 0);
	struct filled filled = {.store = store};

	assert_int_equal(backend_open(store->kv, store->ingest, &filled.backend, NULL), 0);
	filled.ahead = ahead_new(filled.backend);
	filled.first = stored.pieces[0].chunk;
	filled.end = stored.pieces[stored.count - 1].chunk + 1;
	assert_true(filled.end > filled.first + 512);
	free(stored.pieces);
	return filled;
}

static void empty(struct filled *filled)
{
	ahead_free(filled->ahead);
	backend_close(filled->backend);
}

static bool is_there(const struct filled *filled, uint64_t id)
{
	struct ahead_taken taken;
	const size_t found = ahead_take(filled->ahead, id, 1, &taken);

	if (!found)
		return false;
	assert_non_null(taken.values[0].data);
	ahead_put(filled->ahead, &taken);
	return true;
}

static void test_a_random_reader_has_nothing_read_ahead(void **state)
{
	struct filled filled = fill(*state);
	const uint64_t count = filled.end - filled.first;

	/* files of two chunks; many are read, none behind another */
	for (uint64_t i = 0, at = 0; i < 300; i++, at = (at + 389) % (count / 2)) {
		assert_false(is_there(&filled, filled.first + 2 * at));
		ahead_note(filled.ahead, filled.first + 2 * at, 2);
		assert_false(is_there(&filled, filled.first + 2 * at + 2));
	}
	empty(&filled);
}

/* Reads chunks one after the other, from what was read ahead where that is possible. */
static void read_in_a_row(const struct filled *filled, uint64_t first, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		ahead_note(filled->ahead, filled->first + first + i, 1);
		(void)is_there(filled, filled->first + first + i);
	}
}

static void test_a_sequential_reader_has_the_next_chunks_read_ahead(void **state)
{
	struct filled filled = fill(*state);

	for (unsigned i = 0; i < 15; i++) {
		ahead_note(filled.ahead, filled.first + 2 * i, 2);
		assert_false(is_there(&filled, filled.first + 2 * i + 2));
	}
	/* an eighth of 32 */
	ahead_note(filled.ahead, filled.first + 30, 2);
	for (unsigned i = 0; i < 4; i++)
		assert_true(is_there(&filled, filled.first + 32 + i));
	assert_false(is_there(&filled, filled.first + 36));
	/* it grows with what was read in a row, and half of it is always ahead of the reader */
	for (unsigned i = 16; i < 100; i++) {
		ahead_note(filled.ahead, filled.first + 2 * i, 2);
		assert_true(is_there(&filled, filled.first + 2 * i));
		assert_true(is_there(&filled, filled.first + 2 * i + 1));
	}
	for (unsigned i = 0; i < 200 / 8 / 2; i++)
		assert_true(is_there(&filled, filled.first + 200 + i));
	assert_false(is_there(&filled, filled.first + 200 + 200 / 8));
	empty(&filled);
}

static void test_a_reader_that_jumps_has_cost_an_eighth_more_at_most(void **state)
{
	struct filled filled = fill(*state);

	for (unsigned place = 0; place < 5; place++)
		read_in_a_row(&filled, 100 * place, 64);
	/* what is ahead of the reader from 32 on, and 8 behind its end */
	assert_in_range(wait_for(filled.ahead, 5 * (32 + 4)), 5 * 32, 5 * (32 + 8));
	empty(&filled);
}

static void test_readers_that_share_the_work_have_each_chunk_read_ahead_once(void **state)
{
	static const unsigned order[] = {6, 2, 4, 0};
	struct filled filled = fill(*state);

	for (unsigned i = 0; i < 256; i += 8)
		for (unsigned reader = 0; reader < 4; reader++) {
			ahead_note(filled.ahead, filled.first + i + order[reader], 2);
			(void)is_there(&filled, filled.first + i + order[reader]);
		}
	assert_in_range(wait_for(filled.ahead, 256 - 64), 256 - 64, 256 + 256 / 8);
	empty(&filled);
}

static void test_a_reader_that_reads_the_same_again_is_not_sequential(void **state)
{
	struct filled filled = fill(*state);

	for (unsigned i = 0; i < 100; i++)
		ahead_note(filled.ahead, filled.first, 2);
	assert_false(is_there(&filled, filled.first + 2));
	empty(&filled);
}

static void test_several_sequential_readers_are_followed_at_once(void **state)
{
	struct filled filled = fill(*state);

	for (unsigned i = 0; i < 32; i++)
		for (unsigned reader = 0; reader < 4; reader++)
			ahead_note(filled.ahead, filled.first + 128 * reader + i, 1);
	for (unsigned reader = 0; reader < 4; reader++)
		for (unsigned i = 0; i < 4; i++)
			assert_true(is_there(&filled, filled.first + 128 * reader + 32 + i));
	empty(&filled);
}

static void test_ids_that_are_nowhere_do_no_harm(void **state)
{
	struct filled filled = fill(*state);
	struct ahead_taken taken;

	/* taking waits until a block was read, so that there is room for the next */
	for (unsigned i = 0; i < 100; i++) {
		ahead_note(filled.ahead, filled.end + 1000 + i, 1);
		if (ahead_take(filled.ahead, filled.end + 1000 + i, 1, &taken))
			ahead_put(filled.ahead, &taken);
	}
	for (unsigned i = 0; i < 32; i++)
		ahead_note(filled.ahead, filled.first + i, 1);
	assert_true(is_there(&filled, filled.first + 32));
	assert_int_equal(ahead_take(filled.ahead, filled.end + 1100, 1, &taken), 1);
	assert_null(taken.values[0].data);
	ahead_put(filled.ahead, &taken);
	empty(&filled);
}

struct first_look {
	struct backend *backend;
	uint64_t id;
	pthread_barrier_t *start;
	size_t found;
};

static void *look_first(void *arg)
{
	struct first_look *look = arg;
	struct kv_raw raw = {0};
	struct kv_value value;

	pthread_barrier_wait(look->start);
	look->found = backend_get_many(look->backend, look->id, 1, &raw, &value);
	kv_raw_clear(&raw);
	return NULL;
}

/* Only one of them lists the tables. */
static void test_threads_that_look_first_all_find_what_is_there(void **state)
{
	enum { THREADS = 8, ROUNDS = 200 };
	struct filled filled = fill(*state);
	pthread_barrier_t start;

	empty(&filled);
	assert_int_equal(pthread_barrier_init(&start, NULL, THREADS), 0);
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct first_look looks[THREADS];
		pthread_t threads[THREADS];

		assert_int_equal(backend_open(filled.store->kv, filled.store->ingest, &filled.backend, NULL), 0);
		for (unsigned i = 0; i < THREADS; i++) {
			looks[i] = (struct first_look){filled.backend, filled.first + i, &start, 0};
			assert_int_equal(pthread_create(&threads[i], NULL, look_first, &looks[i]), 0);
		}
		for (unsigned i = 0; i < THREADS; i++) {
			assert_int_equal(pthread_join(threads[i], NULL), 0);
			assert_int_equal(looks[i].found, 1);
		}
		backend_close(filled.backend);
	}
	pthread_barrier_destroy(&start);
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

/* Whatever way a chunk comes, its bytes are right; reading one after the other takes most of them from what was read ahead. */
static void test_reading_in_order_gives_the_right_bytes(void **state)
{
	struct store *store = *state;
	const size_t len = 20 * MIB;
	AUTO_FREE uint8_t *data = noise(len, 2), *out = xmalloc(262144);
	struct stored stored = put(store, data, len, 0);

	store_close(store);
	forget_pages(store);
	store_open(store, false);
	for (size_t i = 0; i < stored.count; i++) {
		const struct chunk_want want = {stored.pieces[i].chunk, 0, stored.pieces[i].length, out};

		assert_int_equal(chunks_read_many(store->chunks, &want, 1), 0);
		assert_memory_equal(out, data + stored.pieces[i].offset, stored.pieces[i].length);
	}
	assert_in_range(ahead_chunks(store->chunks->ahead), stored.count / 2, stored.count * 9 / 8);
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

		/* the list of tables is renewed only so often, and after a slow look later still */
		kv_tables_refresh(tables);
		while (kv_tables_read(tables, stored.pieces[0].chunk, 1, &raw, values) == 0 && clock_ms() < end)
			usleep(10000);
		for (size_t first = 0; first + 16 <= stored.count; first++)
			for (size_t count = 1; count <= 16; count += 5) {
				assert_int_equal(kv_tables_read(tables, stored.pieces[first].chunk, count, &raw, values), count);
				check_values(&stored, first, count, values, data + round * len / 2);
			}
		/* beyond the end of a table is nothing */
		assert_int_equal(kv_tables_read(tables, stored.pieces[stored.count - 1].chunk, 16, &raw, values), 1);
		assert_null(values[1].data);
		free(stored.pieces);
	}
	assert_int_equal(kv_tables_read(tables, 7, 16, &raw, values), 0);
	kv_raw_clear(&raw);
	kv_tables_free(tables);
}

static void test_what_is_read_straight_goes_to_huge_pages(void **state)
{
	struct store *store = *state;
	AUTO_FREE uint8_t *data = noise(10 * MIB, 7);
	struct stored stored = put(store, data, 10 * MIB, 0);
	struct kv_tables *tables = kv_tables_new(store->kv, KV_BULK);
	struct kv_value values[16];
	struct kv_raw raw = {0};

	assert_int_equal(kv_tables_read(tables, stored.pieces[0].chunk, 16, &raw, values), 16);
	assert_int_equal((uintptr_t)raw.bytes % PAGES_HUGE, 0);
	assert_int_equal(raw.cap % PAGES_HUGE, 0);
	kv_raw_clear(&raw);
	kv_tables_free(tables);
	free(stored.pieces);
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
		assert_int_equal(kv_tables_read(tables, stored.pieces[first].chunk, 16, &raw, values), 16);
		check_values(&stored, first, 16, values, data);
	}
	/* the table's end is read through it */
	assert_in_range(resident(store), before, before + 64);
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
		cmocka_unit_test_setup_teardown(test_a_random_reader_has_nothing_read_ahead, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_sequential_reader_has_the_next_chunks_read_ahead, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_reader_that_reads_the_same_again_is_not_sequential, setup, teardown),
		cmocka_unit_test_setup_teardown(test_several_sequential_readers_are_followed_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_reader_that_jumps_has_cost_an_eighth_more_at_most, setup, teardown),
		cmocka_unit_test_setup_teardown(test_readers_that_share_the_work_have_each_chunk_read_ahead_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ids_that_are_nowhere_do_no_harm, setup, teardown),
		cmocka_unit_test_setup_teardown(test_threads_that_look_first_all_find_what_is_there, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reading_in_order_gives_the_right_bytes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_values_are_read_straight_from_the_tables, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_is_read_straight_goes_to_huge_pages, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_is_read_straight_stays_out_of_the_page_cache, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_damaged_table_gives_the_right_bytes_or_none, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
