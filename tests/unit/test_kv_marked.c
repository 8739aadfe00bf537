/* What is merged while tables are damaged, and what the mark says of that to the next opening. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "tests/unit/damaged_db.h"

#define KEYS 200
#define VALUE_LEN 2000
#define PATIENCE_MS 20000

/* A database, and the two tables that it has first. */
struct two {
	struct kv *kv;
	char *path, *mark, content[32], names[32];
};

static void put_all(struct kv *kv, enum kv_family family, unsigned round)
{
	struct kv_batch *batch = kv_batch_new();
	uint8_t value[VALUE_LEN];
	uint64_t state = round + 1;
	char key[16];

	for (unsigned i = 0; i < KEYS; i++) {
		snprintf(key, sizeof(key), "key-%05u", i);
		for (size_t at = 0; at < VALUE_LEN; at++)
			value[at] = (uint8_t)((state = state * 6364136223846793005ULL + 1442695040888963407ULL) >> 56);
		kv_batch_put(batch, family, key, strlen(key), value, VALUE_LEN);
	}
	assert_int_equal(kv_write(kv, batch, 0), 0);
	kv_batch_free(batch);
	assert_int_equal(kv_flush(kv), 0);
}

static bool reads_all(struct kv *kv, enum kv_family family)
{
	AUTO_BUF value = BUF_INIT;
	bool all = true;
	char key[16];

	for (unsigned i = 0; i < KEYS; i++) {
		snprintf(key, sizeof(key), "key-%05u", i);
		const int result = kv_get(kv, family, key, strlen(key), &value);
		assert_true(result == 0 || result == -EBADMSG);
		all &= result == 0;
	}
	return all;
}

static void newest_table(const char *path, char name[32])
{
	DIR *dir = opendir(path);

	name[0] = '\0';
	for (struct dirent *entry; (entry = readdir(dir));)
		if (strstr(entry->d_name, ".sst") && strcmp(entry->d_name, name) > 0)
			snprintf(name, 32, "%.31s", entry->d_name);
	closedir(dir);
}

static void open_two(struct two *two, bool create)
{
	const struct kv_options options = {.create = create, .damage_mark = two->mark, .cache_bytes = 1 << 20, .memtable_bytes = 8 << 20, .threads = 2};
	struct error err = {0};

	assert_int_equal(kv_open(two->path, &options, &two->kv, &err), 0);
}

static struct two make_two(void **state, const char *mark)
{
	struct two two = {.path = db_path(state), .mark = xasprintf("%s/%s", (const char *)*state, mark)};

	open_two(&two, true);
	put_all(two.kv, KV_SMALL, 0);
	newest_table(two.path, two.content);
	put_all(two.kv, KV_TREE, 0);
	newest_table(two.path, two.names);
	assert_string_not_equal(two.content, two.names);
	return two;
}

static void open_again(struct two *two)
{
	kv_close(two->kv);
	open_two(two, false);
}

static void close_two(struct two *two)
{
	kv_close(two->kv);
	free(two->path);
	free(two->mark);
}

static void hurt(const struct two *two, const char *table)
{
	flip(two->path, table, length_of(two->path, table) / 2, 3);
}

static int ignore_bytes(void *arg, uint64_t bytes)
{
	(void)arg;
	(void)bytes;
	return 0;
}

static int count(void *arg, const struct kv_damaged_table *table)
{
	unsigned *counted = arg;

	(void)table;
	(*counted)++;
	return 0;
}

/* As a scrub that finds all content whole that files need. Returns how many tables are damaged. */
static unsigned look(struct kv *kv)
{
	unsigned damaged = 0;

	kv_tables_look(kv);
	assert_int_equal(kv_each_damaged_table(kv, true, ignore_bytes, count, &damaged), 0);
	kv_tables_seen(kv);
	return damaged;
}

static void expect_mark(const struct two *two, const char *text)
{
	AUTO_BUF found = BUF_INIT;
	const int result = file_read(two->mark, 64, &found);

	assert_int_equal(result, text ? 0 : -ENOENT);
	if (text) {
		assert_int_equal(found.len, strlen(text));
		assert_memory_equal(found.data, text, found.len);
	}
}

/* Damage of content that nobody needs. */
static struct two make_hurt(void **state)
{
	struct two two = make_two(state, "mark");

	hurt(&two, two.content);
	assert_false(reads_all(two.kv, KV_SMALL));
	assert_int_equal(kv_damaged(two.kv), KV_DAMAGED);
	expect_mark(&two, "");
	assert_int_equal(look(two.kv), 1);
	assert_int_equal(kv_damaged(two.kv), KV_CONTENT_DAMAGED);
	expect_mark(&two, "content\n");
	return two;
}

static void test_content_that_nobody_needs_is_known_after_an_opening(void **state)
{
	struct two two = make_hurt(state);

	open_again(&two);
	assert_int_equal(kv_damaged(two.kv), KV_CONTENT_DAMAGED);
	assert_false(reads_all(two.kv, KV_SMALL));
	assert_int_equal(kv_damaged(two.kv), KV_CONTENT_DAMAGED);
	assert_int_equal(look(two.kv), 1);
	expect_mark(&two, "content\n");
	hurt(&two, two.content);
	assert_int_equal(look(two.kv), 0);
	assert_int_equal(kv_damaged(two.kv), KV_SOUND);
	expect_mark(&two, NULL);
	open_again(&two);
	assert_int_equal(kv_damaged(two.kv), KV_SOUND);
	close_two(&two);
}

static void test_another_table_that_is_damaged_then_stops_all_merging(void **state)
{
	struct two two = make_hurt(state);

	hurt(&two, two.names);
	assert_false(reads_all(two.kv, KV_TREE));
	for (int i = 0; i < 2; i++) {
		assert_int_equal(kv_damaged(two.kv), KV_DAMAGED);
		expect_mark(&two, "");
		open_again(&two);
	}
	assert_int_equal(look(two.kv), 2);
	assert_int_equal(kv_damaged(two.kv), KV_DAMAGED);
	close_two(&two);
}

/* By a reader, after the table was looked at. */
static void meet_meanwhile(struct two *two, enum kv_family family, const char *table)
{
	unsigned damaged = 0;

	open_again(two); /* nothing is in memory */
	kv_tables_look(two->kv);
	assert_int_equal(kv_each_damaged_table(two->kv, true, ignore_bytes, count, &damaged), 0);
	hurt(two, table);
	assert_false(reads_all(two->kv, family));
	kv_tables_seen(two->kv);
}

static void test_damage_that_is_met_while_tables_are_looked_at_is_not_forgotten(void **state)
{
	struct two two = make_hurt(state);

	meet_meanwhile(&two, KV_TREE, two.names);
	assert_int_equal(kv_damaged(two.kv), KV_DAMAGED);
	hurt(&two, two.names);
	/* once more, where none of it is new */
	meet_meanwhile(&two, KV_TREE, two.names);
	assert_int_equal(kv_damaged(two.kv), KV_DAMAGED);
	expect_mark(&two, "");
	hurt(&two, two.names);
	hurt(&two, two.content);
	meet_meanwhile(&two, KV_SMALL, two.content);
	assert_int_not_equal(kv_damaged(two.kv), KV_SOUND);
	close_two(&two);
}

static void test_a_mark_that_cannot_be_changed_leaves_all_as_it_is(void **state)
{
	struct two two = make_two(state, "missing/mark");

	hurt(&two, two.content);
	assert_false(reads_all(two.kv, KV_SMALL));
	assert_int_equal(look(two.kv), 1);
	assert_int_equal(kv_damaged(two.kv), KV_DAMAGED);
	close_two(&two);
}

static void test_a_mark_that_was_not_written_whole_stops_all_merging(void **state)
{
	struct two two = make_hurt(state);
	static const char *const texts[] = {"", "cont", "content", "content\n\n", "names\n"};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		assert_int_equal(file_replace(two.mark, texts[i], strlen(texts[i]), 0600), 0);
		open_again(&two);
		assert_int_equal(kv_damaged(two.kv), KV_DAMAGED);
	}
	close_two(&two);
}

/* --- merging --- */

#define ROUNDS 8 /* RocksDB merges four tables */

static int count_table(void *arg, const struct kv_table *table)
{
	unsigned *counted = arg;

	(void)table;
	(*counted)++;
	return 0;
}

static unsigned tables_of(struct kv *kv, enum kv_family family)
{
	unsigned tables = 0;

	assert_int_equal(kv_each_table(kv, family, count_table, &tables), 0);
	return tables;
}

static void write_rounds(struct kv *kv)
{
	for (unsigned round = 1; round < ROUNDS; round++) {
		put_all(kv, KV_SMALL, round);
		put_all(kv, KV_TREE, round);
	}
}

static void wait_until_merged(struct kv *kv, enum kv_family family)
{
	for (const uint64_t end = clock_ms() + PATIENCE_MS; tables_of(kv, family) > 4; usleep(10000))
		assert_true(clock_ms() < end);
}

static void test_names_are_merged_while_content_is_not(void **state)
{
	struct two two = make_hurt(state);

	write_rounds(two.kv);
	wait_until_merged(two.kv, KV_TREE);
	assert_int_equal(tables_of(two.kv, KV_SMALL), ROUNDS);
	open_again(&two);
	assert_int_equal(tables_of(two.kv, KV_SMALL), ROUNDS);
	write_rounds(two.kv);
	wait_until_merged(two.kv, KV_TREE);
	assert_int_equal(tables_of(two.kv, KV_SMALL), 2 * ROUNDS - 1);
	hurt(&two, two.content);
	assert_int_equal(look(two.kv), 0);
	write_rounds(two.kv);
	wait_until_merged(two.kv, KV_SMALL);
	close_two(&two);
}

static void test_nothing_is_merged_while_any_table_may_be_damaged(void **state)
{
	struct two two = make_two(state, "mark");

	hurt(&two, two.content);
	assert_false(reads_all(two.kv, KV_SMALL));
	write_rounds(two.kv);
	open_again(&two);
	assert_int_equal(tables_of(two.kv, KV_TREE), ROUNDS);
	assert_int_equal(tables_of(two.kv, KV_SMALL), ROUNDS);
	assert_int_equal(look(two.kv), 1);
	wait_until_merged(two.kv, KV_TREE);
	assert_int_equal(tables_of(two.kv, KV_SMALL), ROUNDS);
	close_two(&two);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		KV_TEST(test_content_that_nobody_needs_is_known_after_an_opening),
		KV_TEST(test_another_table_that_is_damaged_then_stops_all_merging),
		KV_TEST(test_damage_that_is_met_while_tables_are_looked_at_is_not_forgotten),
		KV_TEST(test_a_mark_that_cannot_be_changed_leaves_all_as_it_is),
		KV_TEST(test_a_mark_that_was_not_written_whole_stops_all_merging),
		KV_TEST(test_names_are_merged_while_content_is_not),
		KV_TEST(test_nothing_is_merged_while_any_table_may_be_damaged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
