/* Room for what is pinned in the cache of blobs on a local disk: which segments go for it, and what is moved out of them before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <dlfcn.h>

#include "tests/unit/cached_pins.h"

/* Of blobs that are so long, so many fill a segment. */
#define EVEN 7900
#define IN_SEGMENT 16

static void make_even(struct content *content, uint32_t number, size_t len)
{
	memset(content->bytes, 0, len);
	memcpy(content->bytes, &number, MIN(len, sizeof(number)));
	content->len = len;
	content->id = blob_id_of(content->bytes, len);
}

static void put_even(struct fixture *fixture, uint32_t from, uint32_t to)
{
	struct content content;

	for (uint32_t i = from; i < to; i++) {
		make_even(&content, i, EVEN);
		disk_cache_put(fixture->cache, &content.id, false, content.bytes, content.len);
	}
}

static bool has_even(struct fixture *fixture, uint32_t number)
{
	struct content content;

	make_even(&content, number, EVEN);
	return disk_cache_has(fixture->cache, &content.id, false);
}

static void add_even(struct pin_entries *entries, uint32_t number, size_t len)
{
	struct content content;

	make_even(&content, number, len);
	array_add(entries, (struct pin_entry){segment_key(&content.id), (uint32_t)len});
}

static int pin_entries(struct fixture *fixture, const char *path, struct pin_entries *entries)
{
	const struct pin pin = {.path = (char *)path, .files = 1, .backup = {.bytes = {7}}};
	const int r = disk_cache_pin(fixture->cache, &pin, entries);

	array_clear(entries);
	return r;
}

/* A cache that is full, of which 14 of 16 blobs are pinned in each segment. */
static void pin_most(struct fixture *fixture)
{
	struct pin_entries entries = {0};

	put_even(fixture, 0, 600);
	for (uint32_t i = 0; i < 600; i++)
		if (i % 8 != 0 && has_even(fixture, i))
			add_even(&entries, i, EVEN);
	assert_true(entries.count > 400);
	assert_int_equal(pin_entries(fixture, "/most", &entries), 0);
	assert_int_equal(missing(fixture->cache, "/most"), 0);
}

static void pin_that_comes_has_room_in_segments_that_are_mostly_pinned(void **state)
{
	struct fixture *fixture = *state;
	struct pin_entries entries = {0};

	pin_most(fixture);
	for (uint32_t i = 1000; i < 1012; i++)
		add_even(&entries, i, EVEN);
	assert_int_equal(pin_entries(fixture, "/more", &entries), 0);
	put_even(fixture, 1000, 1012);
	assert_int_equal(disk_cache_state(fixture->cache).pinned_missing, 0);
	assert_true(each_file(fixture, NULL) <= LIMIT);
	assert_int_equal(atomic_load(&fixture->problems), 0);
}

/* Of short ones the table takes a third of the segment, which moving them does not make smaller. */
static void segment_of_short_blobs_that_are_pinned_is_not_moved_for_ever(void **state)
{
	struct fixture *fixture = *state;
	struct pin_entries entries = {0};
	struct content content;

	for (uint32_t i = 0; i < 4 * IN_SEGMENT; i++)
		add_even(&entries, i, 1);
	assert_int_equal(pin_entries(fixture, "/short", &entries), 0);
	for (uint32_t i = 0; i < 4 * IN_SEGMENT; i++) {
		make_even(&content, i, 1);
		disk_cache_put(fixture->cache, &content.id, false, content.bytes, content.len);
	}
	pin_most(fixture);
	put_even(fixture, 2000, 2100);
	assert_int_equal(missing(fixture->cache, "/short"), 0);
	assert_int_equal(missing(fixture->cache, "/most"), 0);
}

/* --- what is moved --- */

static const struct fixture *watched; /* whose segments go */
static uint64_t largest;             /* what its files were together when one went */
static unsigned syncs, went, went_early; /* early: without a sync since the one before */

int fdatasync(int fd)
{
	syncs++;
	return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd);
}

int unlinkat(int dir, const char *name, int flags)
{
	if (watched && strlen(name) == 8) {
		largest = MAX(largest, each_file(watched, NULL));
		went++;
		went_early += syncs == 0;
		syncs = 0;
	}
	return ((int (*)(int, const char *, int))dlsym(RTLD_NEXT, "unlinkat"))(dir, name, flags);
}

/* In each segment something is pinned. */
static void what_is_moved_is_on_the_disk_before_its_old_place_goes_and_has_room(void **state)
{
	struct fixture *fixture = *state;
	struct pin_entries entries = {0};

	put_even(fixture, 0, 600);
	for (uint32_t i = 0; i < 600; i += IN_SEGMENT)
		if (has_even(fixture, i))
			add_even(&entries, i, EVEN);
	assert_true(entries.count > 20);
	assert_int_equal(pin_entries(fixture, "/a", &entries), 0);
	watched = fixture;
	syncs = 0;
	put_even(fixture, 1000, 1200);
	watched = NULL;
	assert_true(went > 10);
	assert_int_equal(went_early, 0);
	assert_true(largest <= LIMIT);
	assert_int_equal(missing(fixture->cache, "/a"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(pin_that_comes_has_room_in_segments_that_are_mostly_pinned, set_up, tear_down),
		cmocka_unit_test_setup_teardown(segment_of_short_blobs_that_are_pinned_is_not_moved_for_ever, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_moved_is_on_the_disk_before_its_old_place_goes_and_has_room, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
