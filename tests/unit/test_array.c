#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/array.h"
#include "lib/base/buf.h"

struct pair {
	uint32_t left, right;
};

struct pairs {
	ARRAY_FIELDS(struct pair);
};

struct numbers {
	ARRAY_FIELDS(uint64_t);
};

static void test_added_items_keep_their_order(void **state)
{
	AUTO_ARRAY struct numbers numbers = {0};

	for (uint64_t i = 0; i < 10000; i++)
		array_add(&numbers, i * 3);
	assert_int_equal(numbers.count, 10000);
	assert_true(numbers.cap >= numbers.count && numbers.cap < 2 * numbers.count);
	for (uint64_t i = 0; i < numbers.count; i++)
		assert_int_equal(numbers.items[i], i * 3);
}

static void test_a_struct_is_added_by_its_initialiser(void **state)
{
	AUTO_ARRAY struct pairs pairs = {0};

	array_add(&pairs, (struct pair){.left = 1, .right = 2});
	array_new(&pairs)->right = 5;
	assert_int_equal(pairs.count, 2);
	assert_int_equal(pairs.items[0].right, 2);
	assert_int_equal(pairs.items[1].left, 0);
	assert_int_equal(array_last(&pairs)->right, 5);
}

static void test_an_item_of_the_array_itself_is_added_after_it_moved(void **state)
{
	AUTO_ARRAY struct numbers numbers = {0};

	array_add(&numbers, 7);
	for (int i = 0; i < 1000; i++)
		array_add(&numbers, numbers.items[0]);
	assert_int_equal(*array_last(&numbers), 7);
}

static void test_the_array_argument_is_evaluated_once(void **state)
{
	struct numbers numbers[3] = {0}, *at = numbers;

	array_add(at++, 1);
	array_reserve(at++, 1);
	assert_ptr_equal(at, numbers + 2);
	for (int i = 0; i < 3; i++)
		array_clear(&numbers[i]);
}

static void test_insert_and_remove_move_the_rest(void **state)
{
	AUTO_ARRAY struct numbers numbers = {0};
	const uint64_t expected[] = {0, 1, 2, 3, 4, 5, 6};

	array_append(&numbers, ((const uint64_t[]){1, 3, 5}), 3);
	array_insert(&numbers, 0, 0);
	array_insert(&numbers, 2, 2);
	array_insert(&numbers, 4, 4);
	array_insert(&numbers, numbers.count, 6);
	assert_int_equal(numbers.count, ARRAY_SIZE(expected));
	assert_memory_equal(numbers.items, expected, sizeof(expected));

	array_remove(&numbers, 1, 5);
	assert_int_equal(numbers.count, 2);
	assert_int_equal(numbers.items[1], 6);
	array_remove(&numbers, 1, 1);
	array_remove(&numbers, 0, 1);
	assert_int_equal(numbers.count, 0);
}

static void test_pop_takes_the_last(void **state)
{
	AUTO_ARRAY struct numbers numbers = {0};

	array_add(&numbers, 1);
	array_add(&numbers, 2);
	assert_int_equal(array_pop(&numbers), 2);
	assert_int_equal(array_pop(&numbers), 1);
	assert_int_equal(numbers.count, 0);
}

static void test_reserved_room_does_not_move(void **state)
{
	AUTO_ARRAY struct numbers numbers = {0};

	array_reserve(&numbers, 100);
	const uint64_t *items = numbers.items;
	for (uint64_t i = 0; i < 100; i++)
		array_add(&numbers, i);
	assert_ptr_equal(numbers.items, items);
	array_reset(&numbers);
	array_add(&numbers, 1);
	assert_ptr_equal(numbers.items, items);
}

static void test_fitted_items_stay_and_have_no_room_more(void **state)
{
	ARRAY(int) numbers = {0};

	for (int i = 0; i < 100; i++)
		array_add(&numbers, i);
	array_remove(&numbers, 3, 97);
	array_fit(&numbers);
	assert_int_equal(numbers.cap, 3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(numbers.items[i], i);
	array_reset(&numbers);
	array_fit(&numbers);
	assert_null(numbers.items);
	array_add(&numbers, 5);
	assert_int_equal(numbers.items[0], 5);
	array_clear(&numbers);
}

static void test_nothing_is_appended_from_nowhere(void **state)
{
	AUTO_ARRAY struct numbers numbers = {0};

	array_append(&numbers, NULL, 0);
	assert_int_equal(numbers.count, 0);
	array_clear(&numbers);
	array_clear(&numbers);
}

static int reserve_in_child(size_t count, size_t extra)
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		struct pairs pairs = {.count = count, .cap = count};

		setrlimit(RLIMIT_CORE, &(struct rlimit){0});
		signal(SIGABRT, SIG_DFL);
		array_reserve(&pairs, extra);
		_exit(0);
	}
	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void test_a_size_that_overflows_ends_the_process(void **state)
{
	assert_int_equal(reserve_in_child(0, 10), 0);
	assert_int_equal(reserve_in_child(0, SIZE_MAX / sizeof(struct pair) + 1), SIGABRT);
	assert_int_equal(reserve_in_child(0, SIZE_MAX), SIGABRT);
	assert_int_equal(reserve_in_child(10, SIZE_MAX - 5), SIGABRT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_added_items_keep_their_order),
		cmocka_unit_test(test_a_struct_is_added_by_its_initialiser),
		cmocka_unit_test(test_an_item_of_the_array_itself_is_added_after_it_moved),
		cmocka_unit_test(test_the_array_argument_is_evaluated_once),
		cmocka_unit_test(test_insert_and_remove_move_the_rest),
		cmocka_unit_test(test_pop_takes_the_last),
		cmocka_unit_test(test_reserved_room_does_not_move),
		cmocka_unit_test(test_fitted_items_stay_and_have_no_room_more),
		cmocka_unit_test(test_nothing_is_appended_from_nowhere),
		cmocka_unit_test(test_a_size_that_overflows_ends_the_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
