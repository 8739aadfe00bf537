/* The list of tables is damaged, and made whole again of itself and its copy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/wait.h>

#include "lib/kv/manifest.h"
#include "lib/kv/manifest_copy.h"
#include "lib/kv/mend.h"
#include "lib/kv/synced.h"
#include "tests/unit/damaged_db.h"

#define ROUNDS 12

static void round_key(uint32_t number, char key[16])
{
	snprintf(key, 16, "key-%u", number);
}

static int put_round(struct kv *kv, uint32_t number)
{
	struct kv_batch *batch = kv_batch_new();
	char key[16], before[16];

	round_key(number, key);
	round_key(number - 1, before);
	kv_batch_put(batch, KV_TREE, key, strlen(key), key, strlen(key));
	kv_batch_put(batch, KV_CATALOG, "last", 4, key, strlen(key));
	if (number % 3 == 2)
		kv_batch_delete(batch, KV_TREE, before, strlen(before));
	int result = kv_write(kv, batch, KV_SYNC);
	kv_batch_free(batch);
	return result;
}

/* Run in a process of its own, which dies: tables were made, merged and removed, and the log has more. */
static int write_and_die(const char *dir)
{
	AUTO_FREE char *path = xasprintf("%s/db", dir);
	const struct kv_options options = {.create = true, .cache_bytes = 1 << 20, .memtable_bytes = 4 << 20, .threads = 2};
	struct error err = {0};
	struct kv *kv;

	if (kv_open(path, &options, &kv, &err) < 0)
		return 1;
	for (uint32_t i = 0; i < ROUNDS; i++)
		if (put_round(kv, i) < 0 || (i % 4 == 2 && kv_flush(kv) < 0) ||
		    (i == 8 && kv_compact_range(kv, KV_TREE, "a", 1, "z", 1, 1 << 20) < 0) || (i == 9 && kv_sync(kv) < 0))
			return 2;
	_exit(0);
}

static void let_it_die(void **state)
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		execl("/proc/self/exe", "test_kv_manifest", (char *)*state, (char *)NULL);
		_exit(9);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void has_all_rounds(const char *db)
{
	struct kv *kv = open_kv(db, false);
	char key[16];

	for (uint32_t i = 0; i < ROUNDS; i++) {
		round_key(i, key);
		expect(kv, KV_TREE, key, i % 3 == 1 && i + 1 < ROUNDS ? NULL : key);
	}
	expect(kv, KV_CATALOG, "last", key);
	kv_close(kv);
}

static void read_all(const char *db, const char *name, struct buf *ret_bytes)
{
	AUTO_FREE char *path = xasprintf("%s/%s", db, name);

	assert_int_equal(file_read(path, 1 << 20, ret_bytes), 0);
}

static void the_manifest(const char *db, char ret_name[MANIFEST_NAME_MAX])
{
	AUTO_CLOSE int dir = open(db, O_RDONLY | O_DIRECTORY);
	uint64_t number;

	assert_int_equal(manifest_current(dir, ret_name, &number), 0);
}

static void is_mended(const char *db, const char *named)
{
	struct error err = {0};
	char *text = NULL;
	struct kv *kv;
	const struct kv_options options = {.cache_bytes = 1 << 20, .memtable_bytes = 1 << 20, .threads = 1};

	assert_int_equal(kv_open(db, &options, &kv, &err), -EBADMSG);
	assert_non_null(strstr(err.text, named));
	for (int apply = 0; apply < 2; apply++) {
		if (kv_mend_manifest(db, db, apply, &text, &err) < 0)
			fail_msg("%s", err.text);
		assert_non_null(text);
		assert_non_null(strstr(text, named));
		assert_null(strstr(text, "not in the list"));
		free(text);
	}
	assert_int_equal(kv_mend_manifest(db, db, false, &text, &err), 0);
	assert_null(text);
}

static void has_bytes(const char *db, const char *name, const struct buf *bytes)
{
	AUTO_BUF now = BUF_INIT;

	read_all(db, name, &now);
	assert_int_equal(now.len, bytes->len);
	assert_memory_equal(now.data, bytes->data, now.len);
}

/* A database whose process died, the name of its manifest, and all of it. */
struct dead {
	char name[MANIFEST_NAME_MAX];
	struct buf bytes;
};

static struct dead make_dead(void **state)
{
	AUTO_FREE char *path = db_path(state);
	struct dead dead = {0};

	let_it_die(state);
	the_manifest(path, dead.name);
	read_all(path, dead.name, &dead.bytes);
	assert_true(dead.bytes.len > 1000);
	return dead;
}

static void test_a_flipped_bit_anywhere_in_the_manifest(void **state)
{
	struct dead dead = make_dead(state);

	for (uint64_t at = 0; at < dead.bytes.len; at += 7) {
		AUTO_FREE char *db = copy_db(state);
		flip(db, dead.name, at, (unsigned)(at / 7) % 8);
		is_mended(db, dead.name);
		has_bytes(db, dead.name, &dead.bytes);
		if (at % 210 == 0)
			has_all_rounds(db);
	}
	buf_clear(&dead.bytes);
}

static void test_a_manifest_that_is_missing_or_short(void **state)
{
	struct dead dead = make_dead(state);

	for (uint64_t bytes = 0; bytes < dead.bytes.len; bytes += 13) {
		AUTO_FREE char *db = copy_db(state), *path = xasprintf("%s/%s", db, dead.name);
		cut(db, dead.name, bytes);
		if (bytes == 0)
			unlink(path);
		is_mended(db, dead.name);
		has_bytes(db, dead.name, &dead.bytes);
		if (bytes % 260 == 0)
			has_all_rounds(db);
	}
	buf_clear(&dead.bytes);
}

static void write_file(const char *db, const char *name, const void *bytes, size_t len)
{
	AUTO_FREE char *path = xasprintf("%s/%s", db, name);

	assert_int_equal(file_replace(path, bytes, len, 0600), 0);
}

static void test_current_is_missing_or_wrong(void **state)
{
	static const char *const texts[] = {NULL, "", "MANIFEST-", "MANIFEST-000999\n", "MANIFEST-000001\n", "nonsense\n"};
	struct dead dead = make_dead(state);

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		AUTO_FREE char *db = copy_db(state), *path = xasprintf("%s/CURRENT", db);
		/* an older list of tables, which is whole */
		write_file(db, "MANIFEST-000001", dead.bytes.data, dead.bytes.len);
		if (texts[i])
			write_file(db, "CURRENT", texts[i], strlen(texts[i]));
		else
			unlink(path);
		is_mended(db, i == 3 ? "MANIFEST-000999" : "CURRENT");
		has_bytes(db, dead.name, &dead.bytes);
		has_all_rounds(db);
	}
	buf_clear(&dead.bytes);
}

static void test_two_files_with_damage_at_different_places(void **state)
{
	struct dead dead = make_dead(state);
	AUTO_FREE char *db = copy_db(state);
	const uint64_t part = dead.bytes.len / 5;

	flip(db, dead.name, part, 0);
	flip(db, MANIFEST_COPY_NAME, 2 * part, 0);
	flip(db, dead.name, 3 * part, 0);
	cut(db, MANIFEST_COPY_NAME, 4 * part);
	is_mended(db, dead.name);
	has_bytes(db, dead.name, &dead.bytes);
	has_all_rounds(db);
	buf_clear(&dead.bytes);
}

static void test_what_is_damaged_in_both_is_refused_and_stays(void **state)
{
	struct dead dead = make_dead(state);

	for (int way = 0; way < 3; way++) {
		AUTO_FREE char *db = copy_db(state), *path = xasprintf("%s/%s", db, dead.name);
		AUTO_BUF now = BUF_INIT;
		struct error err = {0};
		char *text = NULL;
		if (way == 0)
			overwrite(db, dead.name, 200, 20, 0x55);
		else
			unlink(path);
		if (way == 0)
			overwrite(db, MANIFEST_COPY_NAME, 210, 20, 0xaa);
		else
			cut(db, MANIFEST_COPY_NAME, way == 1 ? 0 : 100);
		read_all(db, MANIFEST_COPY_NAME, &now);
		for (int apply = 0; apply < 2; apply++) {
			assert_int_equal(kv_mend_manifest(db, db, apply, &text, &err), -EBADMSG);
			assert_null(text);
			assert_non_null(strstr(err.text, dead.name));
			assert_non_null(strstr(err.hint, "backup"));
		}
		has_bytes(db, MANIFEST_COPY_NAME, &now);
		assert_int_equal(access(path, F_OK), way == 0 ? 0 : -1);
	}
	buf_clear(&dead.bytes);
}

/* RocksDB writes a list before CURRENT names it: so much of it that it names no table yet. */
static void begin_later(const char *db, const struct dead *dead)
{
	struct manifest manifest = {0};
	size_t len = 0, families = 0;

	for (size_t end = 1; end < dead->bytes.len; end++) {
		if (manifest_of_bytes(dead->bytes.data, end, &manifest) < 0)
			continue;
		if (manifest.tables.count == 0 && manifest.families.count >= families) {
			families = manifest.families.count;
			len = end;
		}
		manifest_clear(&manifest);
		manifest = (struct manifest){0};
	}
	assert_true(families > 3 && len > 0);
	write_file(db, "MANIFEST-009998", dead->bytes.data, len);
}

static void remove_file(const char *db, const char *name)
{
	AUTO_FREE char *path = xasprintf("%s/%s", db, name);

	assert_int_equal(unlink(path), 0);
}

/* A table that the list names. */
static void remove_table(const char *db, const struct dead *dead)
{
	struct manifest manifest = {0};
	char name[32];

	assert_int_equal(manifest_of_bytes(dead->bytes.data, dead->bytes.len, &manifest), 0);
	assert_true(manifest.tables.count > 0);
	snprintf(name, sizeof(name), "%06" PRIu64 ".sst", manifest.tables.items[0].number);
	manifest_clear(&manifest);
	remove_file(db, name);
}

static void test_a_later_list_that_was_only_begun_is_not_taken(void **state)
{
	struct dead dead = make_dead(state);

	for (int table_is_missing = 0; table_is_missing < 2; table_is_missing++) {
		AUTO_FREE char *db = copy_db(state);
		char name[MANIFEST_NAME_MAX], *text = NULL;
		struct error err = {0};
		begin_later(db, &dead);
		write_file(db, "CURRENT", "", 0);
		if (table_is_missing)
			remove_table(db, &dead);
		assert_int_equal(kv_mend_manifest(db, db, true, &text, &err), 0);
		free(text);
		the_manifest(db, name);
		assert_string_equal(name, dead.name);
		if (!table_is_missing)
			has_all_rounds(db);
	}
	buf_clear(&dead.bytes);
}

static void test_a_list_that_was_only_begun_is_not_taken_for_one_that_is_lost(void **state)
{
	struct dead dead = make_dead(state);

	for (int synced_is_lost = 0; synced_is_lost < 2; synced_is_lost++) {
		AUTO_FREE char *db = copy_db(state);
		struct error err = {0};
		char *text = NULL;
		begin_later(db, &dead);
		write_file(db, "CURRENT", "", 0);
		remove_file(db, dead.name);
		remove_file(db, MANIFEST_COPY_NAME);
		if (synced_is_lost) {
			remove_file(db, SYNCED_NAME);
			write_file(db, "MANIFEST-009997", "", 0);
		}
		assert_int_equal(kv_mend_manifest(db, db, true, &text, &err), -EBADMSG);
		assert_null(text);
	}
	buf_clear(&dead.bytes);
}

/* The process died when RocksDB had opened the database, and before anybody had written down which list is current now. */
static void test_a_later_list_is_taken_where_the_logs_of_the_first_are_gone(void **state)
{
	struct dead dead = make_dead(state);
	AUTO_FREE char *db = copy_db(state), *mark = xasprintf("%s/mark", (const char *)*state);
	const struct kv_options options = {.cache_bytes = 1 << 20, .memtable_bytes = 1 << 20, .threads = 1, .damage_mark = mark};
	AUTO_BUF synced = BUF_INIT, copy = BUF_INIT;
	struct error err = {0};
	struct kv *kv;

	read_all(db, SYNCED_NAME, &synced);
	read_all(db, MANIFEST_COPY_NAME, &copy);
	/* so that nothing is merged */
	assert_int_equal(file_replace(mark, "", 0, 0600), 0);
	assert_int_equal(kv_open(db, &options, &kv, &err), 0);
	kv_close(kv);
	write_file(db, SYNCED_NAME, synced.data, synced.len);
	write_file(db, MANIFEST_COPY_NAME, copy.data, copy.len);
	write_file(db, dead.name, dead.bytes.data, dead.bytes.len);
	write_file(db, "CURRENT", "", 0);
	is_mended(db, "CURRENT");
	has_all_rounds(db);
	buf_clear(&dead.bytes);
}

/* A table that no list names may be of the last moments: that is said, and only where it is not certain. */
static void test_a_table_that_the_copy_does_not_know_is_named(void **state)
{
	struct dead dead = make_dead(state);

	for (int missing = 0; missing < 2; missing++) {
		AUTO_FREE char *db = copy_db(state), *path = xasprintf("%s/%s", db, dead.name);
		struct error err = {0};
		char *text = NULL;
		write_file(db, "009999.sst", "late", 4);
		if (missing)
			unlink(path);
		else
			flip(db, dead.name, 100, 3);
		assert_int_equal(kv_mend_manifest(db, db, false, &text, &err), 0);
		assert_int_equal(strstr(text, "009999.sst") != NULL, missing);
		free(text);
	}
	buf_clear(&dead.bytes);
}

/* The list as it was before a merge: its tables are gone, and it does not know the one that was made of them. */
static void test_a_list_of_before_a_merge_is_not_taken(void **state)
{
	struct dead dead = make_dead(state);
	AUTO_FREE char *db = copy_db(state), *path = xasprintf("%s/%s", db, dead.name), *table = find_sst(db);
	AUTO_FREE char *other = xasprintf("%s/009999.sst", db);
	struct error err = {0};
	char *text = NULL;

	assert_int_equal(rename(table, other), 0);
	unlink(path);
	for (int apply = 0; apply < 2; apply++) {
		assert_int_equal(kv_mend_manifest(db, db, apply, &text, &err), -EBADMSG);
		assert_null(text);
		assert_non_null(strstr(err.text, "older than the tables"));
	}
	buf_clear(&dead.bytes);
}

static void test_a_closed_database_and_one_opened_again_have_a_copy(void **state)
{
	let_it_die(state);
	for (int again = 0; again < 3; again++) {
		AUTO_FREE char *path = db_path(state);
		char name[MANIFEST_NAME_MAX];
		kv_close(open_kv(path, false));
		AUTO_FREE char *db = copy_db(state);
		the_manifest(db, name);
		AUTO_FREE char *manifest = xasprintf("%s/%s", db, name);
		unlink(manifest);
		is_mended(db, name);
		has_all_rounds(db);
	}
}

/* The machine stops while RocksDB adds an edit to the list, of which it had been written down how long it was. */
static void test_an_edit_that_is_half_there_is_no_damage(void **state)
{
	AUTO_FREE char *path = db_path(state);
	struct kv *kv = open_kv(path, true);
	const uint8_t half[] = {1, 2, 3, 4, 200, 0, 1, 9, 9, 9};
	char name[MANIFEST_NAME_MAX];
	uint64_t number;

	for (uint32_t i = 0; i < ROUNDS; i++)
		assert_int_equal(put_round(kv, i), 0);
	assert_int_equal(kv_flush(kv), 0);
	AUTO_CLOSE int dir = open(path, O_RDONLY | O_DIRECTORY);
	assert_int_equal(manifest_current(dir, name, &number), 0);
	const uint64_t whole = length_of(path, name);
	AUTO_CLOSE int fd = open_file(path, name);
	assert_int_equal(pwrite(fd, half, sizeof(half), (off_t)whole), sizeof(half));
	assert_int_equal(kv_keep_known(kv), 0);
	AUTO_FREE char *copy = copy_db(state);
	has_all_rounds(copy);
	assert_int_equal(ftruncate(fd, (off_t)whole), 0);
	kv_close(kv);
	/* what was whole still counts, by SYNCED alone */
	AUTO_FREE char *other = copy_db(state), *its_copy = xasprintf("%s/" MANIFEST_COPY_NAME, other);
	const struct kv_options options = {.cache_bytes = 1 << 20, .memtable_bytes = 1 << 20, .threads = 1};
	struct error err = {0};
	unlink(its_copy);
	cut(other, name, whole - 1);
	assert_int_equal(kv_open(other, &options, &kv, &err), -EBADMSG);
}

#define DAMAGE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, take_down)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		DAMAGE_TEST(test_a_flipped_bit_anywhere_in_the_manifest),
		DAMAGE_TEST(test_a_manifest_that_is_missing_or_short),
		DAMAGE_TEST(test_current_is_missing_or_wrong),
		DAMAGE_TEST(test_two_files_with_damage_at_different_places),
		DAMAGE_TEST(test_what_is_damaged_in_both_is_refused_and_stays),
		DAMAGE_TEST(test_a_later_list_that_was_only_begun_is_not_taken),
		DAMAGE_TEST(test_a_list_that_was_only_begun_is_not_taken_for_one_that_is_lost),
		DAMAGE_TEST(test_a_later_list_is_taken_where_the_logs_of_the_first_are_gone),
		DAMAGE_TEST(test_a_table_that_the_copy_does_not_know_is_named),
		DAMAGE_TEST(test_a_list_of_before_a_merge_is_not_taken),
		DAMAGE_TEST(test_an_edit_that_is_half_there_is_no_damage),
		DAMAGE_TEST(test_a_closed_database_and_one_opened_again_have_a_copy),
	};

	if (argc == 2)
		return write_and_die(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
