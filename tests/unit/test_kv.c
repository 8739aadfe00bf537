#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "lib/base/file.h"
#include "lib/format/key.h"
#include "lib/kv/kv.h"

#define SYNCED 500
#define INGESTED 40
#define CHUNK_LEN 100000

static struct kv *open_kv(const char *path, bool create)
{
	struct kv_options options = {.create = create, .cache_bytes = 8 << 20, .memtable_bytes = 8 << 20, .threads = 2};
	struct error err = {0};
	struct kv *kv = NULL;

	if (kv_open(path, &options, &kv, &err) < 0)
		fail_msg("%s", err.text);
	return kv;
}

static int open_result(const char *path, bool create)
{
	struct kv_options options = {.create = create, .cache_bytes = 1 << 20, .memtable_bytes = 1 << 20, .threads = 1};
	struct error err = {0};
	struct kv *kv = NULL;
	int result = kv_open(path, &options, &kv, &err);

	assert_true((result == 0) == (err.text[0] == '\0'));
	assert_int_equal(result, err.code);
	kv_close(kv);
	return result;
}

/* Each test gets a directory with an empty subdirectory "db", and takes it away with all that RocksDB left. */
static int set_up(void **state)
{
	char *dir = xstrdup("/tmp/corpusfs-kv.XXXXXX");
	AUTO_FREE char *db = mkdtemp(dir) ? xasprintf("%s/db", dir) : NULL;

	*state = dir;
	return mkdir(db, 0700);
}

static int tear_down(void **state)
{
	AUTO_FREE char *dir = *state;
	AUTO_FREE char *db = xasprintf("%s/db", dir);

	if (file_empty_dir(db) < 0 || rmdir(db) < 0 || file_empty_dir(dir) < 0)
		return -1;
	return rmdir(dir);
}

static char *db_path(void **state)
{
	return xasprintf("%s/db", (const char *)*state);
}

static void put(struct kv *kv, enum kv_family family, const char *key, const char *value, unsigned flags)
{
	struct kv_batch *batch = kv_batch_new();

	kv_batch_put(batch, family, key, strlen(key), value, strlen(value));
	assert_int_equal(kv_write(kv, batch, flags), 0);
	kv_batch_free(batch);
}

static void expect(struct kv *kv, enum kv_family family, const char *key, const char *value)
{
	AUTO_BUF buf = BUF_INIT;

	buf_addf(&buf, "untouched");
	int result = kv_get(kv, family, key, strlen(key), &buf);
	assert_int_equal(kv_has(kv, family, key, strlen(key)), result);
	if (!value) {
		assert_int_equal(result, -ENOENT);
		assert_int_equal(buf.len, 9);
		return;
	}
	assert_int_equal(result, 0);
	assert_int_equal(buf.len, strlen(value));
	assert_memory_equal(buf.data, value, buf.len);
}

static void test_families_are_apart_and_survive_reopening(void **state)
{
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
	assert_string_equal(kv_last_error(kv), "");
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

static void fill_chunk(uint64_t id, uint8_t *value)
{
	for (size_t i = 0; i < CHUNK_LEN; i++)
		value[i] = (uint8_t)(id * 31 + i * 7 + (i >> 8));
}

/* Writes chunks [first, first + count) as one file and moves it in. */
static int ingest(struct kv *kv, const char *dir, uint64_t first, uint64_t count)
{
	AUTO_FREE char *path = xasprintf("%s/%llu.sst", dir, (unsigned long long)first);
	AUTO_FREE uint8_t *value = xmalloc(CHUNK_LEN);
	struct kv_sst *sst = NULL;
	int result = kv_sst_new(kv, KV_BULK, path, &sst);

	for (uint64_t id = first; result == 0 && id < first + count; id++) {
		struct small_key key = chunk_key(CHUNK_BULK | id);
		fill_chunk(id, value);
		result = kv_sst_put(sst, key.bytes, key.len, value, CHUNK_LEN);
	}
	if (result == 0)
		result = kv_sst_finish(sst);
	if (result == 0)
		result = kv_ingest(kv, sst);
	kv_sst_free(sst);
	if (result == 0 && access(path, F_OK) == 0)
		result = -EEXIST;
	return result;
}

static void expect_chunks(struct kv *kv, uint64_t first, uint64_t last, int result)
{
	AUTO_FREE uint8_t *expected = xmalloc(CHUNK_LEN);
	AUTO_BUF value = BUF_INIT;

	for (uint64_t id = first; id < last; id++) {
		struct small_key key = chunk_key(CHUNK_BULK | id);
		assert_int_equal(kv_get(kv, KV_BULK, key.bytes, key.len, &value), result);
		if (result < 0)
			continue;
		fill_chunk(id, expected);
		assert_int_equal(value.len, CHUNK_LEN);
		assert_memory_equal(value.data, expected, CHUNK_LEN);
	}
}

static void test_sst_files_are_moved_in(void **state)
{
	AUTO_FREE char *path = db_path(state);
	AUTO_FREE char *file = xasprintf("%s/x.sst", (char *)*state);
	struct kv *kv = open_kv(path, true);
	struct kv_sst *sst;

	assert_int_equal(ingest(kv, *state, 1, INGESTED), 0);
	assert_int_equal(ingest(kv, *state, 100, 2), 0);
	expect_chunks(kv, 1, 1 + INGESTED, 0);
	expect_chunks(kv, 100, 102, 0);
	expect_chunks(kv, 50, 60, -ENOENT);

	assert_int_equal(kv_sst_new(kv, KV_BULK, file, &sst), 0);
	assert_int_equal(kv_sst_finish(sst), -EINVAL);
	assert_int_equal(kv_sst_put(sst, "b", 1, "x", 1), 0);
	assert_int_equal(kv_sst_put(sst, "a", 1, "x", 1), -EINVAL);
	assert_int_equal(kv_ingest(kv, sst), -EINVAL);
	kv_sst_free(sst);
	assert_int_equal(access(file, F_OK), -1);
	kv_sst_free(NULL);
	assert_true(kv_sst_new(kv, KV_BULK, "/nonexistent/dir/x.sst", &sst) < 0);
	assert_true(strlen(kv_last_error(kv)) > 0);
	kv_close(kv);
}

/* Run in a process of its own (main): writes, syncs, ingests, and dies without closing anything. */
static int write_and_die(const char *dir)
{
	AUTO_FREE char *path = xasprintf("%s/db", dir);
	struct kv_options options = {.create = true, .cache_bytes = 1 << 20, .memtable_bytes = 4 << 20, .threads = 2};
	struct kv *kv;
	struct error err;

	if (kv_open(path, &options, &kv, &err) < 0)
		return 1;
	struct kv_batch *batch = kv_batch_new();
	for (uint32_t i = 0; i < SYNCED; i++) {
		struct small_key key = catalog_key_u32('F', i);
		kv_batch_clear(batch);
		kv_batch_put(batch, KV_CATALOG, key.bytes, key.len, &i, sizeof(i));
		kv_batch_put(batch, KV_DEDUP, key.bytes, key.len, &i, sizeof(i));
		if (kv_write(kv, batch, 0) < 0)
			return 2;
	}
	if (kv_sync(kv) < 0 || ingest(kv, dir, 1, INGESTED) < 0)
		return 3;
	_exit(0);
}

static void test_what_was_synced_or_ingested_survives_death(void **state)
{
	AUTO_FREE char *path = db_path(state);
	AUTO_BUF value = BUF_INIT;
	int status;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		execl("/proc/self/exe", "test_kv", "write-and-die", (char *)*state, (char *)NULL);
		_exit(9);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);

	struct kv *kv = open_kv(path, false);
	for (uint32_t i = 0; i < SYNCED; i++) {
		struct small_key key = catalog_key_u32('F', i);
		assert_int_equal(kv_get(kv, KV_CATALOG, key.bytes, key.len, &value), 0);
		assert_memory_equal(value.data, &i, sizeof(i));
		assert_int_equal(kv_has(kv, KV_DEDUP, key.bytes, key.len), 0);
	}
	expect_chunks(kv, 1, 1 + INGESTED, 0);
	kv_close(kv);
}

static void drop(struct kv *kv, uint64_t first, uint64_t end)
{
	struct small_key from = chunk_key(CHUNK_BULK | first), to = chunk_key(CHUNK_BULK | end);

	assert_int_equal(kv_drop_range(kv, KV_BULK, from.bytes, from.len, to.bytes, to.len), 0);
}

static void test_dropping_ranges_stops_at_their_ends(void **state)
{
	AUTO_FREE char *path = db_path(state);
	struct kv *kv = open_kv(path, true);

	for (uint64_t first = 0; first < 600; first += 50)
		assert_int_equal(ingest(kv, *state, first, 50), 0);
	uint64_t before = kv_disk_bytes(kv, KV_BULK);
	/* The file 150..199 ends just where a range does; 256 needs a borrow; the last ranges cut files in two. */
	drop(kv, 50, 199);
	drop(kv, 256, 300);
	drop(kv, 410, 420);
	expect_chunks(kv, 0, 50, 0);
	expect_chunks(kv, 50, 199, -ENOENT);
	expect_chunks(kv, 199, 256, 0);
	expect_chunks(kv, 256, 300, -ENOENT);
	expect_chunks(kv, 300, 410, 0);
	expect_chunks(kv, 410, 420, -ENOENT);
	expect_chunks(kv, 420, 600, 0);
	/* Two of the files went without any compaction. */
	assert_true(kv_disk_bytes(kv, KV_BULK) < before - 90 * CHUNK_LEN);
	kv_compact_range(kv, KV_BULK, NULL, 0, NULL, 0);
	assert_true(kv_disk_bytes(kv, KV_BULK) < before - 200 * CHUNK_LEN);
	kv_close(kv);
	kv = open_kv(path, false);
	expect_chunks(kv, 50, 199, -ENOENT);
	expect_chunks(kv, 199, 256, 0);
	expect_chunks(kv, 420, 600, 0);
	drop(kv, 0, 600);
	expect_chunks(kv, 0, 600, -ENOENT);
	kv_close(kv);
}

/* The path of the first file in the directory that ends in .sst. */
static char *find_sst(const char *path)
{
	DIR *dir = opendir(path);
	char *found = NULL;

	assert_non_null(dir);
	for (struct dirent *entry; !found && (entry = readdir(dir));)
		if (strstr(entry->d_name, ".sst"))
			found = xasprintf("%s/%s", path, entry->d_name);
	closedir(dir);
	return found;
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

static void test_rotten_chunk_is_reported(void **state)
{
	AUTO_FREE char *path = db_path(state);
	struct kv *kv = open_kv(path, true);
	struct small_key key = chunk_key(CHUNK_BULK | 1);
	AUTO_BUF value = BUF_INIT;

	assert_int_equal(ingest(kv, *state, 1, 3), 0);
	kv_close(kv);
	AUTO_FREE char *sst = find_sst(path);
	int fd = open(sst, O_WRONLY);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, "rot", 3, CHUNK_LEN / 2), 3);
	close(fd);
	kv = open_kv(path, false);
	assert_int_equal(kv_get(kv, KV_BULK, key.bytes, key.len, &value), -EBADMSG);
	assert_int_equal(value.len, 0);
	assert_non_null(strstr(kv_last_error(kv), "Corruption"));
	expect_chunks(kv, 2, 4, 0);
	kv_close(kv);
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "write-and-die") == 0)
		return write_and_die(argv[2]);

#define KV_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		KV_TEST(test_families_are_apart_and_survive_reopening),
		KV_TEST(test_batches_apply_in_order_and_whole),
		KV_TEST(test_pins_outlive_overwrites),
		KV_TEST(test_iterators_keep_their_bounds),
		KV_TEST(test_iterators_see_their_moment),
		KV_TEST(test_sst_files_are_moved_in),
		KV_TEST(test_what_was_synced_or_ingested_survives_death),
		KV_TEST(test_dropping_ranges_stops_at_their_ends),
		KV_TEST(test_opening_refuses),
		KV_TEST(test_rotten_chunk_is_reported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
