/* Which process a mark is of, and what became of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/process_mark.h"
#include "tests/unit/sleeping_child.h"

#define OTHER_BOOT "75e7b4e6-1d3c-4b9f-9d09-3f1d6f1e7c55"
#define FIRST_NAMESPACES "/4026531836/4026531834"

static void a_process_lives_is_stopped_and_is_gone(void **state)
{
	const pid_t pid = sleeping_child();
	struct process_mark mark;
	int status;

	process_mark_of(pid, &mark);
	assert_int_equal(process_mark_look(&mark), PROCESS_LIVES);
	kill(pid, SIGSTOP);
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	assert_int_equal(process_mark_look(&mark), PROCESS_STOPPED);
	kill(pid, SIGKILL);
	assert_int_equal(waitid(P_PID, (id_t)pid, &(siginfo_t){0}, WEXITED | WNOWAIT), 0);
	assert_int_equal(process_mark_look(&mark), PROCESS_GONE); /* nobody has asked for its end yet */
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(process_mark_look(&mark), PROCESS_GONE);
}

static void another_process_of_the_same_number_is_another_one(void **state)
{
	struct process_mark mark;

	process_mark_of(getpid(), &mark);
	mark.started++;
	assert_int_equal(process_mark_look(&mark), PROCESS_GONE);
	mark.started = 0;
	assert_int_equal(process_mark_look(&mark), PROCESS_UNKNOWN);
	assert_int_equal(process_look(getpid(), 0), PROCESS_LIVES);
}

/* Where the number of ours is that of another process. */
static void elsewhere_nothing_is_known(void **state)
{
	static const char *const places[] = {"", OTHER_BOOT FIRST_NAMESPACES, OTHER_BOOT, "/", OTHER_BOOT "/x/y"};
	struct process_mark mark;

	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		process_mark_of(getpid(), &mark);
		snprintf(mark.host, sizeof(mark.host), "elsewhere");
		snprintf(mark.place, sizeof(mark.place), "%s", places[i]);
		assert_int_equal(process_mark_look(&mark), PROCESS_UNKNOWN);
	}
}

static void what_ran_on_this_machine_or_a_clone_in_another_boot_is_told(void **state)
{
	struct process_mark mark, before;

	process_mark_of(getpid(), &mark);
	if (!mark.machine[0] || procfs_pid_namespace() != 4026531836U)
		skip(); /* in a container, or on a machine without an id, it is not known */
	snprintf(mark.place, sizeof(mark.place), OTHER_BOOT FIRST_NAMESPACES);
	assert_int_equal(process_mark_look(&mark), PROCESS_BEFORE);
	before = mark;
	mark.machine[0] ^= 1;
	assert_int_equal(process_mark_look(&mark), PROCESS_UNKNOWN);
	mark = before;
	mark.host[0] ^= 1;
	assert_int_equal(process_mark_look(&mark), PROCESS_UNKNOWN);
	/* In a container, whose names another one may have on another machine. */
	mark = before;
	snprintf(mark.place, sizeof(mark.place), OTHER_BOOT "/4026532500/4026531834");
	assert_int_equal(process_mark_look(&mark), PROCESS_UNKNOWN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_process_lives_is_stopped_and_is_gone),
		cmocka_unit_test(another_process_of_the_same_number_is_another_one),
		cmocka_unit_test(elsewhere_nothing_is_known),
		cmocka_unit_test(what_ran_on_this_machine_or_a_clone_in_another_boot_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
