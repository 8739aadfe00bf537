/* Locks of a repository that this machine put before it was started anew, and those of a clone of it, which has the same names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <sys/syscall.h>

#include "lib/base/clock.h"
#include "lib/base/process_mark.h"
#include "lib/repository/go_text.h"
#include "lib/repository/locks.h"
#include "tests/unit/repository_place.h"

#define HOUR_S 3600
#define BEFORE_RENEWAL_S (3 * 60) /* who lives may have put it so long ago */
#define AFTER_RENEWAL_S (7 * 60)
#define OTHER_MACHINE "0123456789abcdef0123456789abcdef"

static int64_t runs_since_s; /* 0: not said */

/* This machine is started when the test says. */
int clock_gettime(clockid_t clock, struct timespec *ret_time)
{
	if (clock == CLOCK_BOOTTIME && runs_since_s > 0) {
		*ret_time = (struct timespec){.tv_sec = runs_since_s};
		return 0;
	}
	return (int)syscall(SYS_clock_gettime, clock, ret_time);
}

static struct scene {
	struct repository_place place;
	struct process_mark us;
	unsigned waited_s;
} scene;

static int wait_second(void *arg, const char *why, unsigned second, unsigned seconds)
{
	scene.waited_s++;
	return 0;
}

static int set_up(void **state)
{
	scene = (struct scene){0};
	process_mark_of(getpid(), &scene.us);
	repository_place_make(&scene.place);
	scene.place.repository->waits = wait_second;
	return 0;
}

static int tear_down(void **state)
{
	runs_since_s = 0;
	repository_place_clear(&scene.place);
	return 0;
}

static size_t remove_locks(bool all)
{
	struct error err = {0};
	size_t count;

	assert_int_equal(repository_locks_remove(scene.place.repository, all, &count, &err), 0);
	return count;
}

/* Of another boot. */
static void put_lock(const char *host, const char *machine, int64_t age_s)
{
	struct timespec time = clock_now();
	struct error err = {0};
	char name[BLOB_ID_TEXT], text[GO_TIME_TEXT];
	AUTO_BUF json = BUF_INIT;

	time.tv_sec -= age_s;
	go_time_text(time, text);
	buf_addf(&json, "{\"time\":\"%s\",\"exclusive\":true,\"hostname\":\"%s\",\"username\":\"x\",\"pid\":%d,\"corpusfs_machine\":\"%s\","
	                "\"corpusfs_place\":\"75e7b4e6-1d3c-4b9f-9d09-3f1d6f1e7c55/4026531836/4026531834\",\"corpusfs_started\":1}",
	         text, host, getpid(), machine);
	assert_int_equal(repository_put_file(scene.place.repository, OBJECT_LOCK, &json, name, &err), 0);
}

static void lock_counts(const char *host, const char *machine, int64_t age_s)
{
	struct repository_lock *lock;
	struct error err = {0};

	put_lock(host, machine, age_s);
	assert_int_equal(repository_lock_take(scene.place.repository, true, &lock, &err), -EBUSY);
	assert_non_null(strstr(err.hint, "unlock --all"));
	assert_int_equal(remove_locks(false), 0);
	assert_int_equal(remove_locks(true), 1);
}

static void skip_where_it_is_not_known(void)
{
	if (!scene.us.machine[0] || procfs_pid_namespace() != 4026531836U)
		skip(); /* in a container, or on a machine without an id */
}

static void lock_from_before_the_boot_is_stale_at_once(void **state)
{
	struct repository_lock *lock;
	struct error err = {0};

	skip_where_it_is_not_known();
	runs_since_s = BEFORE_RENEWAL_S;
	put_lock(scene.us.host, scene.us.machine, AFTER_RENEWAL_S);
	assert_int_equal(repository_lock_take(scene.place.repository, true, &lock, &err), 0);
	repository_lock_release(lock);
	assert_int_equal(scene.waited_s, 0);
	assert_int_equal(remove_locks(true), 0);
	put_lock(scene.us.host, scene.us.machine, AFTER_RENEWAL_S);
	assert_int_equal(remove_locks(false), 1);
}

static void lock_of_another_host_or_machine_counts(void **state)
{
	runs_since_s = BEFORE_RENEWAL_S;
	lock_counts("another name", scene.us.machine, AFTER_RENEWAL_S);
	lock_counts(scene.us.host, OTHER_MACHINE, AFTER_RENEWAL_S);
}

/* It runs, and puts locks while we run. */
static void lock_of_a_clone_of_this_machine_counts(void **state)
{
	skip_where_it_is_not_known();
	runs_since_s = HOUR_S;
	lock_counts(scene.us.host, scene.us.machine, 0);
	lock_counts(scene.us.host, scene.us.machine, AFTER_RENEWAL_S);
}

/* It put its lock before our boot, and has not had to put it anew yet. */
static void lock_of_a_clone_counts_when_we_have_just_been_started(void **state)
{
	skip_where_it_is_not_known();
	runs_since_s = 1;
	lock_counts(scene.us.host, scene.us.machine, BEFORE_RENEWAL_S);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(lock_from_before_the_boot_is_stale_at_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(lock_of_another_host_or_machine_counts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(lock_of_a_clone_of_this_machine_counts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(lock_of_a_clone_counts_when_we_have_just_been_started, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
