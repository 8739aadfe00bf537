/* Where blobs come from, while the place does not answer: who waits, and who is told at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>

#include "lib/base/clock.h"
#include "lib/browse/blob_source.h"
#include "lib/repository/fetch.h"
#include "tests/unit/blob_contents.h"

#define BLOBS 3
#define TOLD_US 1000000 /* so long others are told what one was */

static struct fixture {
	struct repository_place place;
	struct content contents[BLOBS];
	struct blob_source *source;
	const struct objects_place *real;
	struct objects_place away;
	atomic_uint asked;
	atomic_bool is_away;
} fixture;

static int get_late(struct objects *objects, enum object_kind kind, const char *name, uint64_t offset, size_t len, void *out)
{
	atomic_fetch_add(&fixture.asked, 1);
	if (!atomic_load(&fixture.is_away))
		return fixture.real->get(objects, kind, name, offset, len, out);
	clock_pause_us(FETCH_LONG_US);
	return -ETIMEDOUT;
}

static int set_up(void **state)
{
	repository_place_make(&fixture.place);
	for (uint32_t i = 0; i < BLOBS; i++)
		content_make(&fixture.contents[i], i);
	contents_write(fixture.place.repository, fixture.contents, BLOBS);
	fixture.real = fixture.place.repository->objects->place;
	fixture.away = *fixture.real;
	fixture.away.get = get_late;
	fixture.place.repository->objects->place = &fixture.away;
	fixture.source = blob_source_repository(fixture.place.repository);
	return 0;
}

static int tear_down(void **state)
{
	blob_source_free(fixture.source);
	fixture.place.repository->objects->place = fixture.real;
	repository_place_clear(&fixture.place);
	return 0;
}

static int get(size_t number)
{
	AUTO_BUF plain = BUF_INIT;

	return fixture.source->get(fixture.source, &fixture.contents[number].id, false, &plain);
}

static void note(void *arg, size_t number, int result, const void *data, size_t len)
{
	((int *)arg)[number] = result;
}

/* All of them, from number `first` on. */
static void get_many(size_t first, int results[BLOBS])
{
	struct blob_id ids[BLOBS];

	for (size_t i = first; i < BLOBS; i++)
		ids[i - first] = fixture.contents[i].id;
	fixture.source->get_many(fixture.source, ids, BLOBS - first, note, results);
}

/* How often the place was asked by who comes after one that waited in vain. A machine that rests for so long that nobody is told any more tries again. */
static unsigned asked_after(void (*first)(void), void (*then)(void))
{
	uint64_t began;
	unsigned asked;

	do {
		first();
		began = clock_us();
		asked = atomic_load(&fixture.asked);
		then();
		asked = atomic_load(&fixture.asked) - asked;
	} while (asked > 0 && clock_us() - began >= TOLD_US + FETCH_LONG_US);
	return asked;
}

static void wait_for_one(void)
{
	atomic_store(&fixture.is_away, true);
	assert_int_equal(get(0), -ETIMEDOUT);
}

static void wait_for_all(void)
{
	int results[BLOBS] = {0};

	atomic_store(&fixture.is_away, true);
	get_many(0, results);
	for (size_t i = 0; i < BLOBS; i++)
		assert_int_equal(results[i], -ETIMEDOUT);
}

static void want_first(void)
{
	assert_int_equal(get(0), -ETIMEDOUT);
}

static void want_last(void)
{
	int results[BLOBS] = {0};

	get_many(BLOBS - 1, results);
	assert_int_equal(results[0], -ETIMEDOUT);
}

static void who_wants_the_same_does_not_wait_again(void **state)
{
	assert_int_equal(asked_after(wait_for_one, want_first), 0);
	assert_int_equal(asked_after(wait_for_all, want_first), 0);
	assert_int_equal(asked_after(wait_for_all, want_last), 0);
}

static void who_wants_another_one_asks(void **state)
{
	assert_int_equal(asked_after(wait_for_one, want_last), 1);
}

static void want_when_it_answers(void)
{
	atomic_store(&fixture.is_away, false);
	assert_int_equal(get(1), 0);
	assert_int_equal(get(0), 0);
}

static void place_that_answers_is_asked(void **state)
{
	assert_true(asked_after(wait_for_one, want_when_it_answers) >= 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(who_wants_the_same_does_not_wait_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(who_wants_another_one_asks, set_up, tear_down),
		cmocka_unit_test_setup_teardown(place_that_answers_is_asked, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
