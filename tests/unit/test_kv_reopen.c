/* A merge meets damage: RocksDB stops writing, and the database is opened anew under its users. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>

#include "lib/base/clock.h"
#include "lib/kv/inside.h"
#include "tests/unit/fault_wait.h"
#include "tests/unit/stopped_db.h"

#define REFUSED "kv-write-refused"
#define PATIENCE_MS 20000
#define READERS 2

static bool has_value(struct kv *kv, unsigned round, unsigned number)
{
	AUTO_BUF found = BUF_INIT;
	uint8_t value[VALUE_LEN];
	char key[16];

	key_of(number, key);
	value_of(round, number, value);
	return kv_get(kv, KV_TREE, key, strlen(key), &found) == 0 && found.len == VALUE_LEN && memcmp(found.data, value, VALUE_LEN) == 0;
}

static void has_round(struct kv *kv, unsigned round)
{
	for (unsigned i = 0; i < KEYS; i++)
		assert_true(has_value(kv, round, i));
}

/* Until the merge was tried; each write and each flush succeeds all the while. Returns the last round. */
static unsigned write_through_it(struct kv *kv)
{
	const uint64_t end = clock_ms() + PATIENCE_MS;
	unsigned round = 3;

	for (;; round++) {
		assert_int_equal(put_round(kv, round), 0);
		if (kv_damaged(kv))
			return round;
		assert_true(clock_ms() < end);
		usleep(20000); /* the merge runs beside */
	}
}

static void test_writing_goes_on_when_a_merge_meets_damage(void **state)
{
	AUTO_FREE char *path = db_path(state), *mark = xasprintf("%s/mark", (const char *)*state);
	struct kv *kv = open_damaged(path, mark);
	char text[KV_MESSAGE_MAX];
	unsigned round = write_through_it(kv);

	assert_false(kv_stopped(kv));
	assert_true(kv_damage_told(kv, text));
	assert_int_equal(access(mark, F_OK), 0);
	has_round(kv, round);
	/* nothing is merged any more, so nothing stops it again */
	for (unsigned more = 0; more < 12; more++)
		assert_int_equal(put_round(kv, ++round), 0);
	assert_int_equal(put_value(kv, ++round, 7, KV_SYNC), 0);
	assert_int_equal(kv_sync(kv), 0);
	kv_close(kv);
	kv = open_kv(path, false);
	assert_true(has_value(kv, round, 7) && has_value(kv, round - 1, 8));
	kv_close(kv);
}

/* What is not synced is in the log only, and comes through. */
static void test_what_was_written_before_is_there_after(void **state)
{
	AUTO_FREE char *path = db_path(state), *mark = xasprintf("%s/mark", (const char *)*state);
	struct kv *kv = open_damaged(path, mark);
	const uint64_t end = clock_ms() + PATIENCE_MS;
	const unsigned round = 4;

	assert_int_equal(put_round(kv, 3), 0);
	unsigned written = 0;
	for (; !kv_damaged(kv); written++) {
		assert_int_equal(put_value(kv, round, written % KEYS, 0), 0);
		assert_true(clock_ms() < end);
		usleep(100);
	}
	for (unsigned i = 0; i < KEYS; i++)
		assert_true(has_value(kv, i < written ? round : 3, i));
	kv_close(kv);
}

/* Killed in a change that was refused: what was written before is there, and the database opens. */
static void test_killed_when_it_was_refused_it_opens_with_all_of_before(void **state)
{
	AUTO_FREE char *path = db_path(state), *mark = xasprintf("%s/mark", (const char *)*state);
	pid_t child = fork();
	int status;

	if (child == 0) {
		struct kv *kv;

		setenv("CORPUSFS_FAULT", REFUSED ":kill", 1);
		kv = open_damaged(path, mark);
		stop_by_damage(kv);
		(void)!put_value(kv, 9, 1, 0);
		_exit(1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	struct kv *kv = open_kv(path, false);
	for (unsigned i = 0; i < KEYS; i++)
		assert_true(has_value(kv, 2, i));
	kv_close(kv);
}

#define BIG_KEYS 64
#define BIG_LEN (128U << 10)

static void put_big_values(struct kv *kv)
{
	AUTO_FREE uint8_t *value = xcalloc(1, BIG_LEN);
	struct kv_batch *batch = kv_batch_new();
	uint32_t noise = 1;
	char key[16];

	for (size_t i = 0; i < BIG_LEN; i++)
		value[i] = (uint8_t)((noise = noise * 1664525 + 1013904223) >> 24);
	for (unsigned i = 0; i < BIG_KEYS; i++) {
		key_of(i, key);
		kv_batch_put(batch, KV_CATALOG, key, strlen(key), value, BIG_LEN);
	}
	assert_int_equal(kv_write(kv, batch, 0), 0);
	kv_batch_free(batch);
	assert_int_equal(kv_flush(kv), 0);
}

struct scrub {
	struct kv *kv;
	pthread_t thread;
	atomic_bool stop;
	uint64_t bytes;
	unsigned steps, damaged, inside;
};

static int rest(void *arg, uint64_t bytes)
{
	struct scrub *scrub = arg;

	scrub->bytes += bytes;
	scrub->steps++;
	if (!atomic_load(&scrub->stop) && kv_shut_out(scrub->kv, 1000))
		kv_let_in(scrub->kv);
	else
		scrub->inside++;
	return 0;
}

static int count_damaged(void *arg, const struct kv_damaged_table *table)
{
	struct scrub *scrub = arg;

	scrub->damaged++;
	return 0;
}

static void test_a_scrub_is_outside_while_it_rests(void **state)
{
	AUTO_FREE char *path = db_path(state), *mark = xasprintf("%s/mark", (const char *)*state);
	struct kv *kv = open_damaged(path, mark);
	struct scrub scrub = {.kv = kv};

	put_big_values(kv);
	assert_int_equal(kv_each_damaged_table(kv, false, rest, count_damaged, &scrub), 0);
	assert_int_equal(scrub.damaged, 1);
	assert_true(scrub.steps > 4 && scrub.bytes > BIG_KEYS / 2 * BIG_LEN);
	assert_int_equal(scrub.inside, 0);
	kv_close(kv);
}

static void *walk_slowly(void *arg)
{
	struct scrub *scrub = arg;

	while (!atomic_load(&scrub->stop)) {
		struct kv_iter *iter = kv_iter_new(scrub->kv, KV_CATALOG, NULL, 0, NULL, 0);
		unsigned number = 0;
		for (kv_iter_first(iter); kv_iter_valid(iter); kv_iter_next(iter), number++) {
			char key[16];
			size_t len;
			const uint8_t *found = kv_iter_key(iter, &len);
			key_of(number, key);
			scrub->damaged += len != strlen(key) || memcmp(found, key, len) != 0;
			usleep(20000);
			kv_iter_make_way(iter);
		}
		scrub->damaged += number != BIG_KEYS || kv_iter_status(iter) != 0;
		scrub->steps++;
		kv_iter_free(iter);
	}
	return NULL;
}

/* It lasts for more than a second each time, and misses no key. */
static void test_a_walk_that_makes_way_stops_nobody(void **state)
{
	AUTO_FREE char *path = db_path(state), *mark = xasprintf("%s/mark", (const char *)*state);
	struct kv *kv = open_damaged(path, mark);
	struct scrub walk = {.kv = kv};

	put_big_values(kv);
	assert_int_equal(pthread_create(&walk.thread, NULL, walk_slowly, &walk), 0);
	const unsigned round = write_through_it(kv);
	has_round(kv, round);
	atomic_store(&walk.stop, true);
	pthread_join(walk.thread, NULL);
	assert_true(walk.steps > 0);
	assert_int_equal(walk.damaged, 0);
	kv_close(kv);
}

/* What stood under the scan is gone when it comes back: no other key is passed over. */
static void test_a_walk_that_made_way_goes_on_behind_a_key_that_went(void **state)
{
	AUTO_FREE char *path = db_path(state);
	struct kv *kv = open_kv(path, true);
	struct kv_iter *iter;
	size_t len;

	put(kv, KV_CATALOG, "one", "1", 0);
	put(kv, KV_CATALOG, "three", "3", 0);
	put(kv, KV_CATALOG, "two", "2", 0);
	iter = kv_iter_new(kv, KV_CATALOG, NULL, 0, NULL, 0);
	kv_iter_first(iter);
	kv_iter_next(iter);
	struct kv_batch *batch = kv_batch_new();
	kv_batch_delete(batch, KV_CATALOG, "three", 5);
	assert_int_equal(kv_write(kv, batch, 0), 0);
	kv_batch_free(batch);
	atomic_store(&kv->wanted, true);
	kv_iter_make_way(iter);
	atomic_store(&kv->wanted, false);
	kv_iter_next(iter);
	assert_true(kv_iter_valid(iter));
	assert_memory_equal(kv_iter_key(iter, &len), "two", 3);
	kv_iter_next(iter);
	assert_false(kv_iter_valid(iter));
	assert_int_equal(kv_iter_status(iter), 0);
	kv_iter_free(iter);
	kv_close(kv);
}

struct witness {
	struct kv *kv;
	pthread_t thread;
	atomic_bool stop;
	unsigned reads, wrong;
};

/* Reads keys that nobody writes, by one and by scans. */
static void *read_on(void *arg)
{
	struct witness *witness = arg;

	while (!atomic_load(&witness->stop)) {
		AUTO_BUF value = BUF_INIT;
		unsigned found = 0;
		struct kv_iter *iter = kv_iter_new(witness->kv, KV_CATALOG, NULL, 0, NULL, 0);
		for (kv_iter_first(iter); kv_iter_valid(iter); kv_iter_next(iter))
			found++;
		witness->wrong += kv_iter_status(iter) != 0 || found != 2;
		kv_iter_free(iter);
		witness->wrong += kv_get(witness->kv, KV_CATALOG, "one", 3, &value) != 0 || value.len != 3;
		witness->reads++;
	}
	return NULL;
}

static void test_readers_notice_nothing(void **state)
{
	AUTO_FREE char *path = db_path(state), *mark = xasprintf("%s/mark", (const char *)*state);
	struct kv *kv = open_damaged(path, mark);
	struct witness witnesses[READERS] = {0};

	put(kv, KV_CATALOG, "one", "1st", 0);
	put(kv, KV_CATALOG, "two", "2nd", 0);
	for (size_t i = 0; i < READERS; i++) {
		witnesses[i].kv = kv;
		assert_int_equal(pthread_create(&witnesses[i].thread, NULL, read_on, &witnesses[i]), 0);
	}
	has_round(kv, write_through_it(kv));
	for (size_t i = 0; i < READERS; i++) {
		atomic_store(&witnesses[i].stop, true);
		pthread_join(witnesses[i].thread, NULL);
		assert_true(witnesses[i].reads > 0);
		assert_int_equal(witnesses[i].wrong, 0);
	}
	kv_close(kv);
}

static int put_soon(struct kv *kv, unsigned number, unsigned flags)
{
	int result = -EBADMSG;

	for (const uint64_t until = clock_ms() + PATIENCE_MS; result == -EBADMSG && clock_ms() < until; usleep(20000))
		result = put_value(kv, 1, number, flags);
	return result;
}

static void *write_one(void *arg)
{
	(void)!put_value(arg, 1, 1, 0);
	return NULL;
}

/* One is refused and rests before he notes it; another opens the database anew: what the first notes is not held against that. */
static void test_one_that_was_refused_before_does_not_stop_what_was_opened_since(void **state)
{
	AUTO_FREE char *path = db_path(state), *mark = xasprintf("%s/mark", (const char *)*state);
	struct kv *kv = open_damaged(path, mark);
	pthread_t thread;

	stop_by_damage(kv);
	assert_int_equal(pthread_create(&thread, NULL, write_one, kv), 0);
	fault_wait(REFUSED);
	assert_int_equal(put_soon(kv, 2, 0), 0);
	pthread_join(thread, NULL);
	assert_false(kv_stopped(kv));
	kv_close(kv);
}

/* Until the merge has stopped it. */
static void write_until_refused(struct kv *kv)
{
	const uint64_t end = clock_ms() + PATIENCE_MS;
	int result = 0;

	for (unsigned round = 3; result == 0; round++) {
		result = put_round(kv, round);
		assert_true(clock_ms() < end);
		usleep(20000);
	}
	assert_int_equal(result, -EBADMSG);
}

/* It stays where it is, the change fails as it would have, and the next one after the scan succeeds. */
static void test_a_scan_that_does_not_end_keeps_the_database_as_it_is(void **state)
{
	AUTO_FREE char *path = db_path(state), *mark = xasprintf("%s/mark", (const char *)*state);
	struct kv *kv = open_damaged(path, mark);
	struct kv_iter *iter = kv_iter_new(kv, KV_TREE, NULL, 0, NULL, 0);

	write_until_refused(kv);
	assert_true(kv_stopped(kv));
	kv_iter_first(iter);
	assert_true(kv_iter_valid(iter));
	kv_iter_free(iter);
	assert_int_equal(put_soon(kv, 1, KV_SYNC), 0);
	assert_false(kv_stopped(kv));
	assert_true(has_value(kv, 1, 1));
	kv_close(kv);
}

static void test_one_that_could_not_be_opened_is_not_closed(void **state)
{
	AUTO_FREE char *path = db_path(state), *mark = xasprintf("%s/mark", (const char *)*state);
	struct kv *kv = open_damaged(path, mark);
	AUTO_BUF value = BUF_INIT;
	int result;

	move(path, "CURRENT", "away");
	write_until_refused(kv);
	assert_int_equal(put_value(kv, 1, 1, 0), -EBADMSG);
	assert_true(kv_sync(kv) < 0 && kv_flush(kv) < 0);
	kv_go_on(kv);
	assert_int_equal(kv_get(kv, KV_TREE, "key-00007", 9, &value), 0);
	assert_int_equal(value.len, VALUE_LEN);
	move(path, "away", "CURRENT");
	const uint64_t until = clock_ms() + 30000;
	while ((result = kv_sync(kv)) < 0 && clock_ms() < until)
		usleep(20000);
	assert_int_equal(result, 0);
	assert_int_equal(put_value(kv, 1, 1, KV_SYNC), 0);
	assert_true(has_value(kv, 1, 1));
	kv_close(kv);
}

/* What was acknowledged is in memory still. Opened anew, it would be gone. */
static void test_one_whose_log_is_damaged_too_is_not_closed(void **state)
{
	AUTO_FREE char *path = db_path(state), *mark = xasprintf("%s/mark", (const char *)*state);
	struct kv *kv = open_damaged(path, mark);
	struct kv_batch *batch = kv_batch_new();
	AUTO_BUF value = BUF_INIT;

	kv_batch_put(batch, KV_CATALOG, "name", 4, "of a dataset", 12);
	assert_int_equal(kv_write(kv, batch, KV_SYNC), 0);
	kv_batch_free(batch);
	AUTO_FREE char *log = find_file(path, ".log", true);
	flip(path, log, 20, 3);
	stop_by_damage(kv);
	assert_int_equal(put_value(kv, 1, 1, 0), -EBADMSG);
	assert_true(kv_stopped(kv));
	assert_int_equal(kv_get(kv, KV_CATALOG, "name", 4, &value), 0);
	flip(path, log, 20, 3);
	kv_close(kv);
	kv = open_kv(path, false);
	assert_int_equal(kv_get(kv, KV_CATALOG, "name", 4, &value), 0);
	kv_close(kv);
}

static int count_table(void *arg, const struct kv_table *table)
{
	++*(unsigned *)arg;
	return 0;
}

static unsigned count_tables(struct kv *kv)
{
	unsigned count = 0;

	assert_int_equal(kv_each_table(kv, KV_TREE, count_table, &count), 0);
	return count;
}

/* Each round adds a table; until some were merged. */
static void is_merged_again(struct kv *kv)
{
	const uint64_t end = clock_ms() + PATIENCE_MS;
	const unsigned before = count_tables(kv);
	unsigned rounds = 0;

	do {
		assert_int_equal(put_round(kv, 10 + rounds++), 0);
		usleep(20000);
		assert_true(clock_ms() < end);
	} while (count_tables(kv) >= before + rounds);
}

/* For want of room, say. All was found sound before. */
static void test_what_is_opened_anew_late_merges_what_is_sound_by_then(void **state)
{
	AUTO_FREE char *path = db_path(state), *mark = xasprintf("%s/mark", (const char *)*state);
	struct kv *kv = open_damaged(path, mark);
	AUTO_FREE char *table = find_file(path, ".sst", false);
	struct scrub scrub = {.kv = kv, .stop = true};

	move(path, "CURRENT", "away");
	write_until_refused(kv);
	flip(path, table, length_of(path, table) / 2, 3);
	kv_tables_look(kv);
	assert_int_equal(kv_each_damaged_table(kv, true, rest, count_damaged, &scrub), 0);
	assert_int_equal(scrub.damaged, 0);
	kv_tables_seen(kv);
	assert_int_equal(kv_damaged(kv), KV_SOUND);
	move(path, "away", "CURRENT");
	for (const uint64_t until = clock_ms() + PATIENCE_MS; kv_sync(kv) < 0; usleep(20000))
		assert_true(clock_ms() < until);
	assert_int_equal(kv_damaged(kv), KV_SOUND);
	is_merged_again(kv);
	kv_close(kv);
}

static int take_away(void **state)
{
	AUTO_FREE char *mark = xasprintf("%s/mark", (const char *)*state);

	unlink(mark);
	return take_down(state);
}

#define REOPEN_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, take_away)

int main(void)
{
	const struct CMUnitTest tests[] = {
		REOPEN_TEST(test_killed_when_it_was_refused_it_opens_with_all_of_before), /* first: a process reads the fault points once */
		REOPEN_TEST(test_one_that_was_refused_before_does_not_stop_what_was_opened_since), /* next: the fault point acts once */
		REOPEN_TEST(test_writing_goes_on_when_a_merge_meets_damage),
		REOPEN_TEST(test_what_was_written_before_is_there_after),
		REOPEN_TEST(test_readers_notice_nothing),
		REOPEN_TEST(test_a_scrub_is_outside_while_it_rests),
		REOPEN_TEST(test_a_walk_that_makes_way_stops_nobody),
		REOPEN_TEST(test_a_walk_that_made_way_goes_on_behind_a_key_that_went),
		REOPEN_TEST(test_one_that_could_not_be_opened_is_not_closed),
		REOPEN_TEST(test_one_whose_log_is_damaged_too_is_not_closed),
		REOPEN_TEST(test_a_scan_that_does_not_end_keeps_the_database_as_it_is),
		REOPEN_TEST(test_what_is_opened_anew_late_merges_what_is_sound_by_then),
	};

	setenv("CORPUSFS_FAULT", REFUSED ":sleep2000", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
