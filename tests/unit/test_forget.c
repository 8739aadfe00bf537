/* Which backups the rules keep. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <cmocka.h>

#include "lib/backup/forget.h"

#define HOUR 3600
#define DAY (24 * HOUR)

static struct snapshot_files history(size_t count, int64_t step)
{
	struct snapshot_files files = {0};

	for (size_t i = 0; i < count; i++) {
		struct snapshot_file file = {.time = {1700006400 + (int64_t)i * step, 0}, .host = xstrdup("h"), .user = xstrdup("u")};

		array_add(&file.paths, xstrdup("/d"));
		array_add(&files, file);
	}
	return files;
}

static size_t kept(const struct keep_rules *rules, const struct snapshot_files *files, bool *keeps)
{
	size_t count = 0;

	forget_apply(rules, files, keeps);
	for (size_t i = 0; i < files->count; i++)
		count += keeps[i];
	return count;
}

static void test_the_newest_stay(void **state)
{
	struct snapshot_files files = history(10, HOUR);
	bool keeps[10];

	assert_int_equal(kept(&(struct keep_rules){.last = 3}, &files, keeps), 3);
	assert_true(keeps[9] && keeps[8] && keeps[7] && !keeps[6]);
	assert_int_equal(kept(&(struct keep_rules){.last = 30}, &files, keeps), 10);
	snapshot_files_clear(&files);
}

static void test_of_each_day_the_newest_stays(void **state)
{
	struct snapshot_files files = history(96, HOUR); /* four days from midnight on */
	bool keeps[96];

	assert_int_equal(kept(&(struct keep_rules){.daily = 3}, &files, keeps), 3);
	assert_true(keeps[95] && keeps[71] && keeps[47]);
	snapshot_files_clear(&files);
}

/* "YYYY-MM-DD HH:MM", oldest first. */
static struct snapshot_files history_at(const char *const *times, size_t count)
{
	struct snapshot_files files = history(count, 0);

	for (size_t i = 0; i < count; i++) {
		struct tm tm = {0};
		const char *end = strptime(times[i], "%Y-%m-%d %H:%M", &tm);

		assert_true(end && !*end);
		files.items[i].time.tv_sec = timegm(&tm);
		assert_true(i == 0 || files.items[i].time.tv_sec > files.items[i - 1].time.tv_sec);
	}
	return files;
}

/* `wanted`: a digit for each one that stays. */
static void check_kept(const struct keep_rules *rules, const struct snapshot_files *files, const char *wanted)
{
	char found[11] = "";
	size_t length = 0;
	bool keeps[10];

	assert_true(files->count <= 10);
	forget_apply(rules, files, keeps);
	for (size_t i = 0; i < files->count; i++)
		if (keeps[i])
			found[length++] = (char)('0' + i);
	assert_string_equal(found, wanted);
}

static void test_of_each_hour_the_newest_stays(void **state)
{
	static const char *const times[] = {"2021-03-01 10:00", "2021-03-01 10:59", "2021-03-01 11:00", "2021-03-01 11:30", "2021-03-02 11:15"};
	struct snapshot_files files = history_at(times, ARRAY_SIZE(times));

	check_kept(&(struct keep_rules){.hourly = 1}, &files, "4");
	check_kept(&(struct keep_rules){.hourly = 2}, &files, "34");
	check_kept(&(struct keep_rules){.hourly = 3}, &files, "134");
	check_kept(&(struct keep_rules){.hourly = 9}, &files, "134");
	snapshot_files_clear(&files);
}

/* Of ISO 8601: a week belongs to the year in which its Thursday is. */
static void test_of_each_week_the_newest_stays_also_where_a_year_ends_in_it(void **state)
{
	static const char *const long_year[] = {
		"2020-12-20 12:00", /* Sunday, week 51 */
		"2020-12-27 23:00", /* Sunday, 52 */
		"2020-12-28 01:00", /* Monday, 53 of 2020, to 2021-01-03 */
		"2020-12-31 23:00", "2021-01-01 00:00", "2021-01-03 23:59",
		"2021-01-04 00:00", /* Monday, week 1 of 2021 */
		"2021-01-10 12:00", "2021-01-11 00:00",
	};
	static const char *const others[] = {
		"2018-12-30 00:00", /* Sunday, week 52 of 2018 */
		"2018-12-31 00:00", /* Monday, week 1 of 2019 */
		"2019-01-06 00:00", /* the same */
		"2019-12-29 00:00", /* Sunday, week 52 of 2019 */
		"2019-12-30 00:00", /* Monday, week 1 of 2020 */
		"2020-01-01 00:00",
	};
	struct snapshot_files files = history_at(long_year, ARRAY_SIZE(long_year));

	check_kept(&(struct keep_rules){.weekly = 1}, &files, "8");
	check_kept(&(struct keep_rules){.weekly = 3}, &files, "578");
	check_kept(&(struct keep_rules){.weekly = 4}, &files, "1578");
	check_kept(&(struct keep_rules){.weekly = 5}, &files, "01578");
	snapshot_files_clear(&files);
	files = history_at(others, ARRAY_SIZE(others));
	check_kept(&(struct keep_rules){.weekly = 2}, &files, "35");
	check_kept(&(struct keep_rules){.weekly = 3}, &files, "235");
	check_kept(&(struct keep_rules){.weekly = 4}, &files, "0235");
	snapshot_files_clear(&files);
}

static void test_of_each_year_the_newest_stays(void **state)
{
	static const char *const times[] = {"2018-06-01 00:00", "2018-12-31 23:59", "2019-01-01 00:00", "2019-12-30 00:00", "2020-01-01 00:00",
	                                    "2020-02-02 00:00"};
	struct snapshot_files files = history_at(times, ARRAY_SIZE(times));

	check_kept(&(struct keep_rules){.yearly = 1}, &files, "5");
	check_kept(&(struct keep_rules){.yearly = 2}, &files, "35");
	check_kept(&(struct keep_rules){.yearly = 3}, &files, "135");
	check_kept(&(struct keep_rules){.yearly = 9}, &files, "135");
	check_kept(&(struct keep_rules){.hourly = 2, .yearly = 2}, &files, "345");
	snapshot_files_clear(&files);
}

static void test_rules_add_up(void **state)
{
	struct snapshot_files files = history(400, DAY);
	bool keeps[400];

	assert_int_equal(kept(&(struct keep_rules){.daily = 7}, &files, keeps), 7);
	assert_int_equal(kept(&(struct keep_rules){.monthly = 6}, &files, keeps), 6);
	/* The newest of the month is among the seven days. */
	assert_true(kept(&(struct keep_rules){.daily = 7, .monthly = 6, .yearly = 2}, &files, keeps) <= 13);
	assert_true(keeps[399]);
	snapshot_files_clear(&files);
}

static void test_datasets_are_looked_at_by_themselves(void **state)
{
	struct snapshot_files files = history(4, HOUR);
	bool keeps[4];

	free(files.items[0].paths.items[0]);
	files.items[0].paths.items[0] = xstrdup("/other");
	assert_int_equal(kept(&(struct keep_rules){.last = 1}, &files, keeps), 2);
	assert_true(keeps[0] && keeps[3]);
	snapshot_files_clear(&files);
}

static void tag(struct snapshot_file *file, const char *text)
{
	array_add(&file->tags, xstrdup(text));
}

static void test_dataset_that_was_made_anew_is_another_one(void **state)
{
	struct snapshot_files files = history(4, HOUR);
	bool keeps[4];

	for (size_t i = 0; i < 4; i++)
		tag(&files.items[i], i < 2 ? "dataset-id=s/1" : "dataset-id=s/2");
	assert_int_equal(kept(&(struct keep_rules){.last = 1}, &files, keeps), 2);
	assert_true(keeps[1] && keeps[3]);
	snapshot_files_clear(&files);
}

static void test_incomplete_backup_takes_no_place(void **state)
{
	struct snapshot_files files = history(96, HOUR);
	bool keeps[96];

	tag(&files.items[95], "incomplete");
	tag(&files.items[94], "incomplete");
	assert_int_equal(kept(&(struct keep_rules){.last = 2}, &files, keeps), 4);
	assert_true(keeps[95] && keeps[94] && keeps[93] && keeps[92]);
	assert_int_equal(kept(&(struct keep_rules){.daily = 2}, &files, keeps), 4);
	assert_true(keeps[95] && keeps[94] && keeps[93] && keeps[71]);
	/* An older one of a period that has a complete one goes. */
	tag(&files.items[90], "incomplete");
	assert_int_equal(kept(&(struct keep_rules){.daily = 2}, &files, keeps), 4);
	snapshot_files_clear(&files);
}

/* The first one was made when the clock was right; by the others' times it is the oldest. */
static void test_the_last_snapshot_stays_whatever_the_clock_said(void **state)
{
	static const char *const views[] = {"view=9", "view=6", "view=7", "view=8"};
	struct snapshot_files files = history(4, DAY);
	bool keeps[4];

	for (size_t i = 0; i < 4; i++)
		tag(&files.items[i], views[i]);
	assert_int_equal(kept(&(struct keep_rules){.last = 1}, &files, keeps), 2);
	assert_true(keeps[0] && keeps[3]);
	assert_int_equal(kept(&(struct keep_rules){.daily = 4}, &files, keeps), 4);
	assert_int_equal(kept(&(struct keep_rules){0}, &files, keeps), 0);
	tag(&files.items[0], "incomplete");
	assert_int_equal(kept(&(struct keep_rules){.last = 1}, &files, keeps), 1);
	snapshot_files_clear(&files);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_newest_stay),
		cmocka_unit_test(test_of_each_day_the_newest_stays),
		cmocka_unit_test(test_of_each_hour_the_newest_stays),
		cmocka_unit_test(test_of_each_week_the_newest_stays_also_where_a_year_ends_in_it),
		cmocka_unit_test(test_of_each_year_the_newest_stays),
		cmocka_unit_test(test_rules_add_up),
		cmocka_unit_test(test_datasets_are_looked_at_by_themselves),
		cmocka_unit_test(test_dataset_that_was_made_anew_is_another_one),
		cmocka_unit_test(test_incomplete_backup_takes_no_place),
		cmocka_unit_test(test_the_last_snapshot_stays_whatever_the_clock_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
