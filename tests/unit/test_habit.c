#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "fs/fuse/group/habit.h"

static void read_some(struct habit *habit, uint64_t from, unsigned count)
{
	for (uint64_t node = from; node < from + count; node++) {
		(void)habit_looked_up(habit, node);
		habit_read(habit, node);
	}
}

static void test_nothing_is_expected_of_who_reads_nothing(void **state)
{
	struct habit habit = {0};

	for (uint64_t node = 1; node < 1000; node++)
		assert_false(habit_looked_up(&habit, node));
}

static void test_files_that_were_read_make_the_next_one_expected(void **state)
{
	struct habit habit = {0};

	read_some(&habit, 1, HABIT_ENOUGH - 1);
	assert_false(habit_looked_up(&habit, 100));
	habit_read(&habit, 100);
	assert_true(habit_looked_up(&habit, 101));
}

static void test_several_readers_at_once_are_seen(void **state)
{
	struct habit habit = {0};

	for (uint64_t round = 0; round < 10; round++) {
		for (uint64_t reader = 0; reader < 16; reader++)
			(void)habit_looked_up(&habit, 1 + 16 * round + reader);
		for (uint64_t reader = 16; reader > 0; reader--)
			habit_read(&habit, 16 * round + reader);
	}
	assert_true(habit_looked_up(&habit, 1000));
}

static void test_a_walk_ends_what_was_expected(void **state)
{
	struct habit habit = {0};

	read_some(&habit, 1, 1000);
	assert_true(habit_looked_up(&habit, 2000));
	for (uint64_t node = 3000; node < 3000 + HABIT_FILES + 3; node++)
		(void)habit_looked_up(&habit, node);
	assert_false(habit_looked_up(&habit, 4000));
}

/* A file that is read twice, or that was never looked up, says nothing. */
static void test_reading_what_was_not_looked_up_shows_no_habit(void **state)
{
	struct habit habit = {0};

	for (uint64_t node = 1; node < 100; node++)
		habit_read(&habit, node);
	assert_false(habit_looked_up(&habit, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_is_expected_of_who_reads_nothing),
		cmocka_unit_test(test_files_that_were_read_make_the_next_one_expected),
		cmocka_unit_test(test_several_readers_at_once_are_seen),
		cmocka_unit_test(test_a_walk_ends_what_was_expected),
		cmocka_unit_test(test_reading_what_was_not_looked_up_shows_no_habit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
