/* Comparisons of trees that are large or deep: how much memory they take, and how much they say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/dataset_store.h"
#include "tests/unit/memory.h"

#include "lib/history/diff.h"

#define ENTRIES (MEMORY_MEASURED ? 200000UL : 20000UL)
#define DEPTH (MEMORY_MEASURED ? 60000UL : 5000UL)
#define PER_DIR 1000
#define GROWTH_MAX (32UL << 20)

/* --- telling --- */

struct tally {
	size_t kinds[DIFF_METADATA + 1], too_deep, longest;
};

static int count(void *arg, const struct diff_entry *entry)
{
	struct tally *tally = arg;

	tally->kinds[entry->kind]++;
	tally->too_deep += entry->too_deep;
	tally->longest = MAX(tally->longest, strlen(entry->path));
	tally->longest = MAX(tally->longest, entry->old_path ? strlen(entry->old_path) : 0);
	return 0;
}

struct scene {
	struct place place;
	struct view *head, *before;
};

static void scene_make(struct scene *scene)
{
	struct error err;

	*scene = (struct scene){0};
	place_init(&scene->place);
	assert_int_equal(dataset_create(scene->place.store, "d", 0755, 0, 0, 1, &err), 0);
	assert_int_equal(store_head(scene->place.store, "d", &scene->head), 0);
}

/* Takes a snapshot; the view in *view, if there is one, is given back. */
static void scene_snapshot(struct scene *scene, const char *name, struct view **view)
{
	struct snapshot_name target = {"d", name};
	struct error err;

	if (*view)
		store_view_put(scene->place.store, *view);
	assert_int_equal(snapshot_create(scene->place.store, &target, 1, "", 0, &err), 0);
	assert_int_equal(store_snapshot(scene->place.store, "d", name, view), 0);
}

static void scene_clear(struct scene *scene)
{
	store_view_put(scene->place.store, scene->before);
	store_view_put(scene->place.store, scene->head);
	place_clear(&scene->place);
}

static struct tally compare(struct scene *scene, struct view *a, struct view *b)
{
	struct tally tally = {0};
	size_t before;

	assert_int_equal(view_sync(scene->head), 0);
	before = memory_begin();
	assert_int_equal(diff_views(scene->place.store, a, b, &(struct diff_options){0}, count, &tally), 0);
	memory_end(before, GROWTH_MAX);
	return tally;
}

static uint64_t make_dir(struct view *view, uint64_t dir, const char *name)
{
	struct create create = {.mode = S_IFDIR | 0755};
	struct attr attr;

	assert_int_equal(view_create(view, dir, name, &create, &attr, NULL), 0);
	return attr.ino;
}

static void make_many(struct view *view, uint64_t top, size_t entries)
{
	struct create create = {.mode = S_IFREG | 0644};
	struct attr attr;
	uint64_t dir = 0;
	char name[64];

	for (size_t i = 0; i < entries; i++) {
		snprintf(name, sizeof(name), "a-name-of-usual-length-%zu", i);
		if (i % PER_DIR == 0)
			dir = make_dir(view, top, name);
		assert_int_equal(view_create(view, dir, name, &create, &attr, NULL), 0);
	}
}

/* --- large --- */

static void many_entries_take_little_memory(void **state)
{
	struct scene scene;
	struct tally tally;
	uint64_t top;

	(void)state;
	scene_make(&scene);
	top = make_dir(scene.head, ROOT_INO, "top");
	scene_snapshot(&scene, "s", &scene.before);
	make_many(scene.head, top, ENTRIES);
	tally = compare(&scene, scene.before, scene.head);
	assert_int_equal(tally.kinds[DIFF_ADDED], ENTRIES + ENTRIES / PER_DIR);
	tally = compare(&scene, scene.head, scene.before);
	assert_int_equal(tally.kinds[DIFF_REMOVED], ENTRIES + ENTRIES / PER_DIR);
	scene_clear(&scene);
}

static int note_name(void *arg, const char *name, uint64_t ino, uint8_t type)
{
	struct buf *names = arg;

	buf_add(names, name, strlen(name) + 1);
	return 0;
}

/* Every file goes to another directory. */
static void many_renames_take_little_memory(void **state)
{
	struct scene scene;
	struct tally tally;
	uint64_t from, to;
	AUTO_BUF dirs = BUF_INIT;

	(void)state;
	scene_make(&scene);
	from = make_dir(scene.head, ROOT_INO, "from");
	to = make_dir(scene.head, ROOT_INO, "to");
	make_many(scene.head, from, ENTRIES / 2);
	scene_snapshot(&scene, "s", &scene.before);
	assert_int_equal(view_list(scene.head, from, "", note_name, &dirs), 0);
	for (const char *dir = (char *)dirs.data; dir < (char *)dirs.data + dirs.len; dir += strlen(dir) + 1) {
		AUTO_BUF names = BUF_INIT;
		struct attr attr;
		assert_int_equal(view_lookup(scene.head, from, dir, &attr), 0);
		assert_int_equal(view_list(scene.head, attr.ino, "", note_name, &names), 0);
		for (const char *name = (char *)names.data; name < (char *)names.data + names.len; name += strlen(name) + 1)
			assert_int_equal(view_rename(scene.head, attr.ino, name, to, name, 0), 0);
	}
	tally = compare(&scene, scene.before, scene.head);
	assert_int_equal(tally.kinds[DIFF_RENAMED], ENTRIES / 2);
	assert_int_equal(tally.kinds[DIFF_ADDED] + tally.kinds[DIFF_REMOVED], 0);
	scene_clear(&scene);
}

/* --- deep --- */

static void deep_trees_are_told_without_long_paths(void **state)
{
	struct scene scene;
	struct tally tally;
	struct view *empty = NULL;
	uint64_t dir;

	(void)state;
	scene_make(&scene);
	scene_snapshot(&scene, "empty", &empty);
	dir = make_dir(scene.head, ROOT_INO, "d");
	for (size_t i = 1; i < DEPTH; i++)
		dir = make_dir(scene.head, dir, "d");
	tally = compare(&scene, empty, scene.head);
	assert_int_equal(tally.kinds[DIFF_ADDED], DEPTH);
	assert_int_equal(tally.longest, DIFF_PATH_MAX);
	assert_int_equal(tally.too_deep, DEPTH - (DIFF_PATH_MAX + 1) / 2);
	tally = compare(&scene, scene.head, empty);
	assert_int_equal(tally.kinds[DIFF_REMOVED], DEPTH);

	scene_snapshot(&scene, "deep", &scene.before);
	make_dir(scene.head, dir, "one");
	tally = compare(&scene, scene.before, scene.head);
	assert_int_equal(tally.kinds[DIFF_ADDED], 1);
	scene_snapshot(&scene, "one", &scene.before);
	assert_int_equal(view_rename(scene.head, dir, "one", dir, "two", 0), 0);
	tally = compare(&scene, scene.before, scene.head);
	assert_int_equal(tally.kinds[DIFF_RENAMED], 1);
	assert_int_equal(tally.kinds[DIFF_ADDED] + tally.kinds[DIFF_REMOVED] + tally.kinds[DIFF_METADATA], 0);
	assert_int_equal(tally.longest, DIFF_PATH_MAX);
	assert_int_equal(view_rename(scene.head, dir, "two", ROOT_INO, "up", 0), 0);
	tally = compare(&scene, scene.before, scene.head);
	assert_int_equal(tally.kinds[DIFF_RENAMED], 1);
	assert_int_equal(tally.too_deep, 0);
	store_view_put(scene.place.store, empty);
	scene_clear(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(many_entries_take_little_memory),
		cmocka_unit_test(many_renames_take_little_memory),
		cmocka_unit_test(deep_trees_are_told_without_long_paths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
