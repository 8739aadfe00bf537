/* A collector on a disk that has no room for one of the merges. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/dataset_store.h"

#define MIB (1U << 20)
#define FILES 3

static void put(struct place *place, unsigned number, unsigned char *data)
{
	struct view *view = open_head(place->store, "a");
	char name[16];

	snprintf(name, sizeof(name), "%u", number);
	fill_random(number + 1, data, 8 * MIB);
	write_file(view, ROOT_INO, name, 0, data, 8 * MIB);
	store_view_put(place->store, view);
	place_reopen(place);
}

static struct gc_progress run(struct place *place)
{
	const struct gc_options options = {0};
	struct gc_progress done;
	struct error err = {0};

	assert_int_equal(gc_run(place->store, &options, &done, &err), 0);
	return done;
}

/* Here and there, so that merges are needed, and no chunks in a row go as a whole. */
static void punch(struct place *place, unsigned number, unsigned char *data)
{
	struct view *view = open_head(place->store, "a");
	char name[16];

	snprintf(name, sizeof(name), "%u", number);
	fill_random(number + 100, data, 8 * MIB);
	for (size_t at = 0; at < 8 * MIB; at += MIB / 2)
		write_file(view, ROOT_INO, name, at, data, MIB / 4);
	store_view_put(place->store, view);
	place_reopen(place);
}

static void what_does_not_fit_keeps_nothing_else(void **state)
{
	unsigned char *data = xcalloc(8, MIB);
	struct place place;
	struct error err = {0};
	uint64_t before, between;

	place_init(&place);
	assert_int_equal(dataset_create(place.store, "a", 0755, 0, 0, 0, &err), 0);
	for (unsigned i = 0; i < FILES; i++)
		put(&place, i, data);
	for (unsigned i = 0; i < FILES; i++)
		punch(&place, i, data);
	before = kv_total_bytes(store_kv(place.store));
	assert_true(run(&place).no_room);
	between = kv_total_bytes(store_kv(place.store));
	assert_true(between + 4 * MIB < before);
	assert_true(gc_wanted(place.store));
	place_reopen(&place);
	assert_true(gc_wanted(place.store));
	assert_false(run(&place).no_room);
	assert_true(kv_total_bytes(store_kv(place.store)) < between);
	assert_false(gc_wanted(place.store));
	place_clear(&place);
	free(data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(what_does_not_fit_keeps_nothing_else)};

	/* the first table of three, and once more when the others have been written anew */
	setenv("CORPUSFS_FAULT", "kv-merge:enospc:1,kv-merge:enospc:4", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
