/* Use of space: who shares what, and that what is promised to be freed is what a collection frees. Also restore and versions, shortly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/dataset_store.h"

#include "lib/history/restore.h"
#include "lib/history/usage.h"
#include "lib/history/versions.h"

#define FILE_LEN (100U << 10)

struct scene {
	struct place place;
	struct view *head;
};

static int setup(void **state)
{
	struct scene *scene = xcalloc(1, sizeof(*scene));
	struct error err = {0};

	place_init(&scene->place);
	assert_int_equal(dataset_create(scene->place.store, "d", 0755, 0, 0, 0, &err), 0);
	*state = scene;
	return 0;
}

static int teardown(void **state)
{
	struct scene *scene = *state;

	place_clear(&scene->place);
	free(scene);
	return 0;
}

/* Replaces the whole content by noise that depends on the seed. */
static void put(struct scene *scene, const char *dataset, const char *name, uint64_t seed)
{
	struct create create = {.mode = S_IFREG | 0644};
	struct inode *inode;
	struct view *head;
	struct attr attr;
	AUTO_FREE uint8_t *data = xmalloc(FILE_LEN);

	for (size_t i = 0; i < FILE_LEN; i++) {
		seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
		data[i] = (uint8_t)(seed >> 56);
	}
	assert_int_equal(store_head(scene->place.store, dataset, &head), 0);
	if (view_lookup(head, ROOT_INO, name, &attr) < 0)
		assert_int_equal(view_create(head, ROOT_INO, name, &create, &attr, NULL), 0);
	assert_int_equal(inode_open(head, attr.ino, &inode), 0);
	assert_int_equal(inode_write(inode, 0, data, FILE_LEN, 0), 0);
	assert_int_equal(inode_commit(inode), 0);
	inode_close(inode);
	store_view_put(scene->place.store, head);
}

static void drop(struct scene *scene, const char *name)
{
	struct view *head;

	assert_int_equal(store_head(scene->place.store, "d", &head), 0);
	assert_int_equal(view_unlink(head, ROOT_INO, name), 0);
	store_view_put(scene->place.store, head);
}

static void snapshot(struct scene *scene, const char *name)
{
	struct snapshot_name target = {"d", name};
	struct error err = {0};

	assert_int_equal(snapshot_create(scene->place.store, &target, 1, "", 0, &err), 0);
}

struct table {
	struct usage rows[8];
	char names[8][32];
	size_t count;
};

static int keep_row(void *arg, const struct usage *usage)
{
	struct table *table = arg;

	assert_true(table->count < 8);
	snprintf(table->names[table->count], 32, "%.14s@%.14s", usage->dataset, usage->snapshot ? usage->snapshot : "");
	table->rows[table->count++] = *usage;
	return 0;
}

static uint64_t compute(struct scene *scene, struct table *table, const char *first, const char *last)
{
	struct usage_options options = {.exact = true, .dataset = "d", .first = first, .last = last};
	struct error err = {0};
	uint64_t bytes;

	*table = (struct table){0};
	assert_int_equal(usage_compute(scene->place.store, &options, keep_row, table, &bytes, &err), 0);
	return bytes;
}

static const struct usage *row(const struct table *table, const char *name)
{
	for (size_t i = 0; i < table->count; i++)
		if (strcmp(table->names[i], name) == 0)
			return &table->rows[i];
	fail_msg("no row %s", name);
	return NULL;
}

static void destroy(struct scene *scene, const char *name)
{
	struct error err = {0};

	assert_int_equal(snapshot_destroy(scene->place.store, "d", name, &err), 0);
}

/* Bytes that a collection removes. */
static uint64_t freed(struct scene *scene)
{
	return collect(scene->place.store, false, false).bytes;
}

static void what_is_shared_is_nobodys_own(void **state)
{
	struct scene *scene = *state;
	struct table table;

	put(scene, "d", "a", 1);
	put(scene, "d", "b", 2);
	snapshot(scene, "s1");
	put(scene, "d", "b", 3);
	snapshot(scene, "s2");
	compute(scene, &table, NULL, NULL);
	assert_int_equal(row(&table, "d@s1")->files, 2);
	assert_int_equal(row(&table, "d@s1")->logical, 2 * FILE_LEN);
	assert_true(row(&table, "d@s1")->stored >= 2 * FILE_LEN);
	assert_true(row(&table, "d@s1")->unique >= FILE_LEN && row(&table, "d@s1")->unique < FILE_LEN + 4096);
	assert_int_equal(row(&table, "d@s1")->cumulative, row(&table, "d@s1")->unique);
	assert_int_equal(row(&table, "d@s2")->unique, 0);
	assert_int_equal(row(&table, "d@")->unique, 0);
	assert_false(row(&table, "d@s1")->estimated);
}

static void what_is_promised_is_freed(void **state)
{
	struct scene *scene = *state;
	struct table table;
	uint64_t promised;

	for (uint64_t i = 0; i < 4; i++) {
		char name[8], file[8];
		snprintf(file, sizeof(file), "f%d", (int)i);
		put(scene, "d", file, 10 + i);
		put(scene, "d", "same", 20 + i);
		snprintf(name, sizeof(name), "s%d", (int)i);
		snapshot(scene, name);
		if (i == 2)
			drop(scene, "f1");
	}
	compute(scene, &table, NULL, NULL);
	promised = row(&table, "d@s1")->unique;
	assert_true(promised >= FILE_LEN);
	destroy(scene, "s1");
	assert_int_equal(freed(scene), promised);
	promised = compute(scene, &table, "s0", "s2");
	assert_int_equal(promised, row(&table, "d@s2")->cumulative);
	assert_true(promised >= 3 * FILE_LEN);
	destroy(scene, "s0");
	destroy(scene, "s2");
	assert_int_equal(freed(scene), promised);
}

static void another_dataset_may_need_the_same_chunk(void **state)
{
	struct scene *scene = *state;
	struct table table;
	struct error err = {0};

	assert_int_equal(dataset_create(scene->place.store, "other", 0755, 0, 0, 0, &err), 0);
	put(scene, "d", "a", 1);
	snapshot(scene, "s1");
	drop(scene, "a");
	compute(scene, &table, NULL, NULL);
	assert_true(row(&table, "d@s1")->unique >= FILE_LEN);
	put(scene, "other", "copy", 1);
	compute(scene, &table, NULL, NULL);
	assert_int_equal(row(&table, "d@s1")->unique, 0);
}

static void names_that_are_not_there_are_told(void **state)
{
	struct scene *scene = *state;
	struct usage_options options = {.dataset = "none"};
	struct error err = {0};
	struct table table = {0};
	uint64_t bytes;

	snapshot(scene, "s1");
	snapshot(scene, "s2");
	assert_int_equal(usage_compute(scene->place.store, &options, keep_row, &table, &bytes, &err), -ENOENT);
	options = (struct usage_options){.dataset = "d", .first = "s1", .last = "s9"};
	assert_int_equal(usage_compute(scene->place.store, &options, keep_row, &table, &bytes, &err), -ENOENT);
	options.first = "s2";
	options.last = "s1";
	assert_int_equal(usage_compute(scene->place.store, &options, keep_row, &table, &bytes, &err), -EINVAL);
}

/* --- restore --- */

static void a_restored_file_takes_no_space_of_its_own(void **state)
{
	struct scene *scene = *state;
	struct restore_result result;
	struct table table;
	struct error err = {0};

	put(scene, "d", "a", 1);
	snapshot(scene, "s1");
	put(scene, "d", "a", 2);
	assert_int_equal(dataset_restore(scene->place.store, "d", "s1", "/a/", NULL, NULL, &result, &err), 0);
	assert_true(result.replaced);
	assert_int_equal(result.files, 1);
	assert_int_equal(result.bytes, FILE_LEN);
	compute(scene, &table, NULL, NULL);
	assert_int_equal(row(&table, "d@")->unique, 0);
	assert_int_equal(row(&table, "d@")->files, 1);
	assert_int_equal(row(&table, "d@s1")->unique, 0);
}

static void a_restore_refuses_what_cannot_be(void **state)
{
	struct scene *scene = *state;
	struct restore_result result;
	struct error err = {0};

	put(scene, "d", "a", 1);
	snapshot(scene, "s1");
	assert_int_equal(dataset_restore(scene->place.store, "d", "s1", "b", NULL, NULL, &result, &err), -ENOENT);
	assert_non_null(strstr(err.text, "\"b\""));
	assert_int_equal(dataset_restore(scene->place.store, "d", "s1", "a/b", NULL, NULL, &result, &err), -ENOENT);
	assert_int_equal(dataset_restore(scene->place.store, "d", "s1", "/", NULL, NULL, &result, &err), -EINVAL);
	assert_int_equal(dataset_restore(scene->place.store, "d", "s9", "a", NULL, NULL, &result, &err), -ENOENT);
	assert_int_equal(dataset_restore(scene->place.store, "x", "s1", "a", NULL, NULL, &result, &err), -ENOENT);
}

static bool yes(void *arg)
{
	(void)arg;
	return true;
}

static void a_restore_that_is_given_up_leaves_nothing(void **state)
{
	struct scene *scene = *state;
	struct restore_result result;
	struct error err = {0};
	struct table table;

	put(scene, "d", "a", 1);
	snapshot(scene, "s1");
	put(scene, "d", "a", 2);
	assert_int_equal(dataset_restore(scene->place.store, "d", "s1", "a", yes, NULL, &result, &err), -ECANCELED);
	compute(scene, &table, NULL, NULL);
	assert_int_equal(row(&table, "d@")->files, 1);
	assert_true(row(&table, "d@")->unique >= FILE_LEN);
}

/* --- versions --- */

static int print_version(void *arg, const struct file_version *version)
{
	struct buf *text = arg;

	buf_addf(text, "%s", version->path ? version->path : "-");
	for (size_t i = 0; i < version->snapshot_count; i++)
		buf_addf(text, " %s", version->snapshots[i]);
	buf_addf(text, "%s;", version->in_head ? " now" : "");
	return 0;
}

static void versions_of_a_file_are_told_apart(void **state)
{
	struct scene *scene = *state;
	struct view *head;
	struct error err = {0};
	AUTO_BUF text = BUF_INIT;

	snapshot(scene, "s0");
	put(scene, "d", "a", 1);
	snapshot(scene, "s1");
	put(scene, "d", "unrelated", 1);
	snapshot(scene, "s2");
	put(scene, "d", "a", 2);
	snapshot(scene, "s3");
	assert_int_equal(store_head(scene->place.store, "d", &head), 0);
	assert_int_equal(view_rename(head, ROOT_INO, "a", ROOT_INO, "b", 0), 0);
	snapshot(scene, "s4");
	assert_int_equal(view_unlink(head, ROOT_INO, "b"), 0);
	store_view_put(scene->place.store, head);
	assert_int_equal(versions_list(scene->place.store, "d", "a", print_version, &text, &err), 0);
	assert_string_equal((char *)text.data, "- s0 now;a s1 s2;a s3;b s4;");
	assert_int_equal(versions_list(scene->place.store, "d", "nowhere", print_version, &text, &err), -ENOENT);
	assert_int_equal(versions_list(scene->place.store, "x", "a", print_version, &text, &err), -ENOENT);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_shared_is_nobodys_own),
		TEST(what_is_promised_is_freed),
		TEST(another_dataset_may_need_the_same_chunk),
		TEST(names_that_are_not_there_are_told),
		TEST(a_restored_file_takes_no_space_of_its_own),
		TEST(a_restore_refuses_what_cannot_be),
		TEST(a_restore_that_is_given_up_leaves_nothing),
		TEST(versions_of_a_file_are_told_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
