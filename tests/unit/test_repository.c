/* A repository: how it begins, its locks, and what a writer refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/base/clock.h"
#include "lib/base/procfs.h"
#include "lib/repository/go_text.h"
#include "lib/repository/locks.h"
#include "lib/repository/origin.h"
#include "lib/repository/snapshot_file.h"
#include "tests/unit/repository_place.h"

/* --- its beginning --- */

static void test_nothing_is_made_beside_the_keys_of_another(void **state)
{
	struct repository_place place;
	struct repository *other = NULL;
	struct error err = {0};
	char path[600];

	repository_place_make(&place);
	assert_int_equal(place_count(&place, "keys", path), 1);
	snprintf(path, sizeof(path), "%s/config", place.path);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(repository_init(place_objects(&place), "another", &other, &err), -EEXIST);
	assert_non_null(strstr(err.text, "config is missing"));
	assert_int_equal(place_count(&place, "keys", path), 1);
	assert_int_equal(access(path, R_OK), 0);
	repository_place_clear(&place);
}

/* --- locks --- */

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

static void test_locks_that_cannot_be_read_go_with_all(void **state)
{
	struct repository_place place;
	struct repository_lock *lock;
	struct error err = {0};
	char path[600];
	size_t count;
	int fd;

	repository_place_make(&place);
	snprintf(path, sizeof(path), "%s/locks/%064d", place.path, 7);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "no lock", 7), 7);
	close(fd);
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
	uint64_t started;
	char more[64], state_of_parent;

	repository_place_make(&place);
	time.tv_sec -= 31 * 60;
	assert_true(procfs_stat(getppid(), &state_of_parent, &started));
	snprintf(more, sizeof(more), ",\"corpusfs_started\":%llu", (unsigned long long)started);
	put_lock_as_of(place.repository, time, origin_of_process().host, getppid(), more);
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

/* --- formats to come --- */

static void test_newer_format_is_refused(void **state)
{
	struct repository_place place;
	struct repository *other = NULL;
	AUTO_BUF config = BUF_INIT, sealed = BUF_INIT;
	struct error err = {0};
	char path[600];
	int fd;

	repository_place_make(&place);
	buf_addf(&config, "{\"version\":3,\"id\":\"%s\",\"chunker_polynomial\":\"3da3358b4dc173\"}", place.repository->id);
	repository_seal(place.repository, &config, &sealed);
	snprintf(path, sizeof(path), "%s/config", place.path);
	assert_int_equal(unlink(path), 0);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, sealed.data, sealed.len), sealed.len);
	close(fd);
	assert_int_equal(repository_open(place_objects(&place), "password", &other, &err), -EPROTONOSUPPORT);
	assert_non_null(strstr(err.text, "format version 3"));
	assert_non_null(strstr(err.hint, "newer corpusfs"));
	repository_place_clear(&place);
}

static void test_lock_of_a_process_whose_number_another_one_has_is_stale(void **state)
{
	struct repository_place place;
	struct repository_lock *lock;
	struct error err = {0};
	size_t count;

	repository_place_make(&place);
	put_lock_of(place.repository, getppid(), "");
	assert_int_equal(repository_lock_take(place.repository, false, &lock, &err), -EBUSY);
	assert_int_equal(repository_locks_remove(place.repository, true, &count, &err), 0);
	put_lock_of(place.repository, getppid(), ",\"corpusfs_started\":1");
	assert_int_equal(repository_lock_take(place.repository, false, &lock, &err), 0);
	repository_lock_release(lock);
	assert_int_equal(repository_locks_remove(place.repository, false, &count, &err), 0);
	assert_int_equal(count, 1);
	repository_place_clear(&place);
}

/* --- writing --- */

static void test_blob_that_could_not_be_read_back_is_refused(void **state)
{
	struct repository_place place;
	struct repository_writer *writer;
	struct repository_hand *hand;
	struct error err = {0};
	const struct new_blob blob = {.is_tree = true, .plain = "", .len = (size_t)BLOB_BYTES_MAX + 1};

	repository_place_make(&place);
	writer = repository_writer_new(place.repository, place.repository->index);
	hand = repository_hand_new(writer);
	assert_int_equal(repository_hand_add(hand, &blob, &err), -EFBIG);
	repository_hand_drop(hand);
	repository_writer_free(writer);
	repository_place_clear(&place);
}

static void test_blob_is_there_for_others_when_it_was_claimed(void **state)
{
	struct repository_place place;
	struct repository_writer *writer;
	const struct blob_id id = blob_id_of("x", 1);

	repository_place_make(&place);
	writer = repository_writer_new(place.repository, place.repository->index);
	assert_false(repository_writer_has(writer, &id, false));
	assert_false(repository_writer_has(writer, &id, false));
	assert_true(repository_writer_claim(writer, &id, false));
	assert_false(repository_writer_claim(writer, &id, false));
	assert_true(repository_writer_has(writer, &id, false));
	assert_false(repository_writer_has(writer, &id, true));
	repository_writer_free(writer);
	repository_place_clear(&place);
}

/* A place that only counts the index files that are put. */
struct counting {
	struct objects objects;
	size_t indexes;
};

static int counting_put(struct objects *objects, enum object_kind kind, const char *name, const void *data, size_t len)
{
	((struct counting *)objects)->indexes += kind == OBJECT_INDEX;
	return 0;
}

static const struct objects_place counting_place = {.put = counting_put};

static void put_pack_of(struct repository_writer *writer, size_t blobs)
{
	const struct new_blob blob = {.id = blob_id_of("x", 1), .plain = "x", .len = 1};
	struct repository_hand *hand = repository_hand_new(writer);
	struct error err = {0};

	for (size_t i = 0; i < blobs; i++)
		assert_int_equal(repository_hand_add(hand, &blob, &err), 0);
	assert_int_equal(repository_hand_end(hand, &err), 0);
}

/* As a backup of many terabytes. */
static void test_pack_gets_no_index_file_of_its_own_after_many_index_files(void **state)
{
	struct counting counting = {.objects = {&counting_place}};
	struct repository_place place;
	struct repository_writer *writer;
	struct writer_counts counts;
	struct objects *inner;
	struct error err = {0};

	repository_place_make(&place);
	inner = place.repository->objects;
	place.repository->objects = &counting.objects;
	writer = repository_writer_new(place.repository, place.repository->index);
	for (size_t i = 1; i <= 40; i++) {
		put_pack_of(writer, 50000);
		assert_int_equal(counting.indexes, i);
	}
	put_pack_of(writer, 1);
	assert_int_equal(counting.indexes, 40);
	assert_int_equal(repository_writer_end(writer, &counts, &err), 0);
	assert_int_equal(counting.indexes, 41);
	repository_writer_free(writer);
	place.repository->objects = inner;
	repository_place_clear(&place);
}

/* --- snapshot files --- */

/* restic says how many bytes it has seen, which may be more than there are. */
static void test_snapshot_file_may_have_numbers_of_any_size(void **state)
{
	struct repository_place place;
	struct snapshot_file snapshot;
	char name[BLOB_ID_TEXT], tree[BLOB_ID_TEXT];
	const struct blob_id id = blob_id_of("tree", 4);
	struct error err = {0};
	AUTO_BUF json = BUF_INIT;

	repository_place_make(&place);
	blob_id_text(&id, tree);
	buf_addf(&json, "{\"time\":\"2023-01-02T03:04:05Z\",\"tree\":\"%s\",\"uid\":4294967295,\"gid\":7,\"summary\":{"
	                "\"total_bytes_processed\":18446744073709551615}}", tree);
	assert_int_equal(repository_put_file(place.repository, OBJECT_SNAPSHOT, &json, name, &err), 0);
	assert_int_equal(snapshot_file_read(place.repository, name, &snapshot, &err), 0);
	assert_true(snapshot.uid == UINT32_MAX && snapshot.gid == 7 && blob_id_equal(&snapshot.tree, &id));
	snapshot_file_clear(&snapshot);
	repository_place_clear(&place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_is_made_beside_the_keys_of_another),
		cmocka_unit_test(test_lock_that_was_taken_away_is_lost),
		cmocka_unit_test(test_renewal_does_not_put_a_lock_again_that_was_taken_away),
		cmocka_unit_test(test_locks_that_cannot_be_read_go_with_all),
		cmocka_unit_test(test_lock_of_a_process_whose_number_another_one_has_is_stale),
		cmocka_unit_test(test_lock_of_another_machine_is_stale_after_half_an_hour),
		cmocka_unit_test(test_lock_that_is_old_by_a_wrong_clock_counts_when_it_is_renewed),
		cmocka_unit_test(test_waiting_for_an_old_lock_can_be_given_up),
		cmocka_unit_test(test_who_only_reads_does_not_wait_for_an_old_lock),
		cmocka_unit_test(test_lock_of_a_living_process_of_this_machine_counts_however_old),
		cmocka_unit_test(test_who_came_at_the_same_time_is_seen_when_a_lock_has_settled),
		cmocka_unit_test(test_lock_from_the_future_counts),
		cmocka_unit_test(test_newer_format_is_refused),
		cmocka_unit_test(test_blob_that_could_not_be_read_back_is_refused),
		cmocka_unit_test(test_blob_is_there_for_others_when_it_was_claimed),
		cmocka_unit_test(test_snapshot_file_may_have_numbers_of_any_size),
		cmocka_unit_test(test_pack_gets_no_index_file_of_its_own_after_many_index_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
