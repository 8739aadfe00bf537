/* Who unmounts finds the process behind the mount, and nobody who only claims to be it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/daemon/process/behind.h"

#define LONG_MS 60000

/* A number that no device has, of this process alone. */
static unsigned number(void)
{
	return 0x80000000U | (unsigned)getpid();
}

/* A process that listens under that number until it is killed. */
static pid_t start(void)
{
	const unsigned minor = number();
	int ready[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		if (behind_listen(minor) < 0 || write(ready[1], "", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return pid;
}

static void test_process_is_waited_for_until_it_has_ended(void **state)
{
	const pid_t pid = start();
	pid_t found = 0;
	AUTO_CLOSE int fd = behind_connect(number(), geteuid(), &found);

	assert_true(fd >= 0);
	assert_int_equal(found, pid);
	assert_false(behind_wait(fd, 0));
	kill(pid, SIGKILL);
	assert_true(behind_wait(fd, LONG_MS));
	waitpid(pid, NULL, 0);
	assert_int_equal(behind_connect(number(), geteuid(), &found), -ECONNREFUSED);
}

static void test_process_of_another_user_is_not_believed(void **state)
{
	const pid_t pid = start();
	pid_t found = 0;

	assert_int_equal(behind_connect(number(), geteuid() + 1, &found), -EPERM);
	assert_int_equal(found, 0);
	assert_int_equal(behind_listen(number()), -EADDRINUSE);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_process_is_waited_for_until_it_has_ended),
		cmocka_unit_test(test_process_of_another_user_is_not_believed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
