/* What people expect of a comparison, in words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/diff_store.h"

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

static uint64_t make(struct scene *scene, uint64_t dir, const char *name, uint32_t mode, const char *text)
{
	struct create create = {.mode = mode};
	struct inode *inode;
	struct attr attr;

	assert_int_equal(view_create(scene->head, dir, name, &create, &attr, &inode), 0);
	if (text)
		assert_int_equal(inode_write(inode, 0, text, strlen(text), 0), 0);
	inode_close(inode);
	return attr.ino;
}

static void expect_lines(struct scene *scene, const char *const *lines)
{
	struct tree_list a, b;
	struct view *before;
	struct told told = {.a = &a, .b = &b};
	size_t count = 0;

	assert_int_equal(store_snapshot(scene->place.store, "d", "s", &before), 0);
	assert_int_equal(view_sync(scene->head), 0);
	read_tree(&a, before);
	read_tree(&b, scene->head);
	const struct diff_options options = {.flags = DIFF_CONTENT};
	assert_int_equal(diff_views(scene->place.store, before, scene->head, &options, tell, &told), 0);
	for (; lines[count]; count++)
		assert_string_equal(count < told.outcome.count ? told.outcome.items[count] : "nothing", lines[count]);
	assert_int_equal(told.outcome.count, count);
	clear_outcome(&told.outcome);
	free(told.last);
	clear_tree(&a);
	clear_tree(&b);
	store_view_put(scene->place.store, before);
}

static void a_renamed_directory_is_one_line(void **state)
{
	struct scene scene;
	uint64_t dir;

	(void)state;
	scene_make(&scene);
	dir = make(&scene, ROOT_INO, "old", S_IFDIR | 0755, NULL);
	make(&scene, dir, "a", S_IFREG | 0644, "a");
	make(&scene, dir, "b", S_IFREG | 0644, "b");
	snapshot(scene.place.store, "d", "s");
	assert_int_equal(view_rename(scene.head, ROOT_INO, "old", ROOT_INO, "new", 0), 0);
	expect_lines(&scene, (const char *const[]){"R old -> new", NULL});
	make(&scene, dir, "c", S_IFREG | 0644, "c");
	expect_lines(&scene, (const char *const[]){"R old -> new", "+ new/c", NULL});
	scene_clear(&scene);
}

static void a_file_replaced_by_rename_is_modified(void **state)
{
	struct scene scene;

	(void)state;
	scene_make(&scene);
	make(&scene, ROOT_INO, "f", S_IFREG | 0644, "before");
	snapshot(scene.place.store, "d", "s");
	make(&scene, ROOT_INO, "f.tmp", S_IFREG | 0644, "after");
	assert_int_equal(view_rename(scene.head, ROOT_INO, "f.tmp", ROOT_INO, "f", 0), 0);
	expect_lines(&scene, (const char *const[]){"M f", NULL});
	scene_clear(&scene);
}

static void the_same_bytes_written_again_are_metadata(void **state)
{
	struct scene scene;
	struct inode *inode;
	uint64_t ino;

	(void)state;
	scene_make(&scene);
	ino = make(&scene, ROOT_INO, "f", S_IFREG | 0644, "same");
	snapshot(scene.place.store, "d", "s");
	assert_int_equal(inode_open(scene.head, ino, &inode), 0);
	assert_int_equal(inode_write(inode, 0, "same", 4, 0), 0);
	inode_close(inode);
	expect_lines(&scene, (const char *const[]){"m f", NULL});
	scene_clear(&scene);
}

static void every_name_of_a_changed_file_is_told(void **state)
{
	struct scene scene;
	struct inode *inode;
	struct attr attr;
	uint64_t ino, dir;

	(void)state;
	scene_make(&scene);
	dir = make(&scene, ROOT_INO, "sub", S_IFDIR | 0755, NULL);
	ino = make(&scene, ROOT_INO, "f", S_IFREG | 0644, "before");
	assert_int_equal(view_link(scene.head, ino, dir, "g", &attr), 0);
	snapshot(scene.place.store, "d", "s");
	assert_int_equal(inode_open(scene.head, ino, &inode), 0);
	assert_int_equal(inode_write(inode, 0, "after", 5, 0), 0);
	inode_close(inode);
	expect_lines(&scene, (const char *const[]){"M f", "M sub/g", NULL});
	scene_clear(&scene);
}

static void what_is_in_a_removed_directory_is_told(void **state)
{
	struct scene scene;
	uint64_t dir;

	(void)state;
	scene_make(&scene);
	dir = make(&scene, ROOT_INO, "sub", S_IFDIR | 0755, NULL);
	make(&scene, dir, "a", S_IFREG | 0644, "a");
	make(&scene, dir, "kept", S_IFREG | 0644, "k");
	make(&scene, ROOT_INO, "sub.x", S_IFREG | 0644, "x");
	snapshot(scene.place.store, "d", "s");
	assert_int_equal(view_unlink(scene.head, dir, "a"), 0);
	assert_int_equal(view_rename(scene.head, dir, "kept", ROOT_INO, "kept", 0), 0);
	assert_int_equal(view_rmdir(scene.head, ROOT_INO, "sub"), 0);
	assert_int_equal(view_unlink(scene.head, ROOT_INO, "sub.x"), 0);
	expect_lines(&scene, (const char *const[]){"R sub/kept -> kept", "- sub", "- sub/a", "- sub.x", NULL});
	scene_clear(&scene);
}

static int stop_at_once(void *arg, const struct diff_entry *entry)
{
	(void)entry;
	(*(int *)arg)++;
	return 7;
}

static void stops_when_told(void **state)
{
	struct scene scene;
	struct view *before;
	int calls = 0;

	(void)state;
	scene_make(&scene);
	snapshot(scene.place.store, "d", "s");
	make(&scene, ROOT_INO, "a", S_IFREG | 0644, "a");
	make(&scene, ROOT_INO, "b", S_IFREG | 0644, "a");
	assert_int_equal(store_snapshot(scene.place.store, "d", "s", &before), 0);
	assert_int_equal(diff_views(scene.place.store, before, scene.head, &(struct diff_options){0}, stop_at_once, &calls), 7);
	assert_int_equal(calls, 1);
	store_view_put(scene.place.store, before);
	scene_clear(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_renamed_directory_is_one_line),
		cmocka_unit_test(a_file_replaced_by_rename_is_modified),
		cmocka_unit_test(the_same_bytes_written_again_are_metadata),
		cmocka_unit_test(every_name_of_a_changed_file_is_told),
		cmocka_unit_test(what_is_in_a_removed_directory_is_told),
		cmocka_unit_test(stops_when_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
