/* Snapshots by the clock: slots, what is due, what is kept. The clock is the test's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/dataset_store.h"

#include "lib/store/schedule.h"

#define HOUR 3600
#define DAY 86400
#define START 1767225600LL /* 2026-01-01 00:00:00 UTC, a Thursday */

struct ticked {
	unsigned taken, destroyed;
};

static void note(void *arg, const char *dataset, const char *snapshot, bool taken)
{
	struct ticked *ticked = arg;

	assert_non_null(dataset);
	assert_non_null(snapshot);
	ticked->taken += taken;
	ticked->destroyed += !taken;
}

static struct ticked tick(struct store *store, int64_t now)
{
	struct ticked ticked = {0};
	struct error err = {0};

	assert_int_equal(schedule_tick(store, now, note, &ticked, &err), 0);
	return ticked;
}

static void set(struct store *store, const char *dataset, unsigned hourly, unsigned daily, unsigned weekly, unsigned monthly)
{
	struct schedule schedule = {{hourly, daily, weekly, monthly}};
	struct error err = {0};

	assert_int_equal(schedule_set(store, dataset, &schedule, &err), 0);
}

static int count_one(void *arg, const struct snapshot_info *info)
{
	(void)info;
	(*(unsigned *)arg)++;
	return 0;
}

static unsigned count(struct store *store, const char *dataset)
{
	unsigned total = 0;

	assert_int_equal(snapshot_list(store, dataset, count_one, &total), 0);
	return total;
}

static bool exists(struct store *store, const char *name)
{
	struct snapshot_info info;
	int result = snapshot_get(store, "d", name, &info);

	if (result == 0)
		snapshot_info_clear(&info);
	return result == 0;
}

static int setup(void **state)
{
	struct place *place = xcalloc(1, sizeof(*place));
	struct error err = {0};

	place_init(place);
	assert_int_equal(dataset_create(place->store, "d", 0755, 0, 0, 1, &err), 0);
	*state = place;
	return 0;
}

static int teardown(void **state)
{
	struct place *place = *state;

	place_clear(place);
	free(place);
	return 0;
}

static void slots_are_those_of_the_calendar(void **state)
{
	(void)state;
	assert_int_equal(schedule_slot(SCHEDULE_HOURLY, START + HOUR) - schedule_slot(SCHEDULE_HOURLY, START + HOUR - 1), 1);
	assert_int_equal(schedule_slot(SCHEDULE_DAILY, START), schedule_slot(SCHEDULE_DAILY, START + DAY - 1));
	/* 2026-01-05 is a Monday */
	assert_int_equal(schedule_slot(SCHEDULE_WEEKLY, START), schedule_slot(SCHEDULE_WEEKLY, START + 4 * DAY - 1));
	assert_int_equal(schedule_slot(SCHEDULE_WEEKLY, START + 4 * DAY) - schedule_slot(SCHEDULE_WEEKLY, START), 1);
	assert_int_equal(schedule_slot(SCHEDULE_MONTHLY, START) - schedule_slot(SCHEDULE_MONTHLY, START - 1), 1);
	assert_int_equal(schedule_slot(SCHEDULE_MONTHLY, START), schedule_slot(SCHEDULE_MONTHLY, START + 31 * DAY - 1));
	assert_int_equal(schedule_slot(SCHEDULE_DAILY, 0) - schedule_slot(SCHEDULE_DAILY, -1), 1);
}

static void a_schedule_is_kept_as_it_was_set(void **state)
{
	struct place *place = *state;
	struct schedule schedule;
	struct dataset_info info;
	struct error err = {0};

	set(place->store, "d", 24, 7, 0, 12);
	place_reopen(place);
	assert_int_equal(schedule_get(place->store, "d", &schedule, &err), 0);
	assert_int_equal(schedule.keep[SCHEDULE_HOURLY], 24);
	assert_int_equal(schedule.keep[SCHEDULE_DAILY], 7);
	assert_int_equal(schedule.keep[SCHEDULE_WEEKLY], 0);
	assert_int_equal(schedule.keep[SCHEDULE_MONTHLY], 12);
	assert_int_equal(dataset_get(place->store, "d", &info), 0);
	assert_string_equal(info.schedule, "{\"hourly\":24,\"daily\":7,\"monthly\":12}");
	set(place->store, "d", 0, 0, 0, 0);
	assert_int_equal(dataset_get(place->store, "d", &info), 0);
	assert_string_equal(info.schedule, "");
	assert_int_equal(schedule_get(place->store, "none", &schedule, &err), -ENOENT);
	assert_int_equal(schedule_decode("[1]", &schedule), -EBADMSG);
	assert_int_equal(schedule_decode("{", &schedule), -EBADMSG);
}

static void two_ticks_in_a_row_take_one(void **state)
{
	struct place *place = *state;

	assert_int_equal(tick(place->store, START).taken, 0);
	set(place->store, "d", 3, 2, 0, 0);
	assert_int_equal(tick(place->store, START + 10).taken, 2);
	assert_int_equal(tick(place->store, START + 70).taken, 0);
	assert_true(exists(place->store, "auto-hourly-20260101T000010Z"));
	assert_true(exists(place->store, "auto-daily-20260101T000010Z"));
	place_reopen(place);
	assert_int_equal(tick(place->store, START + HOUR - 1).taken, 0);
	assert_int_equal(tick(place->store, START + HOUR).taken, 1);
}

static void missed_slots_are_made_up_for_by_one(void **state)
{
	struct place *place = *state;

	set(place->store, "d", 24, 0, 0, 0);
	assert_int_equal(tick(place->store, START).taken, 1);
	assert_int_equal(tick(place->store, START + 9 * HOUR).taken, 1);
	assert_int_equal(count(place->store, "d"), 2);
}

static void only_so_many_are_kept_the_newest(void **state)
{
	struct place *place = *state;
	struct ticked ticked = {0};

	set(place->store, "d", 3, 0, 0, 0);
	for (int i = 0; i < 6; i++)
		ticked = tick(place->store, START + i * HOUR);
	assert_int_equal(ticked.destroyed, 1);
	assert_int_equal(count(place->store, "d"), 3);
	assert_false(exists(place->store, "auto-hourly-20260101T020000Z"));
	assert_true(exists(place->store, "auto-hourly-20260101T030000Z"));
	assert_true(exists(place->store, "auto-hourly-20260101T050000Z"));
}

static void others_and_held_ones_are_never_destroyed(void **state)
{
	struct place *place = *state;
	struct snapshot_name mine = {"d", "auto-hourly-20250101T000000Z"}, named = {"d", "v1"};
	struct error err = {0};

	assert_int_equal(snapshot_create(place->store, &mine, 1, "", 0, &err), 0);
	assert_int_equal(snapshot_create(place->store, &named, 1, "", 0, &err), 0);
	set(place->store, "d", 1, 0, 0, 0);
	tick(place->store, START);
	assert_int_equal(snapshot_hold(place->store, "d", "auto-hourly-20260101T000000Z", "paper", &err), 0);
	tick(place->store, START + HOUR);
	assert_int_equal(snapshot_rename(place->store, &(struct snapshot_name){.dataset = "d", .name = "auto-hourly-20260101T010000Z"}, "kept", &err), 0);
	for (int i = 2; i < 6; i++)
		tick(place->store, START + i * HOUR);
	assert_true(exists(place->store, "auto-hourly-20250101T000000Z"));
	assert_true(exists(place->store, "v1"));
	assert_true(exists(place->store, "kept"));
	assert_true(exists(place->store, "auto-hourly-20260101T000000Z"));
	assert_true(exists(place->store, "auto-hourly-20260101T050000Z"));
	assert_int_equal(count(place->store, "d"), 5);
}

static void turning_it_off_leaves_what_there_is(void **state)
{
	struct place *place = *state;

	set(place->store, "d", 2, 2, 0, 0);
	tick(place->store, START);
	set(place->store, "d", 0, 0, 0, 0);
	assert_int_equal(tick(place->store, START + DAY).destroyed, 0);
	assert_int_equal(count(place->store, "d"), 2);
}

static void one_bad_schedule_does_not_stop_the_others(void **state)
{
	struct place *place = *state;
	struct ticked ticked = {0};
	struct error err = {0};

	assert_int_equal(dataset_create(place->store, "a", 0755, 0, 0, 1, &err), 0);
	assert_int_equal(dataset_set_schedule(place->store, "a", "nonsense", &err), 0);
	set(place->store, "d", 1, 0, 0, 0);
	assert_int_equal(schedule_tick(place->store, START, note, &ticked, &err), -EBADMSG);
	assert_int_equal(ticked.taken, 1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slots_are_those_of_the_calendar),
		TEST(a_schedule_is_kept_as_it_was_set),
		TEST(two_ticks_in_a_row_take_one),
		TEST(missed_slots_are_made_up_for_by_one),
		TEST(only_so_many_are_kept_the_newest),
		TEST(others_and_held_ones_are_never_destroyed),
		TEST(turning_it_off_leaves_what_there_is),
		TEST(one_bad_schedule_does_not_stop_the_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
