#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/fault.h"

/* The variable is read once in a process, so each case gets a process of its own. */
static int in_child(const char *spec, int (*body)(void))
{
	int status;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		setenv("CORPUSFS_FAULT", spec, 1);
		_exit(body());
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

static int nothing_happens(void)
{
	return fault_point("a") || fault_point("b") || fault_point("a");
}

static int second_pass_of_b_fails(void)
{
	if (fault_point("b") != 0 || fault_point("a") != 0 || fault_point("bb") != 0)
		return 1;
	return fault_point("b") == -ENOSPC && fault_point("b") == 0 ? 0 : 2;
}

static int each_has_its_errno(void)
{
	return fault_point("x") == -EIO && fault_point("y") == -ENOMEM ? 0 : 1;
}

static int two_passes_fail(void)
{
	return fault_point("b") == 0 && fault_point("b") == -EIO && fault_point("b") == -ENOSPC && fault_point("b") == 0 ? 0 : 1;
}

static int sleeps(void)
{
	uint64_t before = clock_ms();

	return fault_point("a") == 0 && clock_ms() - before >= 30 ? 0 : 1;
}

static void test_off(void **state)
{
	assert_int_equal(in_child("", nothing_happens), 0);
	assert_int_equal(in_child("c:eio", nothing_happens), 0);
}

static void test_kill(void **state)
{
	int status = in_child("a", nothing_happens);

	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	status = in_child("z,a:kill:2", nothing_happens);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	assert_int_equal(in_child("a:kill:3", nothing_happens), 0);
}

static void test_errno(void **state)
{
	assert_int_equal(in_child("b:enospc:2", second_pass_of_b_fails), 0);
	assert_int_equal(in_child("x:eio,y:enomem", each_has_its_errno), 0);
	assert_int_equal(in_child("b:eio:2,b:enospc:3", two_passes_fail), 0);
}

static void test_sleep(void **state)
{
	assert_int_equal(in_child("a:sleep30", sleeps), 0);
}

static void test_nonsense_is_refused(void **state)
{
	static const char *const specs[] = {"a:explode", "a:eio:0", "a:eio:x", "a:sleep", ":kill", "a,,b", "a:kill:1:2"};

	for (size_t i = 0; i < sizeof(specs) / sizeof(specs[0]); i++)
		assert_int_not_equal(in_child(specs[i], nothing_happens), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_off),
		cmocka_unit_test(test_kill),
		cmocka_unit_test(test_errno),
		cmocka_unit_test(test_sleep),
		cmocka_unit_test(test_nonsense_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
