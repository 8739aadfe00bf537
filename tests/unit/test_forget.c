/* Which backups the rules keep. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

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
		cmocka_unit_test(test_rules_add_up),
		cmocka_unit_test(test_datasets_are_looked_at_by_themselves),
		cmocka_unit_test(test_dataset_that_was_made_anew_is_another_one),
		cmocka_unit_test(test_incomplete_backup_takes_no_place),
		cmocka_unit_test(test_the_last_snapshot_stays_whatever_the_clock_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
