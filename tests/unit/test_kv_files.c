#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>

#include "lib/format/key.h"
#include "tests/unit/kv_store.h"

#define SYNCED 500
#define INGESTED 40
#define CHUNK_LEN 100000

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
		result = kv_sst_put(sst, key.bytes, key.len, value, 50, value + 50, CHUNK_LEN - 50);
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
	char message[KV_MESSAGE_MAX];
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
	assert_int_equal(kv_sst_put(sst, "b", 1, "x", 1, NULL, 0), 0);
	assert_int_equal(kv_sst_put(sst, "a", 1, "x", 1, NULL, 0), -EINVAL);
	assert_int_equal(kv_ingest(kv, sst), -EINVAL);
	kv_sst_free(sst);
	assert_int_equal(access(file, F_OK), -1);
	kv_sst_free(NULL);
	assert_true(kv_sst_new(kv, KV_BULK, "/nonexistent/dir/x.sst", &sst) < 0);
	kv_last_error(kv, message);
	assert_true(strlen(message) > 0);
	kv_close(kv);
}

/* Some in one block each, some longer than what is written at once, many of them; keys that share their beginnings, and do not. */
static size_t value_len(uint32_t i)
{
	static const size_t lens[] = {0, 1, 100, 1023, 1024, 1025, 16384, 65536, 3 << 20};

	return i < 1000 ? 10 + i % 7 : lens[i % ARRAY_SIZE(lens)];
}

static size_t make_key(uint32_t i, uint8_t key[64])
{
	memset(key, (int)(i >> 8), 64);
	key[3] = (uint8_t)i;
	return 4 + i % 50;
}

static int is_damaged(void *arg, const struct kv_damaged_table *table)
{
	(void)arg;
	print_error("%s is damaged\n", table->name);
	return 1;
}

static void test_values_of_all_lengths_come_back(void **state)
{
	AUTO_FREE char *path = db_path(state);
	AUTO_FREE char *file = xasprintf("%s/x.sst", (char *)*state);
	AUTO_FREE uint8_t *bytes = xmalloc(4 << 20);
	struct kv *kv = open_kv(path, true);
	AUTO_BUF value = BUF_INIT;
	uint8_t key[64];
	struct kv_sst *sst;

	for (size_t i = 0; i < 4 << 20; i++)
		bytes[i] = (uint8_t)(i * 7 + (i >> 9));
	assert_int_equal(kv_sst_new(kv, KV_BULK, file, &sst), 0);
	for (uint32_t i = 0; i < 1040; i++) {
		const size_t len = value_len(i), head = MIN(len, i % 60);

		assert_int_equal(kv_sst_put(sst, key, make_key(i, key), bytes + i, head, bytes + i + head, len - head), 0);
	}
	assert_int_equal(kv_sst_finish(sst), 0);
	assert_int_equal(kv_ingest(kv, sst), 0);
	kv_sst_free(sst);
	for (int round = 0; round < 2; round++) {
		for (uint32_t i = 0; i < 1040; i++) {
			assert_int_equal(kv_get(kv, KV_BULK, key, make_key(i, key), &value), 0);
			assert_int_equal(value.len, value_len(i));
			assert_memory_equal(value.data, bytes + i, value.len);
		}
		assert_int_equal(kv_each_damaged_table(kv, true, NULL, is_damaged, NULL), 0);
		kv_close(kv);
		kv = open_kv(path, false);
	}
	/* RocksDB's own merging takes it apart and together, too. */
	assert_int_equal(kv_compact_range(kv, KV_BULK, NULL, 0, NULL, 0, 0), 0);
	assert_int_equal(kv_get(kv, KV_BULK, key, make_key(1039, key), &value), 0);
	assert_int_equal(value.len, value_len(1039));
	kv_close(kv);
}

/* RocksDB verifies the checksum of each block: of lengths, key, value, end and the checksum itself. */
static void test_a_change_anywhere_in_a_block_is_seen(void **state)
{
	AUTO_FREE char *path = db_path(state);
	AUTO_FREE char *file = xasprintf("%s/x.sst", (char *)*state);
	struct kv *kv = open_kv(path, true);
	AUTO_BUF value = BUF_INIT;
	struct kv_sst *sst;
	uint8_t byte;

	assert_int_equal(kv_sst_new(kv, KV_BULK, file, &sst), 0);
	assert_int_equal(kv_sst_put(sst, "abc", 3, "head", 4, "and tail", 8), 0);
	assert_int_equal(kv_sst_finish(sst), 0);
	assert_int_equal(kv_ingest(kv, sst), 0);
	kv_sst_free(sst);
	kv_close(kv);
	AUTO_FREE char *table = find_sst(path);
	const int fd = open(table, O_RDWR);
	assert_true(fd >= 0);
	for (off_t at = 0; at < 3 + 11 + 12 + 8 + 1 + 4; at += 4) {
		assert_int_equal(pread(fd, &byte, 1, at), 1);
		byte ^= 0x10;
		assert_int_equal(pwrite(fd, &byte, 1, at), 1);
		kv = open_kv(path, false);
		if (kv_get(kv, KV_BULK, "abc", 3, &value) != -EBADMSG)
			fail_msg("a change of byte %d is not seen", (int)at);
		kv_close(kv);
		byte ^= 0x10;
		assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	}
	close(fd);
	kv = open_kv(path, false);
	assert_int_equal(kv_get(kv, KV_BULK, "abc", 3, &value), 0);
	assert_int_equal(value.len, 12);
	assert_memory_equal(value.data, "headand tail", 12);
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
		execl("/proc/self/exe", "test_kv_files", "write-and-die", (char *)*state, (char *)NULL);
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
	assert_int_equal(kv_compact_range(kv, KV_BULK, NULL, 0, NULL, 0, 0), 0);
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

static void test_rotten_chunk_is_reported(void **state)
{
	char message[KV_MESSAGE_MAX];
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
	kv_last_error(kv, message);
	assert_non_null(strstr(message, "Corruption"));
	expect_chunks(kv, 2, 4, 0);
	kv_close(kv);
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "write-and-die") == 0)
		return write_and_die(argv[2]);

	const struct CMUnitTest tests[] = {
		KV_TEST(test_sst_files_are_moved_in),
		KV_TEST(test_values_of_all_lengths_come_back),
		KV_TEST(test_a_change_anywhere_in_a_block_is_seen),
		KV_TEST(test_what_was_synced_or_ingested_survives_death),
		KV_TEST(test_dropping_ranges_stops_at_their_ends),
		KV_TEST(test_rotten_chunk_is_reported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
