#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/dataset_store.h"
#include "tests/unit/memory.h"

#include "lib/base/array.h"
#include "lib/history/versions.h"

#define DEPTH (MEMORY_MEASURED ? 60000UL : 5000UL)
#define GROWTH_MAX (64UL << 20)

struct scene {
	struct place place;
	struct view *head;
};

static void scene_make(struct scene *scene)
{
	struct error err;

	place_init(&scene->place);
	assert_int_equal(dataset_create(scene->place.store, "d", 0755, 0, 0, 1, &err), 0);
	assert_int_equal(store_head(scene->place.store, "d", &scene->head), 0);
}

static void scene_clear(struct scene *scene)
{
	store_view_put(scene->place.store, scene->head);
	place_clear(&scene->place);
}

static void snapshot(struct scene *scene, const char *name)
{
	struct snapshot_name target = {"d", name};
	struct error err;

	assert_int_equal(snapshot_create(scene->place.store, &target, 1, "", 0, &err), 0);
}

static uint64_t make_dir(struct scene *scene, uint64_t dir, const char *name)
{
	struct create create = {.mode = S_IFDIR | 0755};
	struct attr attr;

	assert_int_equal(view_create(scene->head, dir, name, &create, &attr, NULL), 0);
	return attr.ino;
}

struct told {
	ARRAY_FIELDS(char *); /* "PATH SIZE snapshots..."; owned */
};

static int tell(void *arg, const struct file_version *version)
{
	struct told *told = arg;
	AUTO_BUF line = BUF_INIT;

	if (version->path)
		buf_addf(&line, "%s %llu", version->path, (unsigned long long)version->attr.size);
	else
		buf_addf(&line, "nowhere");
	for (size_t i = 0; i < version->snapshot_count; i++)
		buf_addf(&line, " %s", version->snapshots[i]);
	if (version->in_head)
		buf_addf(&line, " now");
	array_add(told, (char *)steal_ptr(line.data));
	return 0;
}

static void told_clear(struct told *told)
{
	for (size_t i = 0; i < told->count; i++)
		free(told->items[i]);
	array_clear(told);
}

static struct told list(struct scene *scene, const char *path)
{
	struct told told = {0};
	struct error err = {0};
	size_t before;

	assert_int_equal(view_sync(scene->head), 0);
	before = memory_begin();
	assert_int_equal(versions_list(scene->place.store, "d", path, tell, &told, &err), 0);
	memory_end(before, GROWTH_MAX);
	return told;
}

static void expect(struct scene *scene, const char *path, const char *const *lines)
{
	struct told told = list(scene, path);
	size_t count = 0;

	for (; lines[count]; count++)
		assert_string_equal(count < told.count ? told.items[count] : "nothing", lines[count]);
	assert_int_equal(told.count, count);
	told_clear(&told);
}

static void a_renamed_file_is_followed(void **state)
{
	struct scene scene;
	uint64_t dir;

	(void)state;
	scene_make(&scene);
	dir = make_dir(&scene, make_dir(&scene, ROOT_INO, "a"), "b");
	write_file(scene.head, ROOT_INO, "f", 0, "one", 3);
	snapshot(&scene, "s1");
	assert_int_equal(view_rename(scene.head, ROOT_INO, "f", dir, "g", 0), 0);
	snapshot(&scene, "s2");
	write_file(scene.head, dir, "g", 0, "changed", 7);
	expect(&scene, "f", (const char *const[]){"f 3 s1", "a/b/g 3 s2", "a/b/g 7 now", NULL});
	expect(&scene, "a//b/g/", (const char *const[]){"f 3 s1", "a/b/g 3 s2", "a/b/g 7 now", NULL});
	scene_clear(&scene);
}

/* The record tells of the name that was made last; that one may be gone. */
static void another_name_of_a_file_is_found(void **state)
{
	struct scene scene;
	struct attr attr;
	uint64_t dir, other;

	(void)state;
	scene_make(&scene);
	dir = make_dir(&scene, ROOT_INO, "dir");
	other = make_dir(&scene, ROOT_INO, "other");
	write_file(scene.head, dir, "first", 0, "x", 1);
	assert_int_equal(view_lookup(scene.head, dir, "first", &attr), 0);
	assert_int_equal(view_link(scene.head, attr.ino, other, "second", &attr), 0);
	snapshot(&scene, "both");
	assert_int_equal(view_unlink(scene.head, other, "second"), 0);
	expect(&scene, "other/second", (const char *const[]){"other/second 1 both", "dir/first 1 now", NULL});
	scene_clear(&scene);
}

static void a_directory_has_versions(void **state)
{
	struct scene scene;
	uint64_t top;

	(void)state;
	scene_make(&scene);
	top = make_dir(&scene, ROOT_INO, "top");
	make_dir(&scene, top, "one");
	snapshot(&scene, "s");
	assert_int_equal(view_rename(scene.head, top, "one", ROOT_INO, "two", 0), 0);
	struct told told = list(&scene, "top/one");
	assert_int_equal(told.count, 2);
	assert_non_null(strstr(told.items[0], "top/one "));
	assert_non_null(strstr(told.items[1], "two "));
	told_clear(&told);
	scene_clear(&scene);
}

/* The way up is as long as the tree is deep, and so is the path, but not the square of it. */
static void a_file_deep_down_is_found(void **state)
{
	struct scene scene;
	uint64_t dir;

	(void)state;
	scene_make(&scene);
	dir = ROOT_INO;
	write_file(scene.head, ROOT_INO, "f", 0, "f", 1);
	snapshot(&scene, "s");
	for (size_t i = 0; i < DEPTH; i++)
		dir = make_dir(&scene, dir, "d");
	assert_int_equal(view_rename(scene.head, ROOT_INO, "f", dir, "g", 0), 0);
	struct told told = list(&scene, "f");
	assert_int_equal(told.count, 2);
	assert_string_equal(told.items[0], "f 1 s");
	assert_int_equal(strlen(told.items[1]), 2 * DEPTH + strlen("g 1 now"));
	told_clear(&told);
	scene_clear(&scene);
}

static void what_never_was_is_not_found(void **state)
{
	struct scene scene;
	struct told told = {0};
	struct error err = {0};

	(void)state;
	scene_make(&scene);
	assert_int_equal(versions_list(scene.place.store, "d", "never", tell, &told, &err), -ENOENT);
	assert_int_equal(versions_list(scene.place.store, "none", "f", tell, &told, &err), -ENOENT);
	assert_int_equal(told.count, 0);
	scene_clear(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_renamed_file_is_followed),
		cmocka_unit_test(another_name_of_a_file_is_found),
		cmocka_unit_test(a_directory_has_versions),
		cmocka_unit_test(a_file_deep_down_is_found),
		cmocka_unit_test(what_never_was_is_not_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
