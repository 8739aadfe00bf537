#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <unistd.h>

#include "fs/daemon/control/signs.h"
#include "lib/base/clock.h"

#define ENOUGH_MS 50

static void who_waits_gives_no_sign(void **state)
{
	struct signs signs;

	signs_begin(&signs);
	assert_false(signs_of_life(&signs));
	clock_pause_us(ENOUGH_MS * 1000);
	assert_false(signs_of_life(&signs));
}

static void who_uses_the_processor_gives_a_sign(void **state)
{
	struct signs signs;
	clock_t until;

	signs_begin(&signs);
	for (until = clock() + ENOUGH_MS * (CLOCKS_PER_SEC / 1000); clock() < until;)
		;
	assert_true(signs_of_life(&signs));
	assert_false(signs_of_life(&signs));
}

static void *write_much(void *arg)
{
	const int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	static const char much[1 << 20];

	assert_int_equal(write(fd, much, sizeof(much)), sizeof(much));
	close(fd);
	return NULL;
}

static void another_thread_that_writes_is_a_sign(void **state)
{
	struct signs signs;
	pthread_t thread;

	signs_begin(&signs);
	assert_int_equal(pthread_create(&thread, NULL, write_much, NULL), 0);
	pthread_join(thread, NULL);
	assert_true(signs_of_life(&signs));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_waits_gives_no_sign),
		cmocka_unit_test(who_uses_the_processor_gives_a_sign),
		cmocka_unit_test(another_thread_that_writes_is_a_sign),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
