/* When the index of a repository is read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "repository_place.h"

/* An index file of one pack. */
static void put_index_of(struct repository *repository, size_t blobs)
{
	const struct new_blob blob = {.id = blob_id_of("x", 1), .plain = "x", .len = 1};
	struct repository_writer *writer = repository_writer_new(repository, repository->index);
	struct repository_hand *hand;
	struct writer_counts counts;
	struct error err = {0};

	hand = repository_hand_new(writer);
	for (size_t i = 0; i < blobs; i++)
		assert_int_equal(repository_hand_add(hand, &blob, &err), 0);
	assert_int_equal(repository_hand_end(hand, &err), 0);
	assert_int_equal(repository_writer_end(writer, &counts, &err), 0);
	repository_writer_free(writer);
}

static void test_index_is_read_again_if_it_is_another_one(void **state)
{
	const struct blob_id stranger = blob_id_of("y", 1), known = blob_id_of("x", 1);
	const struct pack_blob added = {.id = stranger, .length = SEAL_EXTRA + 1};
	struct repository_place place;
	struct error err = {0};
	char path[600];
	int fd;

	repository_place_make(&place);
	put_index_of(place.repository, 1);
	assert_int_equal(repository_load_changed_index(place.repository, &err), 0);
	assert_true(blob_index_has(place.repository->index, &known, false));
	/* what was not read goes when it is read again */
	blob_index_add(place.repository->index, &stranger, &added, 1);
	assert_int_equal(repository_load_changed_index(place.repository, &err), 0);
	assert_true(blob_index_has(place.repository->index, &stranger, false));
	put_index_of(place.repository, 2);
	assert_int_equal(repository_load_changed_index(place.repository, &err), 0);
	assert_false(blob_index_has(place.repository->index, &stranger, false));
	assert_int_equal(blob_index_packs(place.repository->index), 2);
	/* what could not be read is not taken for what is known */
	snprintf(path, sizeof(path), "%s/index/%064d", place.path, 7);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "no index", 8), 8);
	close(fd);
	assert_int_equal(repository_load_changed_index(place.repository, &err), -EBADMSG);
	assert_int_equal(repository_load_changed_index(place.repository, &err), -EBADMSG);
	assert_int_equal(repository_load_index(place.repository, true, &err), 0);
	assert_int_equal(repository_load_changed_index(place.repository, &err), -EBADMSG);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(repository_load_changed_index(place.repository, &err), 0);
	repository_place_clear(&place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_index_is_read_again_if_it_is_another_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
