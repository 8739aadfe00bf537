/* Tables that are damaged anywhere, short or missing: what is told to be lost is lost, and every other record is there after mending. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/array.h"
#include "lib/format/record.h"
#include "lib/kv/mend_tables.h"
#include "lib/kv/table_look.h"
#include "tests/unit/kv_store.h"

#define RECORDS 3000U
#define NEWER 300U /* of them are written again, into a table above the first */
#define TRIES 36

static uint64_t random_below(uint64_t *state, uint64_t limit)
{
	*state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (*state >> 33) % limit;
}

static void key_of(uint32_t number, char key[16])
{
	snprintf(key, 16, "key-%08u", number);
}

static bool is_newer(uint32_t number)
{
	return number % (RECORDS / NEWER) == 0;
}

/* Half of it compresses. */
static size_t value_of(uint32_t number, bool newer, uint8_t value[300])
{
	uint64_t state = number * 2 + newer;

	memset(value, 'x', 300);
	for (size_t i = 0; i < 150; i++)
		value[i] = (uint8_t)random_below(&state, 256);
	return 200 + number % 100;
}

static void write_records(struct kv *kv, enum kv_family family, bool newer)
{
	struct kv_batch *batch = kv_batch_new();
	uint8_t value[300];
	char key[16];

	for (uint32_t i = 0; i < RECORDS; i++) {
		if (newer && !is_newer(i))
			continue;
		key_of(i, key);
		kv_batch_put(batch, family, key, strlen(key), value, value_of(i, newer, value));
	}
	assert_int_equal(kv_write(kv, batch, 0), 0);
	kv_batch_free(batch);
}

static const enum kv_family families[] = {KV_TREE, KV_DEDUP, KV_SMALL};

static bool never(void *arg)
{
	(void)arg;
	return false;
}

static void make_database(void **state)
{
	AUTO_FREE char *path = db_path(state);
	struct kv *kv = open_kv(path, true);

	for (size_t i = 0; i < ARRAY_SIZE(families); i++)
		write_records(kv, families[i], false);
	assert_int_equal(kv_flush(kv), 0);
	for (size_t i = 0; i < ARRAY_SIZE(families); i++)
		assert_int_equal(kv_compact_waste(kv, families[i], 0, never, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(families); i++)
		write_records(kv, families[i], true);
	kv_close(kv);
}

static char *copy_db(void **state)
{
	AUTO_FREE char *command = xasprintf("rm -rf %s/copy && cp -r %s/db %s/copy", (char *)*state, (char *)*state, (char *)*state);

	assert_int_equal(system(command), 0);
	return xasprintf("%s/copy", (char *)*state);
}

/* --- what is said to be lost --- */

struct lost_range {
	enum kv_family family;
	char first[32], last[32];
};

struct told {
	ARRAY(struct lost_range) ranges;
	unsigned tables;
};

static int note(void *arg, const struct kv_damaged_table *table)
{
	struct told *told = arg;

	told->tables++;
	for (size_t i = 0; i < table->range_count; i++) {
		const struct kv_key_range *range = &table->ranges[i];
		struct lost_range *lost = array_new(&told->ranges);
		lost->family = table->family;
		snprintf(lost->first, sizeof(lost->first), "%.*s", (int)range->first_len, (const char *)range->first);
		snprintf(lost->last, sizeof(lost->last), "%.*s", (int)range->last_len, (const char *)range->last);
	}
	return 0;
}

static bool is_lost(const struct told *told, enum kv_family family, const char *key)
{
	for (size_t i = 0; i < told->ranges.count; i++) {
		const struct lost_range *lost = &told->ranges.items[i];
		if (lost->family == family && strcmp(key, lost->first) >= 0 && strcmp(key, lost->last) <= 0)
			return true;
	}
	return false;
}

static struct told mend(const char *path, bool apply)
{
	struct told told = {0};
	AUTO_FREE char *lost = NULL;
	struct error err = {0};

	if (kv_mend_tables(path, path, apply ? &lost : NULL, true, NULL, note, &told, &err) < 0)
		fail_msg("%s", err.text);
	assert_null(lost);
	return told;
}

/* How many records are gone. */
static uint32_t check_records(struct kv *kv, const struct told *told)
{
	AUTO_BUF found = BUF_INIT;
	char message[KV_MESSAGE_MAX];
	uint8_t value[300];
	uint32_t gone = 0;
	char key[16];

	for (size_t f = 0; f < ARRAY_SIZE(families); f++) {
		for (uint32_t i = 0; i < RECORDS; i++) {
			key_of(i, key);
			const int result = kv_get(kv, families[f], key, strlen(key), &found);
			const bool lost = is_lost(told, families[f], key);
			if (result < 0 && (!lost || result != -ENOENT)) {
				kv_last_error(kv, message);
				fail_msg("%s of family %d: %d, %s lost; %s", key, families[f], result, lost ? "said to be" : "not said to be",
				         message);
			}
			gone += result < 0;
			if (result < 0)
				continue;
			bool right = found.len == value_of(i, is_newer(i), value) && memcmp(found.data, value, found.len) == 0;
			/* what lies below a lost record comes up */
			if (!right && lost && is_newer(i))
				right = found.len == value_of(i, false, value) && memcmp(found.data, value, found.len) == 0;
			assert_true(right);
		}
	}
	return gone;
}

static int is_damaged(void *arg, const struct kv_damaged_table *table)
{
	(void)arg;
	(void)table;
	return 1;
}

/* The copy is mended, whole, and can be written and merged. `damaged`: at most so many tables are; a bit may mean nothing. */
static uint32_t mends(const char *path, unsigned damaged)
{
	struct told before = mend(path, false), told = mend(path, true), after = mend(path, false);

	assert_int_equal(before.tables, told.tables);
	assert_int_equal(before.ranges.count, told.ranges.count);
	assert_true(told.tables <= damaged);
	assert_int_equal(after.tables, 0);
	struct kv *kv = open_kv(path, false);
	const uint32_t gone = check_records(kv, &told);
	assert_int_equal(kv_each_damaged_table(kv, true, NULL, is_damaged, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		put(kv, families[i], "key-new", "written", KV_SYNC);
		assert_int_equal(kv_compact_waste(kv, families[i], 0, never, NULL), 0);
		expect(kv, families[i], "key-new", "written");
	}
	assert_int_equal(check_records(kv, &told), gone);
	kv_close(kv);
	array_clear(&before.ranges);
	array_clear(&told.ranges);
	array_clear(&after.ranges);
	return gone;
}

/* --- tables --- */

struct names {
	ARRAY_FIELDS(char *);
};

static struct names tables_of(const char *path)
{
	struct names names = {0};
	DIR *dir = opendir(path);

	for (struct dirent *entry; (entry = readdir(dir));)
		if (strstr(entry->d_name, ".sst"))
			array_add(&names, xasprintf("%s/%s", path, entry->d_name));
	closedir(dir);
	assert_true(names.count >= 6);
	return names;
}

static void names_clear(struct names *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->items[i]);
	array_clear(names);
}

static uint64_t length_of(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return (uint64_t)st.st_size;
}

static void flip(const char *path, uint64_t at, unsigned bit)
{
	AUTO_CLOSE int fd = open(path, O_RDWR);
	uint8_t byte;

	assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
	byte ^= (uint8_t)(1U << bit);
	assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
}

static void test_sound_tables_are_left_alone(void **state)
{
	make_database(state);
	AUTO_FREE char *path = copy_db(state);

	assert_int_equal(mends(path, 0), 0);
}

static void test_a_flipped_bit_anywhere_costs_one_block(void **state)
{
	uint64_t seed = 1;

	make_database(state);
	for (unsigned i = 0; i < TRIES; i++) {
		AUTO_FREE char *path = copy_db(state);
		struct names names = tables_of(path);
		const char *table = names.items[i % names.count];
		const uint64_t bytes = length_of(table);
		/* each third one behind the data: filter, index, figures, footer */
		const uint64_t at = i % 3 ? random_below(&seed, bytes) : bytes - 1 - random_below(&seed, MIN(bytes, i % 2 ? 53 : 2000));
		flip(table, at, i % 8);
		assert_true(mends(path, 1) < RECORDS / 20);
		names_clear(&names);
	}
}

static void test_several_damaged_places_of_one_table(void **state)
{
	uint64_t seed = 2;

	make_database(state);
	for (unsigned i = 0; i < TRIES / 4; i++) {
		AUTO_FREE char *path = copy_db(state);
		struct names names = tables_of(path);
		const char *table = names.items[i % names.count];
		for (unsigned k = 0; k < 4; k++)
			flip(table, random_below(&seed, length_of(table)), k);
		(void)mends(path, 1);
		names_clear(&names);
	}
}

static void test_missing_and_shorter_tables(void **state)
{
	make_database(state);
	for (unsigned way = 0; way < 4; way++) {
		AUTO_FREE char *path = copy_db(state);
		struct names names = tables_of(path);
		for (size_t i = 0; i < names.count; i++) {
			AUTO_FREE char *again = i > 0 ? copy_db(state) : NULL;
			const uint64_t bytes = length_of(names.items[i]);
			if (way == 0)
				unlink(names.items[i]);
			else
				assert_int_equal(truncate(names.items[i], (off_t)(way == 1 ? 0 : way == 2 ? bytes / 2 : bytes - 1)), 0);
			(void)mends(path, 1);
		}
		names_clear(&names);
	}
}

/* --- long values: chunks of up to 16 MiB --- */

#define LONG_VALUES 3U

static size_t long_value_of(uint32_t number, uint8_t *value)
{
	uint64_t state = number;
	const size_t len = number == 1 ? CHUNK_LEN_MAX : 3U << 20;

	for (size_t i = 0; i < len; i++)
		value[i] = (uint8_t)random_below(&state, 256);
	return len;
}

static void make_long_values(void **state, uint8_t *value)
{
	AUTO_FREE char *path = db_path(state), *outside = xasprintf("%s/outside.sst", (char *)*state);
	struct kv *kv = open_kv(path, true);
	struct kv_sst *sst;
	char key[16];

	assert_int_equal(kv_sst_new(kv, KV_BULK, outside, &sst), 0);
	for (uint32_t i = 0; i < LONG_VALUES; i++) {
		key_of(i, key);
		const size_t len = long_value_of(i, value);
		assert_int_equal(kv_sst_put(sst, key, strlen(key), value, 16, value + 16, len - 16), 0);
	}
	assert_int_equal(kv_sst_finish(sst), 0);
	assert_int_equal(kv_ingest(kv, sst), 0);
	kv_sst_free(sst);
	kv_close(kv);
}

static void test_long_values_are_found_without_their_index(void **state)
{
	AUTO_FREE uint8_t *value = xmalloc(CHUNK_LEN_MAX);
	AUTO_FREE char *path = db_path(state);
	AUTO_BUF found = BUF_INIT;
	char key[16];

	make_long_values(state, value);
	DIR *dir = opendir(path);
	for (struct dirent *entry; (entry = readdir(dir));) {
		AUTO_FREE char *table = xasprintf("%s/%s", path, entry->d_name);
		if (strstr(entry->d_name, ".sst") && length_of(table) > CHUNK_LEN_MAX)
			flip(table, length_of(table) - 1, 0);
	}
	closedir(dir);
	struct told told = mend(path, true);
	assert_int_equal(told.tables, 1);
	struct kv *kv = open_kv(path, false);
	for (uint32_t i = 0; i < LONG_VALUES; i++) {
		key_of(i, key);
		const size_t len = long_value_of(i, value);
		assert_int_equal(kv_get(kv, KV_BULK, key, strlen(key), &found), 0);
		assert_int_equal(found.len, len);
		assert_memory_equal(found.data, value, len);
	}
	kv_close(kv);
	array_clear(&told.ranges);
}

static int take_down(void **state)
{
	AUTO_FREE char *command = xasprintf("rm -rf %s/copy", (const char *)*state);

	return system(command) == 0 ? tear_down(state) : -1;
}

#define MEND_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, take_down)

/* Of a descriptor that nobody has, the system says nothing either. */
static void a_table_of_which_nothing_is_known_is_not_an_empty_one(void **state)
{
	struct table_look look;

	assert_int_equal(table_look(INT_MAX, 1000, NULL, NULL, &look), -EBADF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_table_of_which_nothing_is_known_is_not_an_empty_one),
		MEND_TEST(test_sound_tables_are_left_alone),
		MEND_TEST(test_a_flipped_bit_anywhere_costs_one_block),
		MEND_TEST(test_several_damaged_places_of_one_table),
		MEND_TEST(test_missing_and_shorter_tables),
		MEND_TEST(test_long_values_are_found_without_their_index),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
