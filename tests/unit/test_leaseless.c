/* A head that takes changes until a certain time: from then on it refuses them, whatever becomes of what it has accepted before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/base/clock.h"
#include "lib/store/leaseless.h"
#include "lib/tree/records/version.h"
#include "tests/unit/dataset_store.h"

#define LEN 40000
#define HOUR_MS 3600000U

static uint32_t id_of(struct store *store)
{
	struct dataset_info info;

	assert_int_equal(dataset_get(store, "d", &info), 0);
	return info.id;
}

/* Dataset "d" with a file "f", of which there is a snapshot "s". */
static int setup(void **state)
{
	static struct place place;
	const struct snapshot_name wanted = {.dataset = "d", .name = "s"};
	uint8_t content[LEN];
	struct error err = {0};
	struct view *view;

	place_init(&place);
	assert_int_equal(dataset_create(place.store, "d", 0755, 0, 0, 1, NULL), 0);
	view = open_head(place.store, "d");
	fill_random(1, content, LEN);
	write_file(view, ROOT_INO, "f", 0, content, LEN);
	store_view_put(place.store, view);
	assert_int_equal(snapshot_create(place.store, &wanted, 1, "", 0, &err), 0);
	*state = &place;
	return 0;
}

static int teardown(void **state)
{
	place_clear(*state);
	return 0;
}

static struct inode *open_file(struct view *view, uint64_t *ret_ino)
{
	struct inode *inode;
	struct attr attr;

	assert_int_equal(view_lookup(view, ROOT_INO, "f", &attr), 0);
	assert_int_equal(inode_open(view, attr.ino, &inode), 0);
	*ret_ino = attr.ino;
	return inode;
}

static int create(struct view *view, const char *name)
{
	const struct create create = {.mode = S_IFREG | 0644};
	struct attr attr;

	return view_create(view, ROOT_INO, name, &create, &attr, NULL);
}

static void check_refused(struct view *view, struct inode *inode, uint64_t ino)
{
	assert_true(view_refuses(view));
	assert_int_equal(inode_write(inode, 0, "x", 1, WRITE_KEEP), -EROFS);
	assert_int_equal(inode_allocate(inode, 0, 0, 2 * LEN), -EROFS);
	assert_int_equal(create(view, "g"), -EROFS);
	assert_int_equal(view_unlink(view, ROOT_INO, "f"), -EROFS);
	assert_int_equal(view_xattr_set(view, ino, "user.a", "x", 1, 0), -EROFS);
}

static void check_first(struct inode *inode, char wanted)
{
	char found;

	assert_int_equal(inode_read(inode, 0, 1, &found), 1);
	assert_int_equal(found, wanted);
}

/* The kernel's pages, which were stored into before, are taken as well. */
static void what_was_accepted_before_its_end_is_committed(void **state)
{
	struct place *place = *state;
	struct view *view = open_head(place->store, "d");
	uint64_t ino;
	struct inode *inode = open_file(view, &ino);

	assert_int_equal(inode_write(inode, 0, "a", 1, 0), 0);
	dataset_set_end(place->store, id_of(place->store), LEASE_OVER);
	check_refused(view, inode, ino);
	assert_int_equal(inode_write(inode, 1, "b", 1, WRITE_PAGES), 0);
	assert_int_equal(inode_sync(inode), 0);
	inode_close(inode);
	store_view_put(place->store, view);
	place_reopen(place);
	view = open_head(place->store, "d");
	inode = open_file(view, &ino);
	check_first(inode, 'a');
	/* it is not kept in the store */
	assert_int_equal(inode_write(inode, 0, "c", 1, 0), 0);
	inode_close(inode);
	store_view_put(place->store, view);
}

static void it_takes_changes_until_then_and_where_there_is_no_end(void **state)
{
	struct place *place = *state;
	struct view *view = open_head(place->store, "d");
	const uint64_t ends[] = {clock_boot_ms() + HOUR_MS, 0};
	uint64_t ino;
	struct inode *inode = open_file(view, &ino);

	for (size_t i = 0; i < 2; i++) {
		dataset_set_end(place->store, id_of(place->store), LEASE_OVER);
		check_refused(view, inode, ino);
		dataset_set_end(place->store, id_of(place->store), ends[i]);
		assert_false(view_refuses(view));
		assert_int_equal(inode_write(inode, 0, "a", 1, 0), 0);
	}
	inode_close(inode);
	store_view_put(place->store, view);
}

/* Nobody has to notice that the time has come. */
static void a_head_that_comes_by_a_rollback_ends_as_well(void **state)
{
	struct place *place = *state;
	const uint64_t end_ms = clock_boot_ms() + 1000;
	struct error err = {0};
	struct view *view;
	uint64_t ino;
	struct inode *inode;

	dataset_set_end(place->store, id_of(place->store), clock_boot_ms() + HOUR_MS);
	assert_int_equal(dataset_rollback(place->store, "d", "s", false, NULL, &err), 0);
	dataset_set_end(place->store, id_of(place->store), end_ms);
	view = open_head(place->store, "d");
	inode = open_file(view, &ino);
	while (clock_boot_ms() < end_ms)
		clock_pause_us(10000);
	check_refused(view, inode, ino);
	inode_close(inode);
	store_view_put(place->store, view);
	assert_int_equal(dataset_rollback(place->store, "d", "s", false, NULL, &err), -EROFS);
	assert_non_null(strstr(err.text, "lease"));
}

/* The first extent of the file is none any more, as its head sees it: what is written over it cannot be committed. */
static void spoil(struct store *store, struct view *view, uint64_t ino)
{
	const struct tree_key stem = tree_stem_extent(view_family(view), ino, 0);
	struct kv_batch *batch = kv_batch_new();

	version_put(view, batch, &stem, 0, "x", 1);
	assert_int_equal(kv_write(store_kv(store), batch, 0), 0);
	kv_batch_free(batch);
}

static void it_refuses_changes_although_it_cannot_be_locked(void **state)
{
	struct place *place = *state;
	const uint32_t id = id_of(place->store);
	struct view *view = open_head(place->store, "d");
	struct error err = {0};
	uint64_t ino;
	struct inode *inode = open_file(view, &ino);

	spoil(place->store, view, ino);
	assert_int_equal(inode_write(inode, 0, "a", 1, 0), 0);
	dataset_set_end(place->store, id, LEASE_OVER);
	assert_int_equal(dataset_set_leaseless(place->store, id, true, &err), -EIO);
	assert_false(view_is_locked(view));
	check_refused(view, inode, ino);
	check_first(inode, 'a');
	inode_close(inode);
	/* its mount is gone: as any other it can be mended */
	dataset_set_end(place->store, id, 0);
	assert_int_equal(view_unlink(view, ROOT_INO, "f"), 0);
	assert_int_equal(dataset_set_leaseless(place->store, id, true, &err), 0);
	assert_true(view_is_locked(view));
	store_view_put(place->store, view);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_was_accepted_before_its_end_is_committed, setup, teardown),
		cmocka_unit_test_setup_teardown(it_takes_changes_until_then_and_where_there_is_no_end, setup, teardown),
		cmocka_unit_test_setup_teardown(a_head_that_comes_by_a_rollback_ends_as_well, setup, teardown),
		cmocka_unit_test_setup_teardown(it_refuses_changes_although_it_cannot_be_locked, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
