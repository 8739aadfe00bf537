/* Which backup is due when, and when somebody should look. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "lib/backup/backup_schedule.h"
#include "lib/repository/process_json.h"

#define NOON 1767960000LL /* Friday, 2026-01-09, 12:00 UTC */
#define HOUR 3600LL
#define DAY (24 * HOUR)

static json_t *entry_of(const char *text)
{
	json_t *entry = json_loads(text, 0, NULL);

	assert_non_null(entry);
	return entry;
}

static void set_done(json_t *entry, const char *kind, int64_t at)
{
	json_object_set_new(json_object_get(entry, "done"), kind, json_pack("{s:I, s:I, s:n}", "time", (json_int_t)at, "tried", (json_int_t)at, "failure"));
}

static void set_failed(json_t *entry, const char *kind, int64_t at)
{
	json_t *done = json_object_get(json_object_get(entry, "done"), kind);

	if (!done) {
		done = json_object();
		json_object_set_new(json_object_get(entry, "done"), kind, done);
	}
	json_object_set_new(done, "tried", json_integer((json_int_t)at));
	json_object_set_new(done, "failure", json_string("no"));
}

static int due(const json_t *entry, int64_t now)
{
	enum backup_kind kind;

	return backup_schedule_due(entry, now, &kind) ? (int)kind : -1;
}

static void the_first_backup_is_full_and_counts_for_all(void **state)
{
	json_t *entry = entry_of("{\"every\":{\"full\":\"weekly\",\"differential\":\"daily\",\"incremental\":\"hourly\"},\"done\":{}}");

	assert_int_equal(due(entry, NOON), BACKUP_KIND_FULL);
	set_done(entry, "full", NOON);
	assert_int_equal(due(entry, NOON), -1);
	assert_int_equal(due(entry, NOON + HOUR), BACKUP_KIND_INCREMENTAL);
	set_done(entry, "incremental", NOON + HOUR);
	assert_int_equal(due(entry, NOON + HOUR), -1);
	assert_int_equal(due(entry, NOON + DAY), BACKUP_KIND_DIFFERENTIAL);
	set_done(entry, "differential", NOON + DAY);
	assert_int_equal(due(entry, NOON + DAY), -1);
	assert_int_equal(due(entry, NOON + 3 * DAY), BACKUP_KIND_FULL); /* Monday */
	json_decref(entry);
}

static void without_a_full_one_an_incremental_one_is_full(void **state)
{
	json_t *entry = entry_of("{\"every\":{\"incremental\":\"daily\"},\"done\":{}}");

	assert_int_equal(due(entry, NOON), BACKUP_KIND_FULL);
	set_done(entry, "full", NOON);
	assert_int_equal(due(entry, NOON + HOUR), -1);
	assert_int_equal(due(entry, NOON + DAY), BACKUP_KIND_INCREMENTAL);
	json_decref(entry);
}

static void a_first_one_that_fails_is_late_for_the_kind_that_is_planned(void **state)
{
	json_t *entry = entry_of("{\"every\":{\"incremental\":\"daily\"},\"done\":{}}");

	assert_int_equal(backup_schedule_made_for(entry, BACKUP_KIND_INCREMENTAL), BACKUP_KIND_FULL);
	assert_false(backup_schedule_late(entry, BACKUP_KIND_INCREMENTAL, NOON));
	set_failed(entry, "full", NOON);
	assert_true(backup_schedule_late(entry, BACKUP_KIND_INCREMENTAL, NOON));
	set_done(entry, "full", NOON + 1);
	assert_false(backup_schedule_late(entry, BACKUP_KIND_INCREMENTAL, NOON + 1));
	assert_int_equal(backup_schedule_made_for(entry, BACKUP_KIND_INCREMENTAL), BACKUP_KIND_INCREMENTAL);
	assert_int_equal(backup_schedule_made_for(entry, BACKUP_KIND_DRILL), BACKUP_KIND_DRILL);
	json_decref(entry);
}

/* By this process, and of this it is said otherwise. */
static void set_begun(json_t *entry, const char *kind, int64_t at, const char *key, json_t *value)
{
	json_t *begun = json_pack("{s:I}", "time", (json_int_t)at);

	process_json_set(begun, getpid());
	if (key)
		json_object_set_new(begun, key, value);
	json_object_set_new(json_object_get(entry, "done"), kind, json_pack("{s:o}", "begun", begun));
}

static void what_was_begun_is_running_or_interrupted(void **state)
{
	json_t *entry = entry_of("{\"every\":{\"full\":\"weekly\"},\"done\":{}}");
	int64_t begun;

	assert_int_equal(backup_schedule_state(entry, BACKUP_KIND_FULL, &begun), BACKUP_IDLE);
	set_begun(entry, "full", NOON, NULL, NULL);
	assert_int_equal(backup_schedule_state(entry, BACKUP_KIND_FULL, &begun), BACKUP_RUNNING);
	assert_int_equal(begun, NOON);
	/* Another process has its number now; or, after a boot, even its time of start. */
	set_begun(entry, "full", NOON, "started", json_integer(1));
	assert_int_equal(backup_schedule_state(entry, BACKUP_KIND_FULL, &begun), BACKUP_INTERRUPTED);
	set_begun(entry, "full", NOON, "place", json_string("75e7b4e6-1d3c-4b9f-9d09-3f1d6f1e7c55/4026531836/4026531834"));
	assert_int_equal(backup_schedule_state(entry, BACKUP_KIND_FULL, &begun), BACKUP_INTERRUPTED);
	assert_int_equal(due(entry, NOON), BACKUP_KIND_FULL);
	/* One by hand was made since. */
	json_object_set_new(json_object_get(json_object_get(entry, "done"), "full"), "time", json_integer(NOON + 1));
	assert_int_equal(backup_schedule_state(entry, BACKUP_KIND_FULL, &begun), BACKUP_IDLE);
	json_decref(entry);
}

/* Of a slot that was served at its begin and missed since, and of intervals of all lengths. */
static void what_is_late_does_not_hang_on_the_day_of_the_week(void **state)
{
	static const struct { const char *every; int64_t grace; } kinds[] = {
		{"hourly", HOUR + HOUR / 2}, {"daily", 36 * HOUR}, {"weekly", 10 * DAY + 12 * HOUR}, {"monthly", 46 * DAY + 12 * HOUR},
	};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		for (int64_t done = NOON; done < NOON + 7 * DAY; done += 11 * HOUR) {
			json_t *entry = entry_of("{\"every\":{\"full\":\"monthly\"},\"done\":{}}");

			json_object_set_new(json_object_get(entry, "every"), "drill", json_string(kinds[i].every));
			set_done(entry, "drill", done);
			assert_false(backup_schedule_late(entry, BACKUP_KIND_DRILL, done + kinds[i].grace));
			assert_true(backup_schedule_late(entry, BACKUP_KIND_DRILL, done + kinds[i].grace + 1));
			json_decref(entry);
		}
}

static void drills_wait_for_a_backup(void **state)
{
	json_t *entry = entry_of("{\"every\":{\"full\":\"monthly\",\"drill\":\"weekly\"},\"done\":{}}");

	assert_int_equal(due(entry, NOON), BACKUP_KIND_FULL);
	set_done(entry, "full", NOON);
	assert_int_equal(due(entry, NOON), BACKUP_KIND_DRILL);
	set_done(entry, "drill", NOON);
	assert_int_equal(due(entry, NOON), -1);
	assert_int_equal(due(entry, NOON + 3 * DAY), BACKUP_KIND_DRILL);
	json_decref(entry);
}

static void what_failed_is_tried_again_later(void **state)
{
	json_t *entry = entry_of("{\"every\":{\"full\":\"daily\",\"drill\":\"weekly\"},\"done\":{}}");

	set_failed(entry, "full", NOON);
	assert_int_equal(due(entry, NOON + BACKUP_RETRY - 1), -1);
	assert_int_equal(due(entry, NOON + BACKUP_RETRY), BACKUP_KIND_FULL);
	/* a clock that was set back does not stop it */
	assert_int_equal(due(entry, NOON - DAY), BACKUP_KIND_FULL);
	json_decref(entry);
}

static void what_is_late_is_told(void **state)
{
	json_t *entry = entry_of("{\"every\":{\"full\":\"weekly\",\"incremental\":\"daily\"},\"done\":{}}");

	assert_false(backup_schedule_late(entry, BACKUP_KIND_FULL, NOON)); /* has just been planned */
	set_done(entry, "full", NOON);
	set_done(entry, "incremental", NOON + DAY);
	assert_false(backup_schedule_late(entry, BACKUP_KIND_INCREMENTAL, NOON + 2 * DAY + 12 * HOUR));
	assert_true(backup_schedule_late(entry, BACKUP_KIND_INCREMENTAL, NOON + 2 * DAY + 12 * HOUR + 1));
	assert_false(backup_schedule_late(entry, BACKUP_KIND_FULL, NOON + 10 * DAY + 12 * HOUR));
	assert_true(backup_schedule_late(entry, BACKUP_KIND_FULL, NOON + 10 * DAY + 12 * HOUR + 1));
	assert_false(backup_schedule_late(entry, BACKUP_KIND_FULL, NOON - 100 * DAY)); /* a clock that was set back */
	set_failed(entry, "full", NOON + DAY);
	assert_true(backup_schedule_late(entry, BACKUP_KIND_FULL, NOON + DAY));
	json_decref(entry);
}

static void what_was_never_done_is_late_by_when_it_was_planned(void **state)
{
	json_t *entry = entry_of("{\"every\":{\"full\":\"weekly\",\"incremental\":\"daily\",\"drill\":\"daily\"},\"done\":{}}");

	assert_false(backup_schedule_late(entry, BACKUP_KIND_INCREMENTAL, NOON + 100 * DAY)); /* nobody knows since when */
	json_object_set_new(entry, "since", json_pack("{s:I, s:I, s:I}", "full", (json_int_t)NOON, "incremental", (json_int_t)NOON, "drill",
	                                              (json_int_t)(NOON + DAY)));
	assert_false(backup_schedule_late(entry, BACKUP_KIND_INCREMENTAL, NOON + DAY));
	assert_true(backup_schedule_late(entry, BACKUP_KIND_INCREMENTAL, NOON + 2 * DAY));
	assert_false(backup_schedule_late(entry, BACKUP_KIND_DRILL, NOON + 2 * DAY));
	assert_true(backup_schedule_late(entry, BACKUP_KIND_DRILL, NOON + 3 * DAY));
	assert_false(backup_schedule_late(entry, BACKUP_KIND_FULL, NOON + 10 * DAY));
	assert_true(backup_schedule_late(entry, BACKUP_KIND_FULL, NOON + 11 * DAY));
	set_done(entry, "full", NOON + DAY); /* it counts for the lower ones */
	assert_false(backup_schedule_late(entry, BACKUP_KIND_INCREMENTAL, NOON + 2 * DAY));
	json_decref(entry);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_backup_is_full_and_counts_for_all),
		cmocka_unit_test(without_a_full_one_an_incremental_one_is_full),
		cmocka_unit_test(a_first_one_that_fails_is_late_for_the_kind_that_is_planned),
		cmocka_unit_test(what_was_begun_is_running_or_interrupted),
		cmocka_unit_test(what_is_late_does_not_hang_on_the_day_of_the_week),
		cmocka_unit_test(drills_wait_for_a_backup),
		cmocka_unit_test(what_failed_is_tried_again_later),
		cmocka_unit_test(what_is_late_is_told),
		cmocka_unit_test(what_was_never_done_is_late_by_when_it_was_planned),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
