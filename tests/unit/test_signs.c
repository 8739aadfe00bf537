#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include "fs/daemon/control/signs.h"
#include "lib/base/clock.h"

#define ENOUGH_MS 50
#define STEP_MS 2000 /* of a clock that the tests turn */

static void use_processor(void)
{
	struct timespec now;
	uint64_t until_ms = 0, now_ms;

	do {
		assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now), 0);
		now_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
		until_ms = until_ms ? until_ms : now_ms + ENOUGH_MS;
	} while (now_ms < until_ms);
}

static void write_some(size_t len)
{
	const int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	static const char some[1 << 20];

	assert_int_equal(write(fd, some, len), len);
	close(fd);
}

static void *write_much(void *arg)
{
	write_some(1 << 20);
	return NULL;
}

static void *work(void *arg)
{
	use_processor();
	return NULL;
}

static void let_another(void *(*act)(void *arg))
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, act, NULL), 0);
	pthread_join(thread, NULL);
}

static void who_waits_gives_no_sign(void **state)
{
	struct signs signs;

	signs_begin(&signs, 0, 0);
	assert_false(signs_of_life(&signs, 0, 0));
	clock_pause_us(ENOUGH_MS * 1000);
	assert_false(signs_of_life(&signs, STEP_MS, 0));
}

/* Nor do many of them together. */
static void beats_of_a_lock_are_no_sign(void **state)
{
	struct signs signs;

	signs_begin(&signs, 0, 0);
	for (uint64_t now_ms = STEP_MS; now_ms < 100 * STEP_MS; now_ms += STEP_MS) {
		write_some(STEP_MS / 1000 * 12 << 10);
		assert_false(signs_of_life(&signs, now_ms, 0));
	}
}

static void who_uses_the_processor_gives_a_sign(void **state)
{
	struct signs signs;

	signs_begin(&signs, 0, 0);
	use_processor();
	assert_true(signs_of_life(&signs, STEP_MS, 0));
	assert_false(signs_of_life(&signs, 2 * STEP_MS, 0));
}

static void another_thread_that_writes_or_works_is_a_sign(void **state)
{
	struct signs signs;

	signs_begin(&signs, 0, 0);
	let_another(write_much);
	assert_true(signs_of_life(&signs, STEP_MS, 0));
	let_another(work);
	assert_true(signs_of_life(&signs, 2 * STEP_MS, 0));
}

static void what_goes_over_the_network_is_a_sign(void **state)
{
	struct signs signs;

	signs_begin(&signs, 0, 7);
	assert_false(signs_of_life(&signs, STEP_MS, 7));
	assert_true(signs_of_life(&signs, 2 * STEP_MS, 8));
	assert_false(signs_of_life(&signs, 3 * STEP_MS, 8));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_waits_gives_no_sign),
		cmocka_unit_test(who_uses_the_processor_gives_a_sign),
		cmocka_unit_test(beats_of_a_lock_are_no_sign),
		cmocka_unit_test(another_thread_that_writes_or_works_is_a_sign),
		cmocka_unit_test(what_goes_over_the_network_is_a_sign),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
