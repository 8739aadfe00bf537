/* When the index of a repository is read, and that packs list their blobs as it does. */
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

/* A place whose disk is full until somebody makes room. */
struct full {
	struct objects objects;
	struct objects *inner;
	bool is_full;
};

static int full_put(struct objects *objects, enum object_kind kind, const char *name, const void *data, size_t len)
{
	struct full *full = (struct full *)objects;

	return full->is_full ? -ENOSPC : full->inner->place->put(full->inner, kind, name, data, len);
}

static const struct objects_place full_place = {.put = full_put};

static int expect_place(void *arg, const struct blob_place *place)
{
	const struct pack_blobs *listed = arg;

	for (size_t i = 0; i < listed->count; i++)
		if (blob_id_equal(&listed->items[i].id, &place->blob.id))
			assert_int_equal(listed->items[i].offset, place->blob.offset);
	return 0;
}

/* Threads have more to add before they hear of it. */
static void test_pack_that_is_put_again_lists_its_blobs_where_they_are(void **state)
{
	const size_t len = 15U << 20;
	struct full full = {.objects = {&full_place}, .is_full = true};
	AUTO_FREE uint8_t *data = xcalloc(len, 1);
	struct new_blob blob = {.plain = data, .len = len};
	struct pack_blobs listed = {0};
	struct object_names packs = {0};
	struct repository_place place;
	struct repository_reader *reader;
	struct repository_writer *writer;
	struct repository_hand *hand;
	struct writer_counts counts;
	struct error err = {0};

	repository_place_make(&place);
	full.inner = place.repository->objects;
	place.repository->objects = &full.objects;
	writer = repository_writer_new(place.repository, place.repository->index);
	hand = repository_hand_new(writer);
	blob.id = blob_id_of(data, blob.len);
	assert_int_equal(repository_hand_add(hand, &blob, &err), -ENOSPC);
	full.is_full = false;
	blob.len = 1000;
	blob.id = blob_id_of(data, blob.len);
	assert_int_equal(repository_hand_add(hand, &blob, &err), 0);
	assert_int_equal(repository_hand_end(hand, &err), 0);
	assert_int_equal(repository_writer_end(writer, &counts, &err), 0);
	place.repository->objects = full.inner;
	assert_int_equal(repository_load_index(place.repository, false, &err), 0);
	assert_int_equal(repository_list(place.repository, OBJECT_PACK, &packs, &err), 0);
	assert_int_equal(packs.count, 1);
	reader = repository_reader_new(place.repository);
	assert_int_equal(repository_read_pack_header(reader, &packs.items[0], &listed), 0);
	assert_int_equal(listed.count, 2);
	assert_int_equal(blob_index_each(place.repository->index, expect_place, &listed), 0);
	repository_reader_free(reader);
	repository_writer_free(writer);
	array_clear(&packs);
	array_clear(&listed);
	repository_place_clear(&place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pack_that_is_put_again_lists_its_blobs_where_they_are),
		cmocka_unit_test(test_index_is_read_again_if_it_is_another_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
