#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>

#include "lib/base/pool.h"

#define STEPS 5000

static void count_step(void *arg, size_t index)
{
	atomic_int *counts = arg;

	atomic_fetch_add(&counts[index], 1);
}

static void run_once(struct pool *pool, size_t count)
{
	static _Thread_local atomic_int counts[STEPS];

	for (size_t i = 0; i < STEPS; i++)
		atomic_store(&counts[i], 0);
	pool_run(pool, count_step, counts, count);
	for (size_t i = 0; i < STEPS; i++)
		assert_int_equal(atomic_load(&counts[i]), i < count ? 1 : 0);
}

static void test_every_step_runs_once(void **state)
{
	for (unsigned threads = 0; threads < 5; threads += 2) {
		struct pool *pool = pool_new(threads);
		assert_int_equal(pool_width(pool), threads + 1);
		run_once(pool, 0);
		run_once(pool, 1);
		run_once(pool, 2);
		run_once(pool, STEPS);
		pool_free(pool);
	}
	pool_free(NULL);
}

static void *run_many(void *arg)
{
	for (size_t i = 0; i < 200; i++)
		run_once(arg, i % 37);
	run_once(arg, STEPS);
	return NULL;
}

static void test_callers_share_the_threads(void **state)
{
	struct pool *pool = pool_new(3);
	pthread_t callers[4];

	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&callers[i], NULL, run_many, pool), 0);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_join(callers[i], NULL), 0);
	pool_free(pool);
}

static void meet(void *barrier, size_t index)
{
	pthread_barrier_wait(barrier);
}

static void test_steps_really_run_at_once(void **state)
{
	struct pool *pool = pool_new(1);
	pthread_barrier_t barrier;

	/* Each of the two steps waits for the other: with one thread only, this would never end. */
	pthread_barrier_init(&barrier, NULL, 2);
	pool_run(pool, meet, &barrier, 2);
	pthread_barrier_destroy(&barrier);
	pool_free(pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_step_runs_once),
		cmocka_unit_test(test_callers_share_the_threads),
		cmocka_unit_test(test_steps_really_run_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
