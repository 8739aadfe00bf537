/* A bounded queue: everything comes through once, in order, whoever waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include "lib/base/clean.h"
#include "lib/base/queue.h"

#define ITEMS 20000U

static void push_number(struct queue *queue, uintptr_t number)
{
	queue_push(queue, (void *)(number + 1));
}

static void *push_all(void *arg)
{
	for (uintptr_t i = 0; i < ITEMS; i++)
		push_number(arg, i);
	return NULL;
}

static void *pop_all(void *arg)
{
	uintptr_t last = 0, count = 0;
	void *item;

	/* What one thread pushed comes in its order. */
	while ((item = queue_pop(arg))) {
		if ((uintptr_t)item <= last)
			return (void *)UINTPTR_MAX;
		last = (uintptr_t)item;
		count++;
	}
	return (void *)count;
}

static void test_items_come_in_order(void **state)
{
	struct queue *queue = queue_new(3);

	(void)state;
	assert_null(queue_try_pop(queue));
	push_number(queue, 1);
	push_number(queue, 2);
	assert_ptr_equal(queue_try_pop(queue), 2);
	queue_close(queue);
	assert_ptr_equal(queue_pop(queue), 3);
	assert_null(queue_pop(queue));
	assert_null(queue_try_pop(queue));
	queue_free(queue);
}

static void test_nobody_waits_for_room_who_only_tries(void **state)
{
	struct queue *queue = queue_new(2);

	(void)state;
	assert_true(queue_try_push(queue, (void *)1));
	assert_true(queue_try_push(queue, (void *)2));
	assert_false(queue_try_push(queue, (void *)3));
	assert_ptr_equal(queue_pop(queue), 1);
	assert_true(queue_try_push(queue, (void *)4));
	assert_ptr_equal(queue_pop(queue), 2);
	assert_ptr_equal(queue_pop(queue), 4);
	assert_null(queue_try_pop(queue));
	queue_free(queue);
}

/* Many wait for items, and one or more for room, at limits where that is often. */
static void test_nobody_waits_for_ever(void **state)
{
	static const size_t limits[] = {1, 2, 7};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		struct queue *queue = queue_new(limits[i]);
		pthread_t poppers[3], pusher;
		uintptr_t total = 0;

		for (size_t j = 0; j < ARRAY_SIZE(poppers); j++)
			assert_int_equal(pthread_create(&poppers[j], NULL, pop_all, queue), 0);
		assert_int_equal(pthread_create(&pusher, NULL, push_all, queue), 0);
		assert_int_equal(pthread_join(pusher, NULL), 0);
		queue_close(queue);
		for (size_t j = 0; j < ARRAY_SIZE(poppers); j++) {
			void *count;

			assert_int_equal(pthread_join(poppers[j], &count), 0);
			assert_true((uintptr_t)count <= ITEMS);
			total += (uintptr_t)count;
		}
		assert_int_equal(total, ITEMS);
		queue_free(queue);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_items_come_in_order),
		cmocka_unit_test(test_nobody_waits_for_room_who_only_tries),
		cmocka_unit_test(test_nobody_waits_for_ever),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
