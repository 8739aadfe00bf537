/* A scrub that ends before its end goes on where it was, also when that is behind the last chunk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/dataset_store.h"

#include "lib/chunk/chunk_store.h"
#include "lib/verify/scrub.h"

#define LEN 30000
#define FORGET "damage-before-forget"

/* A chunk that is in the list of damaged ones, and whole. */
static void make_listed_chunk(struct store *store)
{
	struct chunks_group *group = chunks_group_new(store_chunks(store));
	struct kv_batch *batch = kv_batch_new();
	AUTO_FREE uint8_t *data = xcalloc(1, LEN);
	size_t count;

	assert_int_equal(chunks_group_add_whole(group, data, LEN, 0), 0);
	assert_int_equal(chunks_group_store(group, batch), 0);
	assert_int_equal(kv_write(store_kv(store), batch, 0), 0);
	damaged_add(store_chunks(store)->damaged, chunks_group_pieces(group, 0, &count)->chunk);
	chunks_group_free(group);
	kv_batch_free(batch);
}

struct seen {
	const char *stop_in; /* NULL: nowhere */
	unsigned tables, ends;
};

static int see(void *arg, const struct scrub_progress *progress)
{
	struct seen *seen = arg;

	seen->tables += strcmp(progress->phase, "tables") == 0;
	seen->ends += strcmp(progress->phase, "done") == 0;
	return seen->stop_in && strcmp(progress->phase, seen->stop_in) == 0;
}

static int scrub(struct store *store, struct seen *seen)
{
	const struct scrub_options options = {.progress = see, .arg = seen};
	struct scrub_counts counts;
	struct error err = {0};

	return scrub_run(store, &options, &counts, &err);
}

static void assert_goes_on(struct store *store)
{
	struct scrub_state state;
	struct seen seen = {0};

	assert_int_equal(scrub_state_get(store, &state), 0);
	assert_int_equal(state.phase, SCRUB_BULK);
	assert_int_equal(state.last_end, 0);
	assert_int_equal(scrub(store, &seen), 0);
	assert_int_equal(seen.tables, 0);
	assert_int_equal(seen.ends, 1);
	assert_int_equal(scrub_state_get(store, &state), 0);
	assert_int_equal(state.phase, SCRUB_IDLE);
	assert_true(state.last_end > 0);
}

/* What is in the list is looked at again; one that is whole cannot be taken out of it. */
static void test_scrub_that_fails_behind_the_last_chunk_goes_on_there(void **state)
{
	struct place *place = *state;
	struct seen seen = {0};

	make_listed_chunk(place->store);
	assert_int_equal(scrub(place->store, &seen), -EIO);
	assert_true(seen.tables > 0);
	assert_goes_on(place->store);
}

static void test_scrub_that_is_stopped_behind_the_last_chunk_goes_on_there(void **state)
{
	struct place *place = *state;
	struct seen seen = {.stop_in = "damage list"};

	make_listed_chunk(place->store);
	assert_int_equal(scrub(place->store, &seen), -ECANCELED);
	assert_goes_on(place->store);
}

static void test_scrub_that_is_stopped_at_its_very_end_goes_on_there(void **state)
{
	struct place *place = *state;
	struct seen seen = {.stop_in = "done"};

	assert_int_equal(scrub(place->store, &seen), -ECANCELED);
	assert_goes_on(place->store);
}

#define SCRUB_TEST(function) cmocka_unit_test_setup_teardown(function, place_setup, place_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCRUB_TEST(test_scrub_that_fails_behind_the_last_chunk_goes_on_there), /* first: the fault point acts once */
		SCRUB_TEST(test_scrub_that_is_stopped_behind_the_last_chunk_goes_on_there),
		SCRUB_TEST(test_scrub_that_is_stopped_at_its_very_end_goes_on_there),
	};

	setenv("CORPUSFS_FAULT", FORGET ":eio", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
