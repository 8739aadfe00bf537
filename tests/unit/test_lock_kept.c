/* The lock of a store that somebody keeps for who goes on, and what its file says. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/resource.h>

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

/* The text of the last one would be a number, too, and its first digit as well: that of another process. */
static void test_an_owner_who_has_no_room_for_his_text_is_nobody_else(void **state)
{
	const char last[] = "7654 corpusfs\n";
	struct rlimit before, one_byte;
	struct place place;

	place_make(&place);
	AUTO_CLOSE int fd = openat(place.dir.fd, LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
	assert_int_equal(pwrite(fd, last, strlen(last), 0), strlen(last));
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	one_byte = (struct rlimit){.rlim_cur = 1, .rlim_max = before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &one_byte), 0);
	lock_file_write_owner(fd);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(lock_file_owner(place.dir.fd), -1);
	assert_int_equal(lock_file_result(place.dir.fd), -ENOTCONN);
	place_clear(&place);
}

/* For a moment, or since the disk was full when he came. */
static void test_an_owner_who_has_not_written_who_he_is_is_named(void **state)
{
	struct error err = {0};
	struct place place;
	AUTO_FREE char *wanted = xasprintf("process %ld (test_lock_kept)", (long)getpid());
	int fd, other;

	place_make(&place);
	assert_int_equal(lock_file_take(&place.dir, &fd, &err), 0);
	assert_int_equal(lock_file_take(&place.dir, &other, &err), -EBUSY);
	assert_non_null(strstr(err.text, wanted));
	assert_int_equal(lock_file_share(&place.dir, -1, &other, &err), -EBUSY);
	assert_non_null(strstr(err.text, wanted));
	close(fd);
	place_clear(&place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_who_goes_on_may_write_what_could_only_be_read),
		cmocka_unit_test(test_who_looks_just_then_is_in_nobodys_way),
		cmocka_unit_test(test_an_owner_who_has_no_room_for_his_text_is_nobody_else),
		cmocka_unit_test(test_an_owner_who_has_not_written_who_he_is_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
