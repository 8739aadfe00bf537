#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>

#include "fs/daemon/background/pacer.h"

#define FOR_EVER 1000000000

static uint64_t none(void *arg)
{
	return 0;
}

static void test_a_loop_sleeps_as_long_as_it_worked(void **state)
{
	const struct pacer_load idle = {0};

	assert_int_equal(pacer_sleep_ms(&idle, 1, 0), 0);
	assert_int_equal(pacer_sleep_ms(&idle, 1, 20), 20);
}

static void test_it_sleeps_longer_while_readers_are_busy(void **state)
{
	struct pacer_load load = {0};

	pacer_load_note(&load, 10000, 1000000);
	pacer_load_note(&load, 11000, 1000000 + 40);
	assert_false(load.busy);
	pacer_load_note(&load, 12000, 1000000 + 40 + 4000);
	assert_true(load.busy);
	assert_int_equal(pacer_sleep_ms(&load, 1, 20), 180);
	pacer_load_note(&load, 13000, 1000000 + 40 + 4000);
	assert_false(load.busy);
}

static void test_a_mount_that_goes_is_no_load(void **state)
{
	struct pacer_load load = {0};

	pacer_load_note(&load, 10000, 1000000);
	pacer_load_note(&load, 11000, 10);
	assert_false(load.busy);
}

static void test_two_loops_share_the_time_of_one(void **state)
{
	const struct pacer_load busy = {.busy = true};

	assert_int_equal(pacer_sleep_ms(&busy, 2, 20), 2 * pacer_sleep_ms(&busy, 1, 20));
}

static void test_no_loop_sleeps_without_bound(void **state)
{
	const struct pacer_load busy = {.busy = true};

	assert_int_equal(pacer_sleep_ms(&busy, 1, 1000000), 1000);
}

struct sleeper {
	struct pacer_loop loop;
	sem_t ready;
	bool rested;
	int step;
};

static void *sleep_for_ever(void *arg)
{
	struct sleeper *sleeper = arg;

	sem_post(&sleeper->ready);
	sleeper->rested = pacer_rest(&sleeper->loop, FOR_EVER);
	pacer_begin(&sleeper->loop);
	sleeper->step = pacer_step(&sleeper->loop);
	pacer_end(&sleeper->loop);
	return NULL;
}

static void end_all(struct pacer *pacer, struct sleeper *sleepers)
{
	pacer_stop(pacer);
}

static void end_each(struct pacer *pacer, struct sleeper *sleepers)
{
	pacer_hold(&sleepers[0].loop);
	pacer_hold(&sleepers[1].loop);
}

static void end_sleepers(void (*end)(struct pacer *pacer, struct sleeper *sleepers))
{
	struct pacer *pacer = pacer_new(none, NULL);
	struct sleeper sleepers[2] = {0};
	pthread_t threads[2];

	for (int i = 0; i < 2; i++) {
		sem_init(&sleepers[i].ready, 0, 0);
		pacer_join(pacer, &sleepers[i].loop);
		assert_int_equal(pthread_create(&threads[i], NULL, sleep_for_ever, &sleepers[i]), 0);
		sem_wait(&sleepers[i].ready);
	}
	end(pacer, sleepers);
	for (int i = 0; i < 2; i++) {
		pthread_join(threads[i], NULL);
		assert_false(sleepers[i].rested);
		assert_int_equal(sleepers[i].step, -ECANCELED);
		pacer_leave(&sleepers[i].loop);
		sem_destroy(&sleepers[i].ready);
	}
	pacer_free(pacer);
}

static void test_stopping_ends_every_loop_wherever_it_is(void **state)
{
	end_sleepers(end_all);
}

static void test_holding_ends_one_loop(void **state)
{
	end_sleepers(end_each);
}

static void test_a_loop_goes_on_when_all_have_released_it_but_not_after_the_end(void **state)
{
	struct pacer *pacer = pacer_new(none, NULL);
	struct pacer_loop loop;

	pacer_join(pacer, &loop);
	pacer_hold(&loop);
	pacer_hold(&loop);
	pacer_release(&loop);
	assert_false(pacer_rest(&loop, 0));
	pacer_release(&loop);
	assert_true(pacer_rest(&loop, 0));
	assert_false(loop.cancelled);
	pacer_hold(&loop);
	pacer_stop(pacer);
	pacer_release(&loop);
	assert_true(loop.cancelled);
	pacer_leave(&loop);
	pacer_join(pacer, &loop);
	assert_false(pacer_rest(&loop, FOR_EVER));
	pacer_leave(&loop);
	pacer_free(pacer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_loop_sleeps_as_long_as_it_worked),
		cmocka_unit_test(test_it_sleeps_longer_while_readers_are_busy),
		cmocka_unit_test(test_a_mount_that_goes_is_no_load),
		cmocka_unit_test(test_two_loops_share_the_time_of_one),
		cmocka_unit_test(test_no_loop_sleeps_without_bound),
		cmocka_unit_test(test_stopping_ends_every_loop_wherever_it_is),
		cmocka_unit_test(test_holding_ends_one_loop),
		cmocka_unit_test(test_a_loop_goes_on_when_all_have_released_it_but_not_after_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
