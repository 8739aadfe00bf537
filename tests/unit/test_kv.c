#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>

#include "tests/unit/kv_store.h"

static void test_families_are_apart_and_survive_reopening(void **state)
{
	char message[KV_MESSAGE_MAX];
	AUTO_FREE char *path = db_path(state);
	struct kv *kv = open_kv(path, true);

	for (int family = 0; family < KV_FAMILY_COUNT; family++) {
		char value[2] = {(char)('0' + family), '\0'};
		expect(kv, family, "key", NULL);
		put(kv, family, "key", value, family % 2 ? KV_SYNC : 0);
	}
	assert_int_equal(kv_sync(kv), 0);
	assert_int_equal(kv_estimate_keys(kv, KV_TREE), 1);
	kv_close(kv);
	kv_close(NULL);
	kv = open_kv(path, false);
	for (int family = 0; family < KV_FAMILY_COUNT; family++) {
		char value[2] = {(char)('0' + family), '\0'};
		expect(kv, family, "key", value);
		assert_true(kv_disk_bytes(kv, family) > 0);
	}
	kv_last_error(kv, message);
	assert_string_equal(message, "");
	kv_close(kv);
}

static void test_batches_apply_in_order_and_whole(void **state)
{
	AUTO_FREE char *path = db_path(state);
	struct kv *kv = open_kv(path, true);
	struct kv_batch *batch = kv_batch_new();

	put(kv, KV_TREE, "gone", "1", 0);
	kv_batch_put(batch, KV_TREE, "a", 1, "1", 1);
	kv_batch_put(batch, KV_TREE, "a", 1, "2", 1);
	kv_batch_put2(batch, KV_SMALL, "b", 1, "head", 4, "tail", 4);
	kv_batch_put(batch, KV_TOUCHED, "empty", 5, NULL, 0);
	kv_batch_delete(batch, KV_TREE, "gone", 4);
	assert_int_equal(kv_batch_count(batch), 5);
	assert_true(kv_batch_bytes(batch) > 20);
	expect(kv, KV_TREE, "a", NULL);
	assert_int_equal(kv_write(kv, batch, 0), 0);
	expect(kv, KV_TREE, "a", "2");
	expect(kv, KV_SMALL, "b", "headtail");
	expect(kv, KV_TOUCHED, "empty", "");
	expect(kv, KV_TREE, "gone", NULL);
	kv_batch_clear(batch);
	assert_int_equal(kv_batch_count(batch), 0);
	assert_int_equal(kv_batch_bytes(batch), 0);
	assert_int_equal(kv_write(kv, batch, KV_SYNC), 0);
	kv_batch_free(batch);
	kv_batch_free(NULL);
	kv_close(kv);
}

static void test_pins_outlive_overwrites(void **state)
{
	AUTO_FREE char *path = db_path(state);
	struct kv *kv = open_kv(path, true);
	struct kv_pin *pin;
	const uint8_t *value;
	size_t len;

	put(kv, KV_SMALL, "key", "old", 0);
	assert_int_equal(kv_pin(kv, KV_SMALL, "none", 4, &pin, &value, &len), -ENOENT);
	assert_int_equal(kv_pin(kv, KV_SMALL, "key", 3, &pin, &value, &len), 0);
	put(kv, KV_SMALL, "key", "new", 0);
	assert_int_equal(len, 3);
	assert_memory_equal(value, "old", 3);
	kv_unpin(pin);
	kv_unpin(NULL);
	expect(kv, KV_SMALL, "key", "new");
	kv_close(kv);
}

static void expect_at(struct kv_iter *iter, const char *key)
{
	size_t len;

	if (!key) {
		assert_false(kv_iter_valid(iter));
		assert_int_equal(kv_iter_status(iter), 0);
		return;
	}
	assert_true(kv_iter_valid(iter));
	const uint8_t *bytes = kv_iter_key(iter, &len);
	assert_int_equal(len, strlen(key));
	assert_memory_equal(bytes, key, len);
	bytes = kv_iter_value(iter, &len);
	assert_int_equal(len, strlen(key) + 1);
	assert_memory_equal(bytes + 1, key, len - 1);
}

static void fill_letters(struct kv *kv)
{
	for (char c = 'a'; c <= 'z'; c++) {
		char key[2] = {c, '\0'}, value[3] = {'=', c, '\0'};
		put(kv, KV_TREE, key, value, 0);
	}
}

static void walk_bounded(struct kv *kv, unsigned flags)
{
	struct kv_iter *iter = kv_iter_new_flags(kv, KV_TREE, "f", 1, "k", 1, flags);

	kv_iter_first(iter);
	for (char c = 'f'; c < 'k'; c++) {
		expect_at(iter, (char[]){c, '\0'});
		kv_iter_next(iter);
	}
	expect_at(iter, NULL);
	kv_iter_seek(iter, "a", 1);
	expect_at(iter, "f");
	kv_iter_seek(iter, "g0", 2);
	expect_at(iter, "h");
	kv_iter_prev(iter);
	expect_at(iter, "g");
	kv_iter_seek(iter, "x", 1);
	expect_at(iter, NULL);
	kv_iter_seek_for_prev(iter, "x", 1);
	for (char c = 'j'; c >= 'f'; c--) {
		expect_at(iter, (char[]){c, '\0'});
		kv_iter_prev(iter);
	}
	expect_at(iter, NULL);
	kv_iter_seek_for_prev(iter, "h", 1);
	expect_at(iter, "h");
	kv_iter_seek_for_prev(iter, "g9", 2);
	expect_at(iter, "g");
	kv_iter_seek_for_prev(iter, "a", 1);
	expect_at(iter, NULL);
	kv_iter_free(iter);
}

static void test_iterators_keep_their_bounds(void **state)
{
	AUTO_FREE char *path = db_path(state);
	struct kv *kv = open_kv(path, true);

	fill_letters(kv);
	walk_bounded(kv, 0);
	kv_close(kv);
	kv = open_kv(path, false);
	walk_bounded(kv, 0);
	walk_bounded(kv, KV_ITER_SCAN);

	struct kv_iter *open_ended = kv_iter_new(kv, KV_TREE, NULL, 0, NULL, 0);
	kv_iter_first(open_ended);
	expect_at(open_ended, "a");
	kv_iter_seek(open_ended, "z", 1);
	expect_at(open_ended, "z");
	kv_iter_next(open_ended);
	expect_at(open_ended, NULL);
	kv_iter_free(open_ended);
	kv_iter_free(NULL);
	kv_close(kv);
}

static void test_iterators_see_their_moment(void **state)
{
	AUTO_FREE char *path = db_path(state);
	struct kv *kv = open_kv(path, true);

	fill_letters(kv);
	struct kv_iter *iter = kv_iter_new(kv, KV_TREE, "c", 1, NULL, 0);
	struct kv_batch *batch = kv_batch_new();
	kv_batch_delete(batch, KV_TREE, "c", 1);
	kv_batch_put(batch, KV_TREE, "d", 1, "changed", 7);
	assert_int_equal(kv_write(kv, batch, 0), 0);
	kv_batch_free(batch);
	kv_iter_first(iter);
	expect_at(iter, "c");
	kv_iter_next(iter);
	expect_at(iter, "d");
	kv_iter_free(iter);
	expect(kv, KV_TREE, "c", NULL);
	kv_close(kv);
}

static void test_opening_refuses(void **state)
{
	AUTO_FREE char *path = db_path(state);
	AUTO_FREE char *nowhere = xasprintf("%s/none/deep", (char *)*state);

	assert_int_equal(open_result(path, false), -ENOENT);
	/* A refusal leaves nothing behind. */
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(open_result(nowhere, false), -ENOENT);

	struct kv *kv = open_kv(path, true);
	put(kv, KV_TREE, "key", "value", 0);
	assert_int_equal(open_result(path, false), -EBUSY);
	kv_close(kv);
	assert_int_equal(open_result(path, true), -EEXIST);

	AUTO_FREE char *sst = find_sst(path);
	AUTO_FREE char *aside = xasprintf("%s/aside", (char *)*state);
	assert_int_equal(rename(sst, aside), 0);
	assert_int_equal(open_result(path, false), -EBADMSG);
	assert_int_equal(rename(aside, sst), 0);
	assert_int_equal(truncate(sst, 10), 0);
	assert_int_equal(open_result(path, false), -EBADMSG);
}
/* --- read-only --- */

static char *listing(const char *dir)
{
	AUTO_FREE char *command = xasprintf("cd %s && ls -lR --time-style=full-iso . && cat db/* | md5sum", dir);
	AUTO_BUF text = BUF_INIT;
	FILE *pipe = popen(command, "r");

	for (int c; (c = fgetc(pipe)) != EOF;)
		buf_add_u8(&text, (uint8_t)c);
	assert_int_equal(pclose(pipe), 0);
	buf_add_u8(&text, 0);
	return (char *)steal_ptr(text.data);
}

/* A process that dies leaves its last writes in the log alone. */
static void leave_a_log(const char *path)
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		struct kv *kv = open_kv(path, true);
		put(kv, KV_TREE, "key", "value", KV_SYNC);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void test_a_read_only_database_is_not_touched(void **state)
{
	AUTO_FREE char *path = db_path(state);
	struct kv_options options = {.read_only = true, .cache_bytes = 1 << 20, .memtable_bytes = 1 << 20, .threads = 2};
	struct kv_batch *batch = kv_batch_new();
	struct error err = {0};
	struct kv_sst *sst;
	struct kv *kv;

	leave_a_log(path);
	AUTO_FREE char *before = listing(*state);
	assert_int_equal(kv_open(path, &options, &kv, &err), 0);
	assert_true(kv_read_only(kv));
	expect(kv, KV_TREE, "key", "value");
	kv_batch_put(batch, KV_TREE, "other", 5, "value", 5);
	assert_int_equal(kv_write(kv, batch, 0), -EROFS);
	assert_int_equal(kv_write(kv, batch, KV_SYNC), -EROFS);
	assert_int_equal(kv_sst_new(kv, KV_BULK, "/nonexistent/x", &sst), -EROFS);
	assert_int_equal(kv_drop_range(kv, KV_TREE, "a", 1, "z", 1), -EROFS);
	assert_int_equal(kv_compact_range(kv, KV_TREE, NULL, 0, NULL, 0, 0), -EROFS);
	assert_int_equal(kv_flush(kv), -EROFS);
	assert_int_equal(kv_sync(kv), 0);
	expect(kv, KV_TREE, "other", NULL);
	expect(kv, KV_TREE, "key", "value");
	kv_close(kv);
	kv_batch_free(batch);
	AUTO_FREE char *after = listing(*state);
	assert_string_equal(after, before);
}

/* --- what the engine said last --- */

#define ROUNDS 40000

struct talkers {
	struct kv *kv;
	atomic_bool stop;
};

static void *fail_in_turns(void *arg)
{
	struct talkers *talkers = arg;
	AUTO_FREE char *nowhere = xasprintf("/nonexistent/%0200d", 0);
	struct kv_sst *sst;

	for (bool longer = false; !atomic_load(&talkers->stop); longer = !longer)
		assert_true(kv_sst_new(talkers->kv, KV_BULK, longer ? nowhere : "/nonexistent/x", &sst) < 0);
	return NULL;
}

static void test_the_last_error_is_told_whole(void **state)
{
	AUTO_FREE char *path = db_path(state);
	struct talkers talkers = {.kv = open_kv(path, true)};
	char shorter[KV_MESSAGE_MAX], text[KV_MESSAGE_MAX];
	struct kv_sst *sst;
	pthread_t thread;

	assert_true(kv_sst_new(talkers.kv, KV_BULK, "/nonexistent/x", &sst) < 0);
	kv_last_error(talkers.kv, shorter);
	assert_int_equal(pthread_create(&thread, NULL, fail_in_turns, &talkers), 0);
	for (int i = 0; i < ROUNDS; i++) {
		kv_last_error(talkers.kv, text);
		assert_true(strlen(text) == strlen(shorter) || strlen(text) == strlen(shorter) + 199);
	}
	atomic_store(&talkers.stop, true);
	pthread_join(thread, NULL);
	kv_close(talkers.kv);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KV_TEST(test_families_are_apart_and_survive_reopening),
		KV_TEST(test_batches_apply_in_order_and_whole),
		KV_TEST(test_pins_outlive_overwrites),
		KV_TEST(test_iterators_keep_their_bounds),
		KV_TEST(test_iterators_see_their_moment),
		KV_TEST(test_opening_refuses),
		KV_TEST(test_a_read_only_database_is_not_touched),
		KV_TEST(test_the_last_error_is_told_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
