#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/vfs.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/chunk/begun.h"
#include "lib/chunk/chunk_store.h"
#include "lib/format/record.h"
#include "tests/unit/chunk_store.h"

#define PATIENCE_MS 20000
#define LEN (10 * MIB)
#define TMPFS 0x01021994

struct cold {
	struct store *store;
	uint8_t *data;
	struct stored stored;
	uint64_t first; /* chunk */
	struct begun *begun;
};

/* Chunks that are on the disk and nowhere else. */
static struct cold make_cold(void **state)
{
	struct cold cold = {.store = *state, .data = noise(LEN, 1)};
	struct statfs fs;

	assert_int_equal(statfs(cold.store->dir, &fs), 0);
	if (fs.f_type == TMPFS)
		skip(); /* it is all in memory: nothing is begun */
	cold.stored = put(cold.store, cold.data, LEN, 0);
	cold.first = cold.stored.pieces[0].chunk;
	assert_true(cold.stored.count > 64);
	store_close(cold.store);
	forget_pages(cold.store);
	store_open(cold.store, false);
	cold.begun = begun_new(cold.store->chunks->backend);
	return cold;
}

static void end_cold(struct cold *cold)
{
	begun_free(cold->begun);
	free(cold->stored.pieces);
	free(cold->data);
}

static void check(const struct cold *cold, size_t piece, const struct kv_value *value)
{
	const struct chunk_piece *expected = &cold->stored.pieces[piece];

	assert_non_null(value->data);
	assert_int_equal(value->len, CHUNK_HEADER_LEN + expected->length);
	assert_memory_equal(value->data + CHUNK_HEADER_LEN, cold->data + expected->offset, expected->length);
}

static void test_what_was_begun_can_be_taken_once(void **state)
{
	struct cold cold = make_cold(state);
	struct begun_taken taken;

	begun_start(cold.begun, cold.first + 5, 3);
	assert_int_equal(begun_take(cold.begun, cold.first + 5, 3, &taken), 3);
	for (size_t i = 0; i < 3; i++)
		check(&cold, 5 + i, &taken.values[i]);
	begun_put(cold.begun, &taken);
	assert_int_equal(begun_take(cold.begun, cold.first + 5, 3, &taken), 0);
	end_cold(&cold);
}

static void test_a_reader_may_want_less_or_more_than_was_begun(void **state)
{
	struct cold cold = make_cold(state);
	struct begun_taken taken;

	begun_start(cold.begun, cold.first, 4);
	assert_int_equal(begun_take(cold.begun, cold.first + 4, 1, &taken), 0);
	assert_int_equal(begun_take(cold.begun, cold.first + 1, 9, &taken), 3);
	for (size_t i = 0; i < 3; i++)
		check(&cold, 1 + i, &taken.values[i]);
	begun_put(cold.begun, &taken);
	end_cold(&cold);
}

static void test_what_is_nowhere_is_not_begun(void **state)
{
	struct cold cold = make_cold(state);
	struct begun_taken taken;

	begun_start(cold.begun, cold.first + 100000, 2);
	assert_int_equal(begun_take(cold.begun, cold.first + 100000, 2, &taken), 0);
	end_cold(&cold);
}

static void test_what_nobody_takes_makes_room(void **state)
{
	struct cold cold = make_cold(state);
	const uint64_t end = clock_ms() + PATIENCE_MS;
	struct begun_taken taken;
	size_t found = 0;

	for (unsigned i = 0; i < BEGUN_READS; i++)
		begun_start(cold.begun, cold.first + 2 * i, 2);
	while (!found && clock_ms() < end) {
		begun_start(cold.begun, cold.first + 40, 2);
		found = begun_take(cold.begun, cold.first + 40, 2, &taken);
		usleep(1000);
	}
	assert_int_equal(found, 2);
	check(&cold, 40, &taken.values[0]);
	begun_put(cold.begun, &taken);
	end_cold(&cold);
}

/* Ends, too, with reads that nobody has taken. */
static void test_what_is_read_after_it_was_begun_is_right(void **state)
{
	struct cold cold = make_cold(state);
	AUTO_FREE uint8_t *out = xmalloc(LEN);

	for (size_t i = 0; i + 4 <= cold.stored.count; i += 4) {
		struct chunk_want wants[4];

		chunks_begin_read(cold.store->chunks, cold.first + i, i % 3 ? 4 : 2);
		for (size_t k = 0; k < 4; k++) {
			const struct chunk_piece *piece = &cold.stored.pieces[i + k];

			wants[k] = (struct chunk_want){piece->chunk, 0, piece->length, out + piece->offset};
		}
		if (i % 5 == 0)
			continue;
		assert_int_equal(chunks_read_many(cold.store->chunks, wants, 4), 0);
		for (size_t k = 0; k < 4; k++)
			assert_memory_equal(wants[k].out, cold.data + cold.stored.pieces[i + k].offset, wants[k].length);
	}
	end_cold(&cold);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_what_was_begun_can_be_taken_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_reader_may_want_less_or_more_than_was_begun, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_is_nowhere_is_not_begun, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_nobody_takes_makes_room, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_is_read_after_it_was_begun_is_right, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
