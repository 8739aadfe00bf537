#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "fs/fuse/group/listers.h"

#define THREAD 77
#define OTHER (THREAD + LISTERS_PLACES) /* has the same place */

static struct listers *fresh(void)
{
	static struct listers listers;

	listers_init(&listers);
	return &listers;
}

static void look_up(struct listers *listers, pid_t thread, uint64_t directory, unsigned count, uint64_t now_ms)
{
	for (unsigned i = 0; i < count; i++)
		listers_look_up(listers, thread, directory, now_ms);
}

static void test_the_first_directory_begins_with_attributes_and_the_next_has_none(void **state)
{
	struct listers *listers = fresh();

	assert_true(listers_list(listers, THREAD, 1, true, 0));
	assert_false(listers_list(listers, THREAD, 1, false, 0));
	assert_false(listers_list(listers, THREAD, 2, true, 0));
	assert_false(listers_list(listers, THREAD, 1, true, 0));
	listers_clear(listers);
}

static void test_who_looks_up_what_he_listed_wants_attributes_for_a_while(void **state)
{
	struct listers *listers = fresh();

	assert_true(listers_list(listers, THREAD, 1, true, 0));
	assert_false(listers_list(listers, THREAD, 2, true, 0));
	look_up(listers, THREAD, 2, LISTERS_LOOKUPS - 1, 5);
	assert_false(listers_list(listers, THREAD, 3, true, 5));
	look_up(listers, THREAD, 3, LISTERS_LOOKUPS, 5);
	assert_true(listers_list(listers, THREAD, 4, true, 5));
	assert_true(listers_list(listers, THREAD, 4, false, 4 + LISTERS_WANT_MS));
	assert_false(listers_list(listers, THREAD, 4, false, 5 + LISTERS_WANT_MS));
	listers_clear(listers);
}

static void test_look_ups_elsewhere_and_of_others_tell_nothing(void **state)
{
	struct listers *listers = fresh();

	assert_true(listers_list(listers, THREAD, 1, true, 0));
	assert_false(listers_list(listers, THREAD, 2, true, 0));
	look_up(listers, THREAD, 1, 1000, 0);
	look_up(listers, OTHER, 2, 1000, 0);
	look_up(listers, 0, 2, 1000, 0);
	assert_false(listers_list(listers, THREAD, 3, true, 0));
	assert_true(listers_list(listers, OTHER, 3, true, 0));
	assert_true(listers_list(listers, THREAD, 3, true, 0)); /* forgotten meanwhile */
	listers_clear(listers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_first_directory_begins_with_attributes_and_the_next_has_none),
		cmocka_unit_test(test_who_looks_up_what_he_listed_wants_attributes_for_a_while),
		cmocka_unit_test(test_look_ups_elsewhere_and_of_others_tell_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
