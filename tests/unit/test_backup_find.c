/* Which backup is meant, and how much is read to know that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <stdatomic.h>

#include "lib/backup/backup_find.h"
#include "lib/base/clock.h"
#include "tests/unit/repository_place.h"

#define BACKUPS 5
#define MET_MS 20000 /* so long one that is read waits for another one */

static struct scene {
	struct repository_place place;
	char names[BACKUPS][BLOB_ID_TEXT];
	const struct objects_place *inner;
	struct objects_place counting;
	atomic_uint read, inside;
	atomic_bool meets, met; /* meets: the first one to be read goes on when another one is read, too */
} scene;

static int get(struct objects *objects, enum object_kind kind, const char *name, uint64_t offset, size_t len, void *out)
{
	const uint64_t until = clock_ms() + MET_MS;
	int r;

	if (kind != OBJECT_SNAPSHOT)
		return scene.inner->get(objects, kind, name, offset, len, out);
	atomic_fetch_add(&scene.read, 1);
	if (atomic_fetch_add(&scene.inside, 1) > 0)
		atomic_store(&scene.met, true);
	while (atomic_load(&scene.meets) && !atomic_load(&scene.met) && clock_ms() < until)
		clock_pause_us(1000);
	r = scene.inner->get(objects, kind, name, offset, len, out);
	atomic_fetch_sub(&scene.inside, 1);
	return r;
}

static int set_up(void **state)
{
	scene = (struct scene){0};
	repository_place_make(&scene.place);
	for (int i = 0; i < BACKUPS; i++) {
		char path[] = "/d0", *paths[] = {path}, host[] = "here";
		struct snapshot_file snapshot = {.time = {.tv_sec = 1000 + i}, .host = host, .paths = {.items = paths, .count = 1}};
		struct error err = {0};

		path[2] = (char)('0' + i);
		assert_int_equal(snapshot_file_write(scene.place.repository, &snapshot, scene.names[i], &err), 0);
	}
	scene.inner = scene.place.repository->objects->place;
	scene.counting = *scene.inner;
	scene.counting.get = get;
	scene.place.repository->objects->place = &scene.counting;
	return 0;
}

static int tear_down(void **state)
{
	scene.place.repository->objects->place = scene.inner;
	repository_place_clear(&scene.place);
	return 0;
}

/* The dataset of the backup that was found. */
static int find(const char *text, const struct backup_filter *filter, char *ret_dataset)
{
	struct snapshot_file snapshot;
	struct backup_others others;
	struct error err = {0};
	int r = backup_find_among(scene.place.repository, text, filter, &snapshot, &others, &err);

	if (r < 0)
		return r;
	snprintf(ret_dataset, 8, "%s", backup_dataset(&snapshot));
	assert_string_equal(others.later, "");
	assert_string_equal(others.incomplete, "");
	snapshot_file_clear(&snapshot);
	return 0;
}

static void of_a_whole_name_nothing_else_is_read(void **state)
{
	const struct backup_filter here = {.host = "here"}, elsewhere = {.host = "elsewhere"};
	char dataset[8];

	assert_int_equal(find(scene.names[3], &here, dataset), 0);
	assert_string_equal(dataset, "d3");
	assert_int_equal(atomic_load(&scene.read), 1);
	assert_int_equal(find(scene.names[3], &elsewhere, dataset), -ENOENT);
}

static void digits_and_datasets_are_looked_for_among_all(void **state)
{
	const struct backup_filter all = {0};
	char digits[BLOB_ID_TEXT], dataset[8];

	snprintf(digits, sizeof(digits), "%.20s", scene.names[2]);
	assert_int_equal(find(digits, &all, dataset), 0);
	assert_string_equal(dataset, "d2");
	assert_int_equal(atomic_load(&scene.read), BACKUPS);
	assert_int_equal(find("d4", &all, dataset), 0);
	assert_string_equal(dataset, "d4");
	assert_int_equal(find("d5", &all, dataset), -ENOENT);
}

static void one_that_is_gone_or_damaged_is_not_found(void **state)
{
	const struct backup_filter all = {0};
	char path[200], dataset[8];

	snprintf(path, sizeof(path), "%s/snapshots/%s", scene.place.path, scene.names[1]);
	assert_int_equal(chmod(path, 0600), 0);
	assert_int_equal(truncate(path, 50), 0);
	assert_int_equal(find(scene.names[1], &all, dataset), -EBADMSG);
	assert_int_equal(find("d4", &all, dataset), -EBADMSG); /* the damaged one could be newer */
	assert_int_equal(find(scene.names[4], &all, dataset), 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(find(scene.names[1], &all, dataset), -ENOENT);
	assert_int_equal(find("d4", &all, dataset), 0);
}

static void several_are_read_at_once_and_come_oldest_first(void **state)
{
	struct snapshot_files snapshots = {0};
	struct error err = {0};

	atomic_store(&scene.meets, true);
	assert_int_equal(snapshot_files_read(scene.place.repository, false, &snapshots, &err), 0);
	assert_true(atomic_load(&scene.met));
	assert_int_equal(snapshots.count, BACKUPS);
	for (size_t i = 0; i < BACKUPS; i++)
		assert_string_equal(snapshots.items[i].name, scene.names[i]);
	snapshot_files_clear(&snapshots);
}

static void damage_of_one_is_told_unless_it_is_passed_over(void **state)
{
	struct snapshot_files snapshots = {0};
	struct error err = {0};
	char path[200];

	snprintf(path, sizeof(path), "%s/snapshots/%s", scene.place.path, scene.names[1]);
	assert_int_equal(chmod(path, 0600), 0);
	assert_int_equal(truncate(path, 50), 0);
	assert_int_equal(snapshot_files_read(scene.place.repository, true, &snapshots, &err), 0);
	assert_int_equal(snapshots.count, BACKUPS - 1);
	assert_int_equal(snapshots.damaged.count, 1);
	snapshot_files_clear(&snapshots);
	assert_int_equal(snapshot_files_read(scene.place.repository, false, &snapshots, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "damaged"));
	assert_int_equal(snapshots.count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(of_a_whole_name_nothing_else_is_read, set_up, tear_down),
		cmocka_unit_test_setup_teardown(digits_and_datasets_are_looked_for_among_all, set_up, tear_down),
		cmocka_unit_test_setup_teardown(several_are_read_at_once_and_come_oldest_first, set_up, tear_down),
		cmocka_unit_test_setup_teardown(damage_of_one_is_told_unless_it_is_passed_over, set_up, tear_down),
		cmocka_unit_test_setup_teardown(one_that_is_gone_or_damaged_is_not_found, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
