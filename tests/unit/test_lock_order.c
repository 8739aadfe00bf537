#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Here the order is checked in every build. */
#ifndef LOCK_ORDER_CHECKED
#define LOCK_ORDER_CHECKED
#endif
#include "lib/base/clock.h"
#include "lib/base/locks.h"

struct locks {
	struct mutex names, inode, later_inode, other_view, committer;
	struct rwlock epoch, later_epoch;
	pthread_cond_t condition;
};

static void locks_init(struct locks *locks)
{
	mutex_init(&locks->names, LOCK_NAMES);
	mutex_init_keyed(&locks->inode, LOCK_INODE, 1, 5);
	mutex_init_keyed(&locks->later_inode, LOCK_INODE, 1, 6);
	mutex_init_keyed(&locks->other_view, LOCK_INODE, 2, 1);
	mutex_init(&locks->committer, LOCK_PENDING);
	rwlock_init_keyed(&locks->epoch, LOCK_EPOCH, 1, 1);
	rwlock_init_keyed(&locks->later_epoch, LOCK_EPOCH, 2, 1);
	pthread_cond_init(&locks->condition, NULL);
}

static void in_order(struct locks *locks)
{
	struct timespec now = clock_after_ms(0);

	mutex_take(&locks->names);
	mutex_take(&locks->inode);
	mutex_take(&locks->later_inode);
	mutex_take(&locks->other_view);
	rwlock_read(&locks->epoch);
	mutex_take(&locks->committer);
	assert_false(mutex_wait_until(&locks->committer, &locks->condition, &now));
	/* given up in any order */
	mutex_give(&locks->names);
	mutex_give(&locks->later_inode);
	mutex_give(&locks->committer);
	mutex_give(&locks->inode);
	rwlock_give(&locks->epoch);
	mutex_give(&locks->other_view);
	rwlock_write(&locks->epoch);
	rwlock_write(&locks->later_epoch);
	assert_true(mutex_try(&locks->inode)); /* which waits for nobody */
}

static void an_inode_under_an_epoch(struct locks *locks)
{
	rwlock_read(&locks->epoch);
	mutex_take(&locks->inode);
}

static void a_smaller_inode_under_a_greater(struct locks *locks)
{
	mutex_take(&locks->later_inode);
	mutex_take(&locks->inode);
}

static void an_inode_of_an_earlier_view(struct locks *locks)
{
	mutex_take(&locks->other_view);
	mutex_take(&locks->later_inode);
}

static void an_epoch_read_twice(struct locks *locks)
{
	rwlock_read(&locks->epoch);
	rwlock_read(&locks->epoch);
}

static void epochs_out_of_order(struct locks *locks)
{
	rwlock_write(&locks->later_epoch);
	rwlock_write(&locks->epoch);
}

static void a_lock_that_was_tried_and_then_an_earlier_one(struct locks *locks)
{
	assert_true(mutex_try(&locks->committer));
	mutex_take(&locks->names);
}

static void a_wait_under_a_later_lock(struct locks *locks)
{
	struct timespec now = clock_after_ms(0);

	mutex_take(&locks->inode);
	rwlock_read(&locks->epoch);
	(void)mutex_wait_until(&locks->inode, &locks->condition, &now);
}

static void a_lock_given_up_twice(struct locks *locks)
{
	mutex_take(&locks->names);
	mutex_give(&locks->names);
	mutex_give(&locks->names);
}

/* Runs the scenario in a process of its own: returns its wait status, and what it said. */
static int run(void (*scenario)(struct locks *locks), char *said, size_t size)
{
	struct locks locks;
	size_t len = 0;
	int fds[2], status;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		signal(SIGABRT, SIG_DFL);
		dup2(fds[1], STDERR_FILENO);
		locks_init(&locks);
		scenario(&locks);
		_exit(0);
	}
	close(fds[1]);
	for (ssize_t got = 1; got > 0 && len + 1 < size; len += (size_t)got) {
		got = read(fds[0], said + len, size - 1 - len);
		if (got < 0)
			got = 0;
	}
	said[len] = '\0';
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void assert_caught(void (*scenario)(struct locks *locks), const char *name, const char *text)
{
	char said[4096];
	int status = run(scenario, said, sizeof(said));

	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT)
		fail_msg("%s was not caught", name);
	if (!strstr(said, text))
		fail_msg("%s: not \"%s\" but: %s", name, text, said);
}

#define ASSERT_CAUGHT(scenario, text) assert_caught(scenario, #scenario, text)

static void locks_in_order_are_fine(void **state)
{
	char said[4096];

	assert_int_equal(run(in_order, said, sizeof(said)), 0);
	assert_string_equal(said, "");
}

static void a_violation_ends_the_process_and_names_all_locks(void **state)
{
	ASSERT_CAUGHT(an_inode_under_an_epoch, "wanted: inode.lock (1:5) an_inode_under_an_epoch\n"
					       "lock order:   held: view.epoch_lock (1:1) an_inode_under_an_epoch\n");
	ASSERT_CAUGHT(a_smaller_inode_under_a_greater, "wanted: inode.lock (1:5)");
	ASSERT_CAUGHT(an_inode_of_an_earlier_view, "wanted: inode.lock (1:6)");
	ASSERT_CAUGHT(an_epoch_read_twice, "wanted: view.epoch_lock");
	ASSERT_CAUGHT(epochs_out_of_order, "wanted: view.epoch_lock (1:1)");
	ASSERT_CAUGHT(a_lock_that_was_tried_and_then_an_earlier_one, "wanted: view.names");
	ASSERT_CAUGHT(a_wait_under_a_later_lock, "a wait that takes it again out of order: inode.lock");
	ASSERT_CAUGHT(a_lock_given_up_twice, "given up but not held: view.names");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(locks_in_order_are_fine),
		cmocka_unit_test(a_violation_ends_the_process_and_names_all_locks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
