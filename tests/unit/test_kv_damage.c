#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>

#include "lib/kv/mend.h"
#include "tests/unit/damaged_db.h"

#define BATCHES 60
#define VALUE_LEN 5000
#define TRIES 24
#define DEATHS 12
#define BESIDE 8

/* What the program that died had been promised: in which log, and up to which byte, and how many batches that was. */
struct promised {
	char log[32];
	uint64_t bytes;
	uint32_t batches;
};

static uint64_t random_below(uint64_t *state, uint64_t limit)
{
	*state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (*state >> 33) % limit;
}

static void find_newest_log(const char *db, struct promised *promised)
{
	DIR *dir = opendir(db);
	struct stat st;

	promised->log[0] = '\0';
	for (struct dirent *entry; (entry = readdir(dir));)
		if (strstr(entry->d_name, ".log") && strcmp(entry->d_name, promised->log) > 0)
			snprintf(promised->log, sizeof(promised->log), "%.31s", entry->d_name);
	assert_int_equal(fstatat(dirfd(dir), promised->log, &st, 0), 0);
	promised->bytes = (uint64_t)st.st_size;
	closedir(dir);
}

static int write_batch(struct kv *kv, uint32_t number, unsigned flags)
{
	struct kv_batch *batch = kv_batch_new();
	uint8_t value[VALUE_LEN];

	memset(value, (int)number, sizeof(value));
	kv_batch_put(batch, KV_TREE, &number, sizeof(number), value, sizeof(value));
	kv_batch_put(batch, KV_CATALOG, &number, sizeof(number), &number, sizeof(number));
	int result = kv_write(kv, batch, flags);
	kv_batch_free(batch);
	return result;
}

/* Run in a process of its own: every third batch is synced, one way or the other; the last ones are not. */
static int write_and_die(const char *dir, bool flushes)
{
	AUTO_FREE char *path = xasprintf("%s/db", dir), *note = xasprintf("%s/promised", dir);
	struct promised promised = {0};
	struct error err = {0};
	struct kv_options options = {.create = true, .cache_bytes = 1 << 20, .memtable_bytes = 4 << 20, .threads = 2};
	struct kv *kv;

	if (kv_open(path, &options, &kv, &err) < 0)
		return 1;
	for (uint32_t i = 0; i < BATCHES; i++) {
		const bool sync = i % 3 == 0 && i < BATCHES - 20;
		if (write_batch(kv, i, sync && i % 2 ? KV_SYNC : 0) < 0)
			return 2;
		if (!sync)
			continue;
		if (i % 2 == 0 && kv_sync(kv) < 0)
			return 3;
		find_newest_log(path, &promised);
		promised.batches = i + 1;
		if (flushes && i == BATCHES / 2 && kv_flush(kv) < 0)
			return 4;
	}
	if (kv_keep_known(kv) < 0 || file_replace(note, &promised, sizeof(promised), 0600) < 0)
		return 5;
	_exit(0);
}

static int write_small_one(struct kv *kv, uint32_t number)
{
	struct kv_batch *batch = kv_batch_new();

	kv_batch_put(batch, KV_TOUCHED, &number, sizeof(number), &number, sizeof(number));
	int result = kv_write(kv, batch, 0);
	kv_batch_free(batch);
	return result;
}

/*
 * The same: the last batch is the first one in its log, and is synced one way or the other. `hidden`: the log before has grown by more than the
 * bytes of all batches, so that nobody looks for a new one at once.
 */
static int begin_log_and_die(const char *dir, bool at_once, bool hidden)
{
	AUTO_FREE char *path = xasprintf("%s/db", dir), *note = xasprintf("%s/promised", dir);
	struct promised promised = {.batches = 12};
	struct kv *kv = open_kv(path, true);

	for (uint32_t i = 0; i < promised.batches; i++) {
		const bool is_last = i + 1 == promised.batches;
		for (uint32_t small = 0; hidden && is_last && small < VALUE_LEN / 8; small++)
			if (write_small_one(kv, small) < 0)
				return 1;
		if (is_last && kv_flush(kv) < 0)
			return 1;
		if (write_batch(kv, i, (is_last && at_once) || i == 0 ? KV_SYNC : 0) < 0)
			return 2;
	}
	if ((!at_once && kv_sync(kv) < 0) || (hidden && kv_keep_known(kv) < 0))
		return 3;
	find_newest_log(path, &promised);
	if (file_replace(note, &promised, sizeof(promised), 0600) < 0)
		return 4;
	_exit(0);
}

/* Many changes at a time, so that those of others get much greater numbers. */
static void *write_without_end(void *arg)
{
	for (uint32_t i = 0;;) {
		struct kv_batch *batch = kv_batch_new();
		for (const uint32_t end = i + 16; i < end; i++)
			kv_batch_put(batch, KV_TOUCHED, &i, sizeof(i), &i, sizeof(i));
		if (kv_write(arg, batch, 0) < 0)
			_exit(5);
		kv_batch_free(batch);
	}
	return NULL;
}

/* The same: while somebody else writes, the last batch is synced. */
static int die_beside_a_writer(const char *dir)
{
	AUTO_FREE char *path = xasprintf("%s/db", dir);
	struct kv *kv = open_kv(path, true);
	pthread_t writer;

	if (pthread_create(&writer, NULL, write_without_end, kv))
		return 1;
	for (uint32_t i = 0; i < BESIDE; i++)
		if (write_batch(kv, i, i + 1 == BESIDE ? KV_SYNC : 0) < 0)
			return 2;
	_exit(0);
}

static void run_until_it_dies(void **state, const char *how)
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		execl("/proc/self/exe", "test_kv_damage", how, (char *)*state, (char *)NULL);
		_exit(9);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static struct promised let_it_die(void **state, const char *how)
{
	AUTO_FREE char *note = xasprintf("%s/promised", (const char *)*state);
	AUTO_BUF content = BUF_INIT;
	struct promised promised;

	run_until_it_dies(state, how);
	assert_int_equal(file_read(note, sizeof(promised), &content), 0);
	memcpy(&promised, content.data, sizeof(promised));
	assert_true(promised.batches > 10 && promised.bytes > VALUE_LEN);
	return promised;
}

/* The first `count` batches are there; returns how many follow them without a gap. */
static uint32_t expect_batches(struct kv *kv, uint32_t count)
{
	AUTO_BUF value = BUF_INIT;
	uint32_t found = 0;

	for (; found < BATCHES && kv_get(kv, KV_TREE, &found, sizeof(found), &value) == 0; found++) {
		assert_int_equal(value.len, VALUE_LEN);
		assert_int_equal(value.data[VALUE_LEN - 1], found);
		assert_int_equal(kv_has(kv, KV_CATALOG, &found, sizeof(found)), 0);
	}
	assert_true(found >= count);
	return found;
}

static struct kv *open_accepting(const char *db, unsigned accept)
{
	struct kv_options options = {.read_only = true, .accept = accept, .cache_bytes = 1 << 20, .memtable_bytes = 1 << 20, .threads = 1};
	struct error err = {0};
	struct kv *kv = NULL;

	if (kv_open(db, &options, &kv, &err) < 0)
		assert_int_equal(err.code, -EBADMSG);
	return kv;
}

static void opens_whole(const char *db, const struct promised *promised)
{
	struct kv *kv = open_kv(db, false);

	assert_null(kv_lost(kv));
	expect_batches(kv, promised->batches);
	kv_close(kv);
}

static void is_refused(const char *db, const char *named)
{
	struct kv_options options = {.cache_bytes = 1 << 20, .memtable_bytes = 1 << 20, .threads = 1};
	struct error err = {0};
	struct kv *kv = NULL;

	assert_int_equal(kv_open(db, &options, &kv, &err), -EBADMSG);
	if (!strstr(err.text, named))
		fail_msg("\"%s\" does not name %s", err.text, named);
}

static void lose_what_nobody_was_promised(void **state, const struct promised *promised)
{
	uint64_t seed = 1;

	for (int i = 0; i < TRIES; i++) {
		AUTO_FREE char *db = copy_db(state);
		const uint64_t bytes = length_of(db, promised->log), loose = bytes - promised->bytes;
		const uint64_t at = promised->bytes + random_below(&seed, loose);
		if (i % 4 == 0)
			cut(db, promised->log, at);
		else if (i % 4 == 1)
			overwrite(db, promised->log, at, bytes - at, 0);
		else if (i % 4 == 2)
			overwrite(db, promised->log, at, MIN(bytes - at, 4096), 0);
		else
			flip(db, promised->log, at, (unsigned)i % 8);
		opens_whole(db, promised);
	}
}

static void test_a_log_that_lost_what_nobody_was_promised_opens(void **state)
{
	struct promised promised = let_it_die(state, "one-log");

	lose_what_nobody_was_promised(state, &promised);
	AUTO_FREE char *db = copy_db(state);
	cut(db, promised.log, promised.bytes);
	opens_whole(db, &promised);
}

static void test_flushes_change_nothing_of_that(void **state)
{
	struct promised promised = let_it_die(state, "flushes");

	lose_what_nobody_was_promised(state, &promised);
}

static void damage_what_was_promised(void **state, const struct promised *promised)
{
	uint64_t seed = 2;

	for (int i = 0; i < TRIES; i++) {
		AUTO_FREE char *db = copy_db(state);
		/* the last bytes before the border, too */
		const uint64_t at = i < 8 ? promised->bytes - 1 - (uint64_t)i : random_below(&seed, promised->bytes);
		if (i % 3 == 0)
			cut(db, promised->log, at);
		else if (i % 3 == 1)
			overwrite(db, promised->log, at, 1, 0xa5);
		else
			flip(db, promised->log, at, (unsigned)i % 8);
		is_refused(db, promised->log);
		assert_null(open_accepting(db, KV_ACCEPT_CHUNKS));
		struct kv *kv = open_accepting(db, KV_ACCEPT_LOG);
		assert_non_null(kv);
		assert_non_null(strstr(kv_lost(kv), promised->log));
		assert_true(expect_batches(kv, 0) < promised->batches);
		kv_close(kv);
		is_refused(db, promised->log);
	}
}

static void test_damage_below_the_last_sync_is_refused(void **state)
{
	struct promised promised = let_it_die(state, "one-log");

	damage_what_was_promised(state, &promised);
	AUTO_FREE char *db = copy_db(state);
	cut(db, promised.log, 0);
	is_refused(db, promised.log);
	AUTO_FREE char *log = xasprintf("%s/%s", db, promised.log);
	unlink(log);
	is_refused(db, "missing");
}

static void test_damage_of_a_log_after_a_flush_is_refused(void **state)
{
	struct promised promised = let_it_die(state, "flushes");

	damage_what_was_promised(state, &promised);
}

/* Whatever bit it is, and however it is opened. */
static void test_damage_anywhere_in_the_first_change_of_a_log_is_refused(void **state)
{
	const char *const ways[] = {"new-log", "new-log-at-once", "new-log-hidden"};

	for (size_t way = 0; way < ARRAY_SIZE(ways); way++) {
		const struct promised promised = let_it_die(state, ways[way]);
		AUTO_FREE char *db = copy_db(state), *lived = db_path(state);
		for (uint64_t at = 0; at < promised.bytes; at++) {
			flip(db, promised.log, at, (unsigned)(at % 8));
			is_refused(db, promised.log);
			assert_null(open_accepting(db, 0));
			if (at % 256 == 0) {
				struct kv *kv = open_accepting(db, KV_ACCEPT_LOG);
				assert_non_null(strstr(kv_lost(kv), promised.log));
				kv_close(kv);
			}
			flip(db, promised.log, at, (unsigned)(at % 8));
		}
		opens_whole(db, &promised);
		assert_int_equal(file_empty_dir(lived), 0);
	}
}

/* Its number is that which it had in the log, whoever wrote meanwhile. */
static void test_damage_of_what_was_synced_beside_a_writer_is_refused(void **state)
{
	uint8_t value[VALUE_LEN / 4];

	memset(value, BESIDE - 1, sizeof(value));
	for (int i = 0; i < DEATHS; i++) {
		struct promised promised;
		AUTO_BUF log = BUF_INIT;
		run_until_it_dies(state, "beside");
		AUTO_FREE char *db = copy_db(state), *lived = db_path(state);
		find_newest_log(db, &promised);
		AUTO_FREE char *path = xasprintf("%s/%s", db, promised.log);
		assert_int_equal(file_read(path, 64 << 20, &log), 0);
		const uint8_t *found = memmem(log.data, log.len, value, sizeof(value));
		assert_non_null(found);
		flip(db, promised.log, (uint64_t)(found - log.data), 0);
		is_refused(db, promised.log);
		assert_int_equal(file_empty_dir(lived), 0);
	}
}

/* Every table and every file that the database cannot do without. */
static void test_a_missing_or_shorter_file_is_named(void **state)
{
	let_it_die(state, "flushes");
	AUTO_FREE char *whole = copy_db(state);
	DIR *dir = opendir(whole);
	char names[64][32];
	size_t count = 0;

	for (struct dirent *entry; (entry = readdir(dir)) && count < 64;)
		if (strstr(entry->d_name, ".sst") || strncmp(entry->d_name, "MANIFEST-", 9) == 0 || strcmp(entry->d_name, "CURRENT") == 0)
			snprintf(names[count++], sizeof(names[0]), "%.31s", entry->d_name);
	closedir(dir);
	assert_true(count >= 4);
	for (size_t i = 0; i < count; i++) {
		for (int way = 0; way < 3; way++) {
			AUTO_FREE char *db = copy_db(state), *path = xasprintf("%s/%s", db, names[i]);
			if (way == 0)
				unlink(path);
			else
				cut(db, names[i], way == 1 ? length_of(db, names[i]) - 1 : 0);
			is_refused(db, names[i]);
		}
	}
}

static void test_a_closed_database_notices_a_shorter_manifest(void **state)
{
	let_it_die(state, "one-log");
	AUTO_FREE char *path = db_path(state);
	AUTO_BUF current = BUF_INIT;

	kv_close(open_kv(path, false));
	AUTO_FREE char *db = copy_db(state), *name = xasprintf("%s/CURRENT", db);
	assert_int_equal(file_read(name, 64, &current), 0);
	current.data[current.len - 1] = '\0';
	const char *manifest = (const char *)current.data;
	for (uint64_t bytes = length_of(db, manifest); bytes-- > 0;) {
		cut(db, manifest, bytes);
		is_refused(db, manifest);
	}
}

/* What is known of the log is known by one file; without it nothing is taken for granted. */
static void test_a_database_that_does_not_know_its_log_is_refused(void **state)
{
	let_it_die(state, "one-log");
	for (int way = 0; way < 3; way++) {
		AUTO_FREE char *db = copy_db(state), *synced = xasprintf("%s/SYNCED", db);
		if (way == 0)
			unlink(synced);
		else if (way == 1)
			cut(db, "SYNCED", 0);
		else
			overwrite(db, "SYNCED", 0, length_of(db, "SYNCED"), 0x55);
		is_refused(db, "SYNCED");
		struct kv *kv = open_accepting(db, KV_ACCEPT_LOG);
		assert_non_null(strstr(kv_lost(kv), "SYNCED"));
		kv_close(kv);
		assert_int_equal(kv_mend_log(db), 0);
		kv_close(open_kv(db, false));
	}
}

static void test_lost_chunks_do_not_keep_the_rest(void **state)
{
	AUTO_FREE char *path = db_path(state);
	struct kv *kv = open_kv(path, true);
	AUTO_BUF value = BUF_INIT;

	put(kv, KV_SMALL, "chunk", "content", 0);
	kv_close(kv);
	AUTO_FREE char *table = find_sst(path);
	kv = open_kv(path, false);
	put(kv, KV_TREE, "name", "here", 0);
	kv_close(kv);
	unlink(table);
	is_refused(path, "content of files");
	assert_null(open_accepting(path, KV_ACCEPT_LOG));
	kv = open_accepting(path, KV_ACCEPT_CHUNKS);
	expect(kv, KV_TREE, "name", "here");
	assert_int_equal(kv_get(kv, KV_SMALL, "chunk", 5, &value), -EIO);
	kv_close(kv);
}

static void test_lost_metadata_keeps_all(void **state)
{
	AUTO_FREE char *path = db_path(state);
	struct kv *kv = open_kv(path, true);

	put(kv, KV_TREE, "name", "here", 0);
	kv_close(kv);
	AUTO_FREE char *table = find_sst(path);
	unlink(table);
	is_refused(path, "names");
	assert_null(open_accepting(path, KV_ACCEPT_LOG | KV_ACCEPT_CHUNKS));
	kv = open_accepting(path, KV_ACCEPT_METADATA);
	assert_non_null(kv);
	kv_close(kv);
}

#define DAMAGE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, take_down)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		DAMAGE_TEST(test_a_log_that_lost_what_nobody_was_promised_opens),
		DAMAGE_TEST(test_flushes_change_nothing_of_that),
		DAMAGE_TEST(test_damage_below_the_last_sync_is_refused),
		DAMAGE_TEST(test_damage_of_a_log_after_a_flush_is_refused),
		DAMAGE_TEST(test_damage_anywhere_in_the_first_change_of_a_log_is_refused),
		DAMAGE_TEST(test_damage_of_what_was_synced_beside_a_writer_is_refused),
		DAMAGE_TEST(test_a_missing_or_shorter_file_is_named),
		DAMAGE_TEST(test_a_closed_database_notices_a_shorter_manifest),
		DAMAGE_TEST(test_a_database_that_does_not_know_its_log_is_refused),
		DAMAGE_TEST(test_lost_chunks_do_not_keep_the_rest),
		DAMAGE_TEST(test_lost_metadata_keeps_all),
	};

	if (argc == 3 && strcmp(argv[1], "beside") == 0)
		return die_beside_a_writer(argv[2]);
	if (argc == 3 && strncmp(argv[1], "new-log", 7) == 0)
		return begin_log_and_die(argv[2], strcmp(argv[1], "new-log-at-once") == 0, strcmp(argv[1], "new-log-hidden") == 0);
	if (argc == 3)
		return write_and_die(argv[2], strcmp(argv[1], "flushes") == 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
