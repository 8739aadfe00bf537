/* What a backup has read is not read once more for the identity, which is the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "identity_store.h"
#include "lib/backup/content_blobs.h"
#include "repository_place.h"

#define BIG (3U << 20)
#define FILES 9

static void put_random(struct view *view, const char *name, uint64_t offset, size_t len)
{
	static uint8_t bytes[BIG];
	static uint64_t seed; /* what is the same would be read once */

	assert_true(len <= sizeof(bytes));
	fill_random(++seed, bytes, len);
	write_file(view, ROOT_INO, name, offset, bytes, len);
}

static void cut_to(struct view *view, const char *name, uint64_t size)
{
	struct setattr change = {.mask = SET_SIZE, .size = size};
	struct attr attr;

	assert_int_equal(view_lookup(view, ROOT_INO, name, &attr), 0);
	assert_int_equal(view_setattr(view, attr.ino, &change, &attr), 0);
}

static const char *const names[FILES] = {"inline", "one", "several", "cut", "grown", "runs", "zeros", "overwritten", "late"};

static void make_files(struct view *view)
{
	static uint8_t zeros[200000];

	put(view, "", "inline", "inline");
	put_random(view, "one", 0, 4000);
	put_random(view, "several", 0, 300000);
	put_random(view, "cut", 0, 300000);
	cut_to(view, "cut", 123457);
	put_random(view, "grown", 0, 100000);
	cut_to(view, "grown", 2 * BIG);
	put_random(view, "runs", 0, BIG);
	write_file(view, ROOT_INO, "runs", 300001, zeros, sizeof(zeros));
	put_random(view, "runs", BIG + 777777, 100003);
	write_file(view, ROOT_INO, "zeros", 0, zeros, sizeof(zeros));
	cut_to(view, "zeros", BIG);
	put_random(view, "overwritten", 0, BIG);
	assert_int_equal(view_sync(view), 0);
	put_random(view, "overwritten", 12345, 6789);
	put_random(view, "late", 100000, 100000);
	assert_int_equal(view_sync(view), 0);
}

/* As one thread of a backup does it. `known`: of a repository that has all of it. */
static void read_files(struct place *place, struct repository *repository, const char *snapshot, const struct blob_index *known)
{
	const struct transfer_options options = {.uid = geteuid(), .gid = getegid()};
	struct repository_writer *writer = repository_writer_new(repository, known);
	struct blob_file files[FILES] = {0};
	struct node nodes[FILES] = {0};
	struct holes holes[FILES] = {0};
	struct writer_counts written;
	struct transfer transfer;
	struct transfer_counts counts;
	struct blob_maker maker;
	struct error err = {0};
	struct view *view;
	struct scan scan;

	assert_int_equal(store_view_by_name(place->store, snapshot, &view, &err), 0);
	transfer_begin(&transfer, &options);
	scan_of_view(&scan, view);
	blob_maker_init(&maker, &transfer, place->store, &scan, writer);
	maker.notes = content_notes_new(place->store, view);
	assert_non_null(maker.notes);
	for (size_t i = 0; i < FILES; i++)
		files[i] = (struct blob_file){.ino = at(view, names[i]), .node = &nodes[i], .holes = &holes[i]};
	blob_maker_files(&maker, files, FILES);
	assert_int_equal(blob_maker_end(&maker, false), 0);
	assert_int_equal(repository_writer_end(writer, &written, &err), 0);
	for (size_t i = 0; i < FILES; i++) {
		assert_int_equal(files[i].result, 0);
		node_clear(&nodes[i]);
		array_clear(&holes[i]);
	}
	repository_writer_free(writer);
	scan_clear(&scan);
	store_view_put(place->store, view);
	assert_int_equal(transfer_end(&transfer, &counts, NULL), 0);
}

static void test_what_was_read_is_not_read_again(void **state)
{
	struct place *place = *state;
	struct repository_place repository;
	struct blob_index *nothing = blob_index_new();
	struct identity_cost cost;
	struct error err = {0};
	struct view *view = open_head(place->store, "data");

	repository_place_make(&repository);
	make_files(view);
	take(place->store, "data", "first");
	read_files(place, repository.repository, "data@first", nothing);
	cost = check(place->store, "data@first", NULL);
	assert_int_equal(cost.contents, 1); /* the zeros are one chunk again and again, which was read once */
	assert_false(cost.partial);

	/* Where the repository has all of it, nothing but short files of one chunk is known: their records alone are read. */
	assert_int_equal(repository_load_index(repository.repository, false, &err), 0);
	put_random(view, "one", 0, 4001);
	put_random(view, "several", 300000, 1);
	assert_int_equal(view_sync(view), 0);
	take(place->store, "data", "second");
	read_files(place, repository.repository, "data@second", repository.repository->index);
	cost = check(place->store, "data@second", NULL);
	assert_true(cost.partial && cost.contents == 1);
	blob_index_free(nothing);
	repository_place_clear(&repository);
	store_view_put(place->store, view);
}

static void test_nothing_is_noted_of_what_is_known(void **state)
{
	struct place *place = *state;
	struct error err = {0};
	struct view *view = open_head(place->store, "data"), *snapshot;

	make_files(view);
	taken(place->store, "s", NULL);
	assert_int_equal(store_view_by_name(place->store, "data@s", &snapshot, &err), 0);
	assert_null(content_notes_new(place->store, snapshot));
	store_view_put(place->store, snapshot);
	store_view_put(place->store, view);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_what_was_read_is_not_read_again, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nothing_is_noted_of_what_is_known, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
