#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>

#include "dataset_store.h"
#include "fs/fuse/notify/lost_changes.h"
#include "fs/supervise/untold.h"
#include "lib/base/buf.h"

#define FILES 5000 /* more than numbers of inodes are reserved at once */

static struct untold *full(void)
{
	struct untold *untold = xcalloc(1, sizeof(*untold));

	for (uint64_t i = 0; i < UNTOLD_BYTES / sizeof(struct untold_change); i++)
		untold_add(untold, &(struct untold_change){.ino = i}, "");
	return untold;
}

static void lose(struct untold *untold, uint32_t view, uint64_t ino)
{
	untold_add(untold, &(struct untold_change){.view = view, .ino = ino}, "");
}

/* How often it comes. */
static unsigned times(struct store *store, const struct untold *untold, uint32_t view, uint64_t ino)
{
	struct lost_changes *lost = lost_changes_new(store, untold);
	struct lost_inode inode;
	unsigned times = 0;

	while (lost_changes_next(lost, &inode))
		times += inode.view == view && inode.ino == ino;
	lost_changes_free(lost);
	return times;
}

static uint32_t make(struct store *store, const char *dataset)
{
	struct dataset_info info;
	struct error err = {0};

	assert_int_equal(dataset_create(store, dataset, 0755, 0, 0, 1, &err), 0);
	assert_int_equal(dataset_get(store, dataset, &info), 0);
	return info.view;
}

static uint64_t make_files(struct store *store, const char *dataset)
{
	struct create create = {.mode = S_IFREG | 0644};
	struct view *view = open_head(store, dataset);
	struct attr attr;

	for (unsigned i = 0; i < FILES; i++) {
		char name[16];

		snprintf(name, sizeof(name), "%u", i);
		assert_int_equal(view_create(view, ROOT_INO, name, &create, &attr, NULL), 0);
	}
	store_view_put(store, view);
	return attr.ino;
}

static void nothing_is_told_where_nothing_was_lost(void **state)
{
	struct place *place = *state;
	struct untold *untold = full();
	struct lost_inode inode;
	struct lost_changes *lost;

	(void)make(place->store, "d");
	lost = lost_changes_new(place->store, untold);
	assert_false(lost_changes_next(lost, &inode));
	lost_changes_free(lost);
	free(untold);
}

static void each_head_is_looked_at_from_its_root_to_its_last_file(void **state)
{
	struct place *place = *state;
	const char *names[] = {"a", "b", "c"};
	struct untold *untold = full();
	uint32_t views[3];
	uint64_t last[3];

	for (unsigned i = 0; i < 3; i++) {
		views[i] = make(place->store, names[i]);
		last[i] = make_files(place->store, names[i]);
		lose(untold, views[i], ROOT_INO);
		lose(untold, views[i], last[i]);
	}
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(times(place->store, untold, views[i], ROOT_INO), 1);
		assert_int_equal(times(place->store, untold, views[i], last[i]), 1);
		assert_int_equal(times(place->store, untold, views[i], last[i] - 1), 0);
	}
	place_reopen(place);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(times(place->store, untold, views[i], last[i]), 1);
	free(untold);
}

static void it_is_the_head_that_counts_also_after_snapshots_and_a_rollback(void **state)
{
	struct place *place = *state;
	const struct snapshot_name snapshot = {.dataset = "d", .name = "s"};
	struct untold *untold = full();
	struct dataset_info info;
	struct error err = {0};
	uint32_t old = make(place->store, "d");
	uint64_t last = make_files(place->store, "d");

	lose(untold, old, last);
	assert_int_equal(snapshot_create(place->store, &snapshot, 1, "", 0, &err), 0);
	assert_int_equal(times(place->store, untold, old, last), 1);
	assert_int_equal(dataset_rollback(place->store, "d", "s", true, NULL, &err), 0);
	assert_int_equal(dataset_get(place->store, "d", &info), 0);
	assert_int_not_equal(info.view, old);
	lose(untold, info.view, last - 7);
	assert_int_equal(times(place->store, untold, info.view, last - 7), 1);
	free(untold);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nothing_is_told_where_nothing_was_lost, place_setup, place_teardown),
		cmocka_unit_test_setup_teardown(each_head_is_looked_at_from_its_root_to_its_last_file, place_setup, place_teardown),
		cmocka_unit_test_setup_teardown(it_is_the_head_that_counts_also_after_snapshots_and_a_rollback, place_setup, place_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
