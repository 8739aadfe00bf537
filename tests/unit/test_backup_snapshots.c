/* The snapshots that backups take: which of them go, and when. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/backup/backup_snapshots.h"
#include "tests/unit/dataset_store.h"

#define REPOSITORY "0123456789abcdef"

static void take(struct store *store, char name[NAME_LEN_MAX + 1])
{
	const char *const dataset = "d";
	struct error err = {0};

	assert_int_equal(backup_snapshots_take(store, &dataset, 1, REPOSITORY, name, &err), 0);
	usleep(2000); /* names are times, in milliseconds */
}

static bool is_there(struct store *store, const char *name)
{
	struct snapshot_info info;
	int r = snapshot_get(store, "d", name, &info);

	if (r == 0)
		snapshot_info_clear(&info);
	return r == 0;
}

static void begin(struct place *place)
{
	struct error err = {0};

	place_init(place);
	assert_int_equal(dataset_create(place->store, "d", 0755, 0, 0, 0, &err), 0);
}

static void test_snapshot_of_a_backup_that_is_not_done_stays(void **state)
{
	char full[NAME_LEN_MAX + 1], old[NAME_LEN_MAX + 1], last[NAME_LEN_MAX + 1], other[NAME_LEN_MAX + 1];
	struct error err = {0};
	struct place place;

	begin(&place);
	take(place.store, full);
	take(place.store, old);
	take(place.store, last);
	take(place.store, other); /* begun beside the one that took `last`, and still at work */
	assert_int_equal(backup_snapshots_drop(place.store, "d", REPOSITORY, last, full, &err), 0);
	assert_true(is_there(place.store, full) && is_there(place.store, last) && is_there(place.store, other));
	assert_false(is_there(place.store, old));
	place_clear(&place);
}

static void test_snapshot_that_others_need_goes_with_the_next_backup(void **state)
{
	char held[NAME_LEN_MAX + 1], read[NAME_LEN_MAX + 1], last[NAME_LEN_MAX + 1];
	struct error err = {0};
	struct place place;
	struct view *view;

	begin(&place);
	take(place.store, held);
	take(place.store, read);
	take(place.store, last);
	assert_int_equal(snapshot_hold(place.store, "d", held, "other", &err), 0);
	assert_int_equal(store_snapshot(place.store, "d", read, &view), 0);
	assert_int_equal(backup_snapshots_drop(place.store, "d", REPOSITORY, last, "", &err), 0);
	assert_true(is_there(place.store, held) && is_there(place.store, read));
	assert_int_equal(snapshot_release(place.store, "d", held, "other", &err), 0);
	store_view_put(place.store, view);
	assert_int_equal(backup_snapshots_drop(place.store, "d", REPOSITORY, last, "", &err), 0);
	assert_false(is_there(place.store, held) || is_there(place.store, read));
	place_clear(&place);
}

static void test_snapshot_that_could_not_be_held_goes(void **state)
{
	const struct snapshot_name name = {.dataset = "d", .name = "backup-now"};
	struct error err = {0};
	struct place place;

	begin(&place);
	assert_int_equal(snapshot_create(place.store, &name, 1, "", 0, &err), 0);
	backup_snapshots_drop_one(place.store, "d", REPOSITORY, "backup-now");
	assert_false(is_there(place.store, "backup-now"));
	place_clear(&place);
}

static void *take_many(void *arg)
{
	const char *const dataset = "d";
	char name[NAME_LEN_MAX + 1];
	struct error err = {0};
	intptr_t failed = 0;

	for (size_t i = 0; i < 100; i++)
		failed += backup_snapshots_take(arg, &dataset, 1, REPOSITORY, name, &err) < 0;
	return (void *)failed;
}

static void test_backups_that_are_begun_in_the_same_millisecond_do_not_hinder_each_other(void **state)
{
	pthread_t other;
	struct place place;
	void *failed;

	begin(&place);
	assert_int_equal(pthread_create(&other, NULL, take_many, place.store), 0);
	assert_null(take_many(place.store));
	assert_int_equal(pthread_join(other, &failed), 0);
	assert_null(failed);
	place_clear(&place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_snapshot_of_a_backup_that_is_not_done_stays),
		cmocka_unit_test(test_snapshot_that_others_need_goes_with_the_next_backup),
		cmocka_unit_test(test_snapshot_that_could_not_be_held_goes),
		cmocka_unit_test(test_backups_that_are_begun_in_the_same_millisecond_do_not_hinder_each_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
