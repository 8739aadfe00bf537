/* The lock of a store that somebody keeps for who goes on. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>

#include "lib/base/clock.h"
#include "lib/store/lock.h"
#include "lib/store/lock_file.h"
#include "tests/unit/lock_place.h"

static const pid_t dead[] = {4711, 0};

static struct lock *go_on(struct place *place, int kept)
{
	const struct lock_options options = {.beat_ms = 10, .patience_ms = 300, .dead = dead, .locked_fd = kept};
	struct error err = {0};
	struct lock *lock = NULL;

	if (lock_take(&place->dir, &options, &lock, &err) < 0)
		fail_msg("lock_take: %s", err.text);
	return lock;
}

/* The file says who writes the store, and how that went in the end. */
static void test_who_goes_on_may_write_what_could_only_be_read(void **state)
{
	struct error err = {0};
	struct place place;
	int kept;

	place_make(&place);
	assert_int_equal(lock_file_share(&place.dir, -1, &kept, &err), 0);
	struct lock *lock = go_on(&place, kept);
	assert_int_equal(lock_file_owner(place.dir.fd), getpid());
	lock_set_result(lock, -ENOSPC);
	lock_release(lock);
	assert_int_equal(lock_file_result(place.dir.fd), -ENOSPC);
	close(kept);
	place_clear(&place);
}

static void *let_go(void *arg)
{
	clock_pause_us(20000);
	close(*(int *)arg);
	return NULL;
}

static void test_who_looks_just_then_is_in_nobodys_way(void **state)
{
	struct error err = {0};
	struct place place;
	pthread_t thread;
	int kept, looks;

	place_make(&place);
	assert_int_equal(lock_file_share(&place.dir, -1, &kept, &err), 0);
	assert_int_equal(lock_file_share(&place.dir, -1, &looks, &err), 0);
	assert_int_equal(pthread_create(&thread, NULL, let_go, &looks), 0);
	lock_release(go_on(&place, kept));
	pthread_join(thread, NULL);
	close(kept);
	place_clear(&place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_who_goes_on_may_write_what_could_only_be_read),
		cmocka_unit_test(test_who_looks_just_then_is_in_nobodys_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
