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
	return fault_point("gc-sweep") || fault_point("gc-compact") || fault_point("gc-sweep");
}

static int second_pass_of_b_fails(void)
{
	if (fault_point("gc-compact") != 0 || fault_point("gc-sweep") != 0 || fault_point("gc-after-mark") != 0)
		return 1;
	return fault_point("gc-compact") == -ENOSPC && fault_point("gc-compact") == 0 ? 0 : 2;
}

static int each_has_its_errno(void)
{
	return fault_point("export-write") == -EIO && fault_point("restore-after-exchange") == -ENOMEM ? 0 : 1;
}

static int two_passes_fail(void)
{
	return fault_point("gc-compact") == 0 && fault_point("gc-compact") == -EIO && fault_point("gc-compact") == -ENOSPC && fault_point("gc-compact") == 0 ? 0 : 1;
}

static int sleeps(void)
{
	uint64_t before = clock_ms();

	return fault_point("gc-sweep") == 0 && clock_ms() - before >= 30 ? 0 : 1;
}

static void test_off(void **state)
{
	assert_int_equal(in_child("", nothing_happens), 0);
	assert_int_equal(in_child("prune-batch:eio", nothing_happens), 0);
}

static void test_kill(void **state)
{
	int status = in_child("gc-sweep", nothing_happens);

	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	status = in_child("lock.taken,gc-sweep:kill:2", nothing_happens);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	assert_int_equal(in_child("gc-sweep:kill:3", nothing_happens), 0);
}

static void test_abort(void **state)
{
	const int status = in_child("gc-sweep:abort", nothing_happens);

	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void test_errno(void **state)
{
	assert_int_equal(in_child("gc-compact:enospc:2", second_pass_of_b_fails), 0);
	assert_int_equal(in_child("export-write:eio,restore-after-exchange:enomem", each_has_its_errno), 0);
	assert_int_equal(in_child("gc-compact:eio:2,gc-compact:enospc:3", two_passes_fail), 0);
}

static void test_sleep(void **state)
{
	assert_int_equal(in_child("gc-sweep:sleep30", sleeps), 0);
}

static void test_stop(void **state)
{
	int status;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		setenv("CORPUSFS_FAULT", "gc-sweep:stop", 1);
		_exit(nothing_happens());
	}
	assert_int_equal(waitpid(child, &status, WUNTRACED), child);
	assert_true(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
	assert_int_equal(kill(child, SIGCONT), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static int passes_are_counted(void)
{
	if (fault_passes("gc-sweep") != 0 || nothing_happens() != 0)
		return 1;
	return fault_passes("gc-sweep") == 2 && fault_passes("gc-compact") == 0 ? 0 : 2;
}

static void test_passes(void **state)
{
	assert_int_equal(in_child("gc-sweep:eio:9", passes_are_counted), 0);
}

static void test_nonsense_is_refused(void **state)
{
	static const char *const specs[] = {"gc-sweep:explode",      "gc-sweep:eio:0", "gc-sweep:eio:x", "gc-sweep:sleep", ":kill",
	                                    "gc-sweep,,gc-compact", "gc-sweep:kill:1:2", "no-such-point:eio"};

	for (size_t i = 0; i < sizeof(specs) / sizeof(specs[0]); i++)
		assert_int_not_equal(in_child(specs[i], nothing_happens), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_off),
		cmocka_unit_test(test_kill),
		cmocka_unit_test(test_abort),
		cmocka_unit_test(test_errno),
		cmocka_unit_test(test_sleep),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_passes),
		cmocka_unit_test(test_nonsense_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
