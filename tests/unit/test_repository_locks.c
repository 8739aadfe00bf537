/* Locks of a repository: what counts, what is stale, who notices. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/base/clock.h"
#include "lib/repository/go_text.h"
#include "lib/repository/locks.h"
#include "lib/repository/origin.h"
#include "lib/repository/process_json.h"
#include "tests/unit/repository_place.h"

static void test_lock_that_was_taken_away_is_lost(void **state)
{
	struct repository_place place;
	struct repository_lock *lock;
	struct error err = {0};
	char path[600];

	repository_place_make(&place);
	assert_int_equal(repository_lock_take(place.repository, false, &lock, &err), 0);
	assert_int_equal(repository_lock_check(lock, &err), 0);
	assert_int_equal(place_count(&place, "locks", path), 1);
	assert_int_equal(unlink(path), 0);
	assert_false(repository_lock_lost(lock));
	assert_int_equal(repository_lock_check(lock, &err), -ETIMEDOUT);
	assert_true(repository_lock_lost(lock));
	repository_lock_release(lock);
	repository_place_clear(&place);
}

static void test_renewal_does_not_put_a_lock_again_that_was_taken_away(void **state)
{
	struct repository_place place;
	struct repository_lock *lock;
	struct error err = {0};
	char before[600], after[600];

	repository_place_make(&place);
	assert_int_equal(repository_lock_take(place.repository, false, &lock, &err), 0);
	assert_int_equal(place_count(&place, "locks", before), 1);
	repository_lock_renew(lock);
	assert_int_equal(place_count(&place, "locks", after), 1);
	assert_string_not_equal(before, after);
	assert_false(repository_lock_lost(lock));
	assert_int_equal(unlink(after), 0);
	repository_lock_renew(lock);
	assert_true(repository_lock_lost(lock));
	assert_int_equal(place_count(&place, "locks", after), 0);
	repository_lock_release(lock);
	repository_place_clear(&place);
}

static void put_bytes_as_lock(const struct repository_place *place, const char *bytes)
{
	char path[600];
	int fd;

	snprintf(path, sizeof(path), "%s/locks/%064d", place->path, 7);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, strlen(bytes)), strlen(bytes));
	close(fd);
}

static void test_empty_locks_keep_nobody_out(void **state)
{
	struct repository_place place;
	struct repository_lock *lock;
	struct error err = {0};

	repository_place_make(&place);
	put_bytes_as_lock(&place, "");
	assert_int_equal(repository_lock_take(place.repository, true, &lock, &err), 0);
	repository_lock_release(lock);
	repository_place_clear(&place);
}

static void test_locks_that_cannot_be_read_do_not_keep_out_who_only_reads(void **state)
{
	struct repository_place place;
	struct repository_lock *lock;
	struct error err = {0};
	char path[600];

	repository_place_make(&place);
	put_bytes_as_lock(&place, "no lock");
	assert_int_equal(repository_lock_take_to_read(place.repository, &lock, &err), 0);
	assert_non_null(lock);
	repository_lock_release(lock);
	assert_int_equal(place_count(&place, "locks", path), 1);
	repository_place_clear(&place);
}

static void test_who_only_reads_a_copy_without_a_folder_of_locks_has_none(void **state)
{
	struct repository_place place;
	struct repository_lock *lock;
	struct error err = {0};
	char path[600];

	repository_place_make(&place);
	snprintf(path, sizeof(path), "%s/locks", place.path);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(repository_lock_take_to_read(place.repository, &lock, &err), 0);
	assert_null(lock);
	assert_int_equal(repository_lock_take(place.repository, false, &lock, &err), -ENOENT);
	repository_place_clear(&place);
}

static void test_locks_that_cannot_be_read_go_with_all(void **state)
{
	struct repository_place place;
	struct repository_lock *lock;
	struct error err = {0};
	char path[600];
	size_t count;

	repository_place_make(&place);
	put_bytes_as_lock(&place, "no lock");
	assert_int_equal(repository_lock_take(place.repository, true, &lock, &err), -EBADMSG);
	assert_non_null(strstr(err.hint, "unlock --all"));
	assert_int_equal(repository_locks_remove(place.repository, false, &count, &err), 0);
	assert_int_equal(count, 0);
	assert_int_equal(repository_locks_remove(place.repository, true, &count, &err), 0);
	assert_int_equal(count, 1);
	assert_int_equal(place_count(&place, "locks", path), 0);
	assert_int_equal(repository_lock_take(place.repository, true, &lock, &err), 0);
	repository_lock_release(lock);
	repository_place_clear(&place);
}

static void put_lock_as_of(struct repository *repository, struct timespec time, const char *host, long pid, const char *more)
{
	AUTO_BUF json = BUF_INIT;
	struct error err = {0};
	char name[BLOB_ID_TEXT], text[GO_TIME_TEXT];

	go_time_text(time, text);
	buf_addf(&json, "{\"time\":\"%s\",\"exclusive\":true,\"hostname\":\"%s\",\"username\":\"x\",\"pid\":%ld%s}", text, host, pid, more);
	assert_int_equal(repository_put_file(repository, OBJECT_LOCK, &json, name, &err), 0);
}

/* What a lock of a process of this machine says, which was started then. */
static const char *started_here(char text[160], uint64_t started)
{
	char place[PROCFS_PLACE_MAX];

	procfs_place(place);
	assert_true(place[0]);
	snprintf(text, 160, ",\"corpusfs_place\":\"%s\",\"corpusfs_started\":%llu", place, (unsigned long long)started);
	return text;
}

static void put_lock_of(struct repository *repository, long pid, const char *more)
{
	put_lock_as_of(repository, clock_now(), origin_of_process().host, pid, more);
}

/* Who waits for a lock, and what happens meanwhile. */
struct wait {
	struct repository *repository;
	struct timespec renewed_as_of; /* 0: nobody renews it */
	unsigned seconds, ends_at;     /* ends_at: in this second it is to end; 0: it is not */
};

static size_t remove_locks(struct repository *repository, bool all)
{
	struct error err = {0};
	size_t count;

	assert_int_equal(repository_locks_remove(repository, all, &count, &err), 0);
	return count;
}

static int wait_second(void *arg, const char *why, unsigned second, unsigned seconds)
{
	struct wait *wait = arg;

	assert_non_null(strstr(why, "by x on "));
	assert_int_equal(second, wait->seconds++);
	assert_true(seconds >= 6 * 60);
	if (wait->ends_at == wait->seconds)
		return -ECANCELED;
	if (wait->renewed_as_of.tv_sec > 0 && second == 5 * 60) {
		assert_int_equal(remove_locks(wait->repository, true), 1);
		put_lock_as_of(wait->repository, wait->renewed_as_of, "elsewhere", 7, "");
	}
	return 0;
}

static void wait_with(struct repository *repository, struct wait *wait)
{
	*wait = (struct wait){.repository = repository};
	repository->waits = wait_second;
	repository->waits_arg = wait;
}

/* With the lock of somebody elsewhere that is as old as that. */
static void make_with_lock(struct repository_place *place, struct wait *wait, int64_t age_s, struct timespec *ret_time)
{
	*ret_time = clock_now();
	ret_time->tv_sec -= age_s;
	repository_place_make(place);
	wait_with(place->repository, wait);
	put_lock_as_of(place->repository, *ret_time, "elsewhere", 7, "");
}

/* What is said of a lock that another machine put so long ago, and what removes it: unlock, or only unlock of all. NULL: it counts for nothing. */
static void check_age(int64_t seconds, const char *said)
{
	struct repository_place place;
	struct repository_lock *lock;
	struct timespec time;
	struct error err = {0};
	struct wait wait;

	make_with_lock(&place, &wait, seconds, &time);
	assert_int_equal(repository_lock_take(place.repository, true, &lock, &err), said ? -EBUSY : 0);
	assert_true(said ? wait.seconds == 0 : wait.seconds >= 6 * 60);
	if (said) {
		assert_non_null(strstr(err.text, said));
		assert_non_null(strstr(err.hint, "unlock --all"));
	} else {
		repository_lock_release(lock);
		assert_int_equal(remove_locks(place.repository, true), 0);
		put_lock_as_of(place.repository, time, "elsewhere", 7, "");
	}
	assert_int_equal(remove_locks(place.repository, false), said ? 0 : 1);
	assert_int_equal(remove_locks(place.repository, true), said ? 1 : 0);
	repository_place_clear(&place);
}

static void test_lock_of_another_machine_is_stale_after_half_an_hour(void **state)
{
	check_age(0, " 0 minutes ago");
	check_age(29 * 60, " 29 minutes ago");
	check_age(31 * 60, NULL);
}

/* By our clock it is renewed with an old time. */
static void test_lock_that_is_old_by_a_wrong_clock_counts_when_it_is_renewed(void **state)
{
	struct repository_place place;
	struct repository_lock *lock;
	struct timespec time;
	struct error err = {0};
	struct wait wait;
	char path[600];

	make_with_lock(&place, &wait, 31 * 60, &time);
	wait.renewed_as_of = time;
	assert_int_equal(repository_lock_take(place.repository, true, &lock, &err), -EBUSY);
	assert_non_null(strstr(err.hint, "clock"));
	assert_int_equal(place_count(&place, "locks", path), 1);
	repository_place_clear(&place);
}

static void test_waiting_for_an_old_lock_can_be_given_up(void **state)
{
	struct repository_place place;
	struct repository_lock *lock;
	struct timespec time;
	struct error err = {0};
	struct wait wait;

	make_with_lock(&place, &wait, 31 * 60, &time);
	wait.ends_at = 3;
	assert_int_equal(repository_lock_take(place.repository, true, &lock, &err), -ECANCELED);
	assert_int_equal(wait.seconds, 3);
	assert_int_equal(remove_locks(place.repository, true), 1);
	repository_place_clear(&place);
}

static void test_who_only_reads_does_not_wait_for_an_old_lock(void **state)
{
	struct repository_place place;
	struct repository_lock *lock;
	struct timespec time;
	struct error err = {0};
	struct wait wait;

	make_with_lock(&place, &wait, 31 * 60, &time);
	assert_int_equal(repository_lock_take_to_read(place.repository, &lock, &err), 0);
	assert_int_equal(wait.seconds, 0);
	repository_lock_release(lock);
	assert_int_equal(remove_locks(place.repository, true), 1);
	repository_place_clear(&place);
}

static void test_lock_of_a_living_process_of_this_machine_counts_however_old(void **state)
{
	struct repository_place place;
	struct repository_lock *lock;
	struct timespec time = clock_now();
	struct error err = {0};
	struct wait wait;
	uint64_t started;
	char more[160], state_of_parent;

	repository_place_make(&place);
	wait_with(place.repository, &wait);
	wait.ends_at = 1;
	time.tv_sec -= 31 * 60;
	assert_true(procfs_stat(getppid(), &state_of_parent, &started));
	put_lock_as_of(place.repository, time, "another name", getppid(), started_here(more, started));
	assert_int_equal(repository_lock_take(place.repository, true, &lock, &err), -EBUSY);
	assert_non_null(strstr(err.text, " 31 minutes ago"));
	assert_int_equal(remove_locks(place.repository, false), 0);
	assert_int_equal(remove_locks(place.repository, true), 1);
	repository_place_clear(&place);
}

static void test_who_came_at_the_same_time_is_seen_when_a_lock_has_settled(void **state)
{
	struct repository_place place;
	struct repository_lock *lock;
	struct error err = {0};
	char path[600];

	repository_place_make(&place);
	assert_int_equal(repository_lock_begin(place.repository, &lock, &err), 0);
	put_lock_of(place.repository, getppid(), "");
	assert_int_equal(place_count(&place, "locks", path), 2);
	assert_int_equal(repository_lock_settle(lock, &err), -EBUSY);
	repository_lock_release(lock);
	assert_int_equal(remove_locks(place.repository, true), 1);
	assert_int_equal(repository_lock_begin(place.repository, &lock, &err), 0);
	assert_int_equal(repository_lock_settle(lock, &err), 0);
	repository_lock_release(lock);
	repository_place_clear(&place);
}

/* Whose clock is wrong is not known. */
static void test_lock_from_the_future_counts(void **state)
{
	check_age(-2 * 60 * 60, "minutes ahead of this machine's clock");
}

static void test_lock_of_a_process_whose_number_another_one_has_is_stale(void **state)
{
	struct repository_place place;
	struct repository_lock *lock;
	struct error err = {0};
	char more[160];

	repository_place_make(&place);
	put_lock_of(place.repository, getppid(), "");
	assert_int_equal(repository_lock_take(place.repository, false, &lock, &err), -EBUSY);
	assert_int_equal(remove_locks(place.repository, true), 1);
	put_lock_of(place.repository, getppid(), started_here(more, 1));
	assert_int_equal(remove_locks(place.repository, false), 1);
	repository_place_clear(&place);
}

/* Of one whose process nobody here knows. */
static pid_t number_of_nobody(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	return pid;
}

static void test_lock_of_a_process_that_is_not_found_is_stale_only_where_its_number_counts(void **state)
{
	static const char *const elsewhere[] = {"", ",\"corpusfs_started\":1", ",\"corpusfs_place\":\"\",\"corpusfs_started\":1",
	                                        ",\"corpusfs_place\":\"75e7b4e6-1d3c-4b9f-9d09-3f1d6f1e7c55/4026531836/4026531834\",\"corpusfs_started\":1"};
	const pid_t nobody = number_of_nobody();
	struct repository_place place;
	struct repository_lock *lock;
	struct error err = {0};
	char more[160];

	repository_place_make(&place);
	for (size_t i = 0; i < ARRAY_SIZE(elsewhere); i++) {
		put_lock_of(place.repository, nobody, elsewhere[i]);
		assert_int_equal(repository_lock_take(place.repository, true, &lock, &err), -EBUSY);
		assert_non_null(strstr(err.hint, "unlock --all"));
		assert_int_equal(remove_locks(place.repository, false), 0);
		assert_int_equal(remove_locks(place.repository, true), 1);
	}
	put_lock_of(place.repository, nobody, started_here(more, 1));
	assert_int_equal(remove_locks(place.repository, false), 1);
	repository_place_clear(&place);
}

/* What we put says all that others judge by. */
static void test_lock_of_ours_says_which_process_holds_it(void **state)
{
	struct repository_place place;
	struct repository_lock *lock;
	struct object_names names = {0};
	struct error err = {0};
	AUTO_BUF json = BUF_INIT;
	char name[BLOB_ID_TEXT], machine[PROCFS_MACHINE_MAX];
	json_t *object;

	repository_place_make(&place);
	assert_int_equal(repository_lock_take(place.repository, true, &lock, &err), 0);
	assert_int_equal(repository_list(place.repository, OBJECT_LOCK, &names, &err), 0);
	blob_id_text(&names.items[0], name);
	assert_int_equal(repository_get_file(place.repository, OBJECT_LOCK, name, &json, &err), 0);
	object = json_loadb((char *)json.data, json.len, 0, NULL);
	assert_int_equal(process_json_look(object, "corpusfs_"), PROCESS_LIVES);
	procfs_machine(machine);
	assert_string_equal(json_string_value(json_object_get(object, "corpusfs_machine")), machine);
	json_decref(object);
	array_clear(&names);
	repository_lock_release(lock);
	repository_place_clear(&place);
}

/* So that its holder, should it live against all that was seen, notices. */
static void test_what_counts_for_nothing_is_removed(void **state)
{
	struct repository_place place;
	struct repository_lock *lock;
	struct error err = {0};
	char more[160];

	repository_place_make(&place);
	put_lock_of(place.repository, number_of_nobody(), started_here(more, 1));
	assert_int_equal(repository_lock_take(place.repository, true, &lock, &err), 0);
	repository_lock_release(lock);
	assert_int_equal(remove_locks(place.repository, true), 0);
	repository_place_clear(&place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lock_that_was_taken_away_is_lost),
		cmocka_unit_test(test_renewal_does_not_put_a_lock_again_that_was_taken_away),
		cmocka_unit_test(test_empty_locks_keep_nobody_out),
		cmocka_unit_test(test_locks_that_cannot_be_read_do_not_keep_out_who_only_reads),
		cmocka_unit_test(test_who_only_reads_a_copy_without_a_folder_of_locks_has_none),
		cmocka_unit_test(test_locks_that_cannot_be_read_go_with_all),
		cmocka_unit_test(test_lock_of_another_machine_is_stale_after_half_an_hour),
		cmocka_unit_test(test_lock_that_is_old_by_a_wrong_clock_counts_when_it_is_renewed),
		cmocka_unit_test(test_waiting_for_an_old_lock_can_be_given_up),
		cmocka_unit_test(test_who_only_reads_does_not_wait_for_an_old_lock),
		cmocka_unit_test(test_lock_of_a_living_process_of_this_machine_counts_however_old),
		cmocka_unit_test(test_who_came_at_the_same_time_is_seen_when_a_lock_has_settled),
		cmocka_unit_test(test_lock_from_the_future_counts),
		cmocka_unit_test(test_lock_of_a_process_whose_number_another_one_has_is_stale),
		cmocka_unit_test(test_lock_of_a_process_that_is_not_found_is_stale_only_where_its_number_counts),
		cmocka_unit_test(test_lock_of_ours_says_which_process_holds_it),
		cmocka_unit_test(test_what_counts_for_nothing_is_removed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
