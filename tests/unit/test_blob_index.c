/* Where blobs stand: many of them, several copies, index files written and read. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "lib/repository/blob_index.h"

#define PACKS 200
#define BLOBS 500 /* of a pack */

static struct blob_id id_of(uint64_t number)
{
	return blob_id_of(&number, sizeof(number));
}

static void fill(struct blob_index *index)
{
	for (uint64_t pack = 0; pack < PACKS; pack++) {
		const struct blob_id name = id_of(~pack);
		struct pack_blob blobs[BLOBS];

		for (uint32_t i = 0; i < BLOBS; i++)
			blobs[i] = (struct pack_blob){.id = id_of(pack * BLOBS + i), .offset = i * 100, .length = 100, .plain = i % 3 * 70, .is_tree = i % 2};
		blob_index_add(index, &name, blobs, BLOBS);
	}
}

static void check(const struct blob_index *index)
{
	for (uint64_t number = 0; number < PACKS * BLOBS; number += 7) {
		const struct blob_id id = id_of(number), pack = id_of(~(number / BLOBS));
		const uint32_t i = (uint32_t)(number % BLOBS);
		struct blob_place place;

		assert_true(blob_index_find(index, &id, i % 2, 0, &place));
		assert_true(blob_id_equal(&place.pack, &pack) && place.blob.offset == i * 100 && place.blob.plain == i % 3 * 70);
		assert_false(blob_index_has(index, &id, !(i % 2)));
		assert_false(blob_index_find(index, &id, i % 2, 1, &place));
	}
}

static void test_all_blobs_are_found(void **state)
{
	struct blob_index *index = blob_index_new();
	const struct blob_id stranger = id_of(1ULL << 50);

	fill(index);
	check(index);
	assert_int_equal(blob_index_count(index), PACKS * BLOBS);
	assert_false(blob_index_has(index, &stranger, false));
	blob_index_free(index);
}

static void test_every_copy_is_found(void **state)
{
	struct blob_index *index = blob_index_new();
	const struct blob_id one = id_of(1), two = id_of(2);
	const struct pack_blob blob = {.id = id_of(3), .offset = 5, .length = 50};
	struct blob_place place;

	blob_index_add(index, &one, &blob, 1);
	blob_index_add(index, &two, &blob, 1);
	blob_index_add(index, &two, &blob, 1); /* known already */
	assert_true(blob_index_find(index, &blob.id, false, 0, &place) && blob_id_equal(&place.pack, &one));
	assert_true(blob_index_find(index, &blob.id, false, 1, &place) && blob_id_equal(&place.pack, &two));
	assert_false(blob_index_find(index, &blob.id, false, 2, &place));
	blob_index_free(index);
}

static int add_number(void *arg, const struct blob_place *place)
{
	size_t *count = arg;
	const struct blob_id id = id_of(77 * BLOBS + *count);

	assert_true(blob_id_equal(&place->blob.id, &id) && place->blob.offset == *count * 100);
	(*count)++;
	return 0;
}

static void test_blobs_of_one_pack_are_given(void **state)
{
	struct blob_index *index = blob_index_new();
	const struct blob_id pack = id_of(~77ULL), last = id_of(~(uint64_t)PACKS), empty = id_of(~(uint64_t)(PACKS + 1)), stranger = id_of(1ULL << 50);
	const struct pack_blob blob = {.id = id_of(77ULL * BLOBS), .length = 50};
	size_t count = 0;

	fill(index);
	blob_index_add(index, &empty, NULL, 0);
	blob_index_add(index, &last, &blob, 1);
	assert_int_equal(blob_index_each_of(index, &stranger, add_number, &count), 0);
	assert_int_equal(blob_index_each_of(index, &empty, add_number, &count), 0);
	assert_int_equal(count, 0);
	assert_int_equal(blob_index_each_of(index, &pack, add_number, &count), 0);
	assert_int_equal(count, BLOBS);
	count = 0;
	assert_int_equal(blob_index_each_of(index, &last, add_number, &count), 0);
	assert_int_equal(count, 1);
	blob_index_free(index);
}

static int write_place(void *arg, const struct blob_place *place)
{
	index_writer_add(arg, &place->pack, &place->blob, 1);
	return 0;
}

static void test_index_file_comes_back(void **state)
{
	struct blob_index *index = blob_index_new(), *back = blob_index_new();
	const struct blob_id pack = id_of(9), old = id_of(10);
	const struct pack_blob blob = {.id = id_of(11), .offset = 5, .length = 50, .plain = 77, .is_tree = true};
	struct index_writer writer = {0};
	struct blob_place place;

	blob_index_add(index, &pack, &blob, 1);
	assert_int_equal(blob_index_each(index, write_place, &writer), 0);
	index_writer_end(&writer, &old, 1);
	assert_int_equal(blob_index_read(back, (char *)writer.json.data, writer.json.len), 0);
	assert_true(blob_index_find(back, &blob.id, true, 0, &place));
	assert_true(place.blob.offset == 5 && place.blob.length == 50 && place.blob.plain == 77 && blob_id_equal(&place.pack, &pack));
	buf_clear(&writer.json);
	blob_index_free(index);
	blob_index_free(back);
}

static int count_pack(void *arg, const struct blob_id *pack)
{
	const struct blob_id marked = id_of(21);

	assert_true(blob_id_equal(pack, &marked));
	++*(size_t *)arg;
	return 0;
}

static void test_packs_of_a_mark_are_those_of_index_files_that_have_it(void **state)
{
	struct blob_index *index = blob_index_new();
	const struct pack_blob blob = {.id = id_of(11), .length = 50};
	size_t count = 0;

	for (uint64_t number = 20; number < 23; number++) {
		const struct blob_id pack = id_of(number);
		struct index_writer writer = {0};

		index_writer_add(&writer, &pack, &blob, 1);
		index_writer_end(&writer, NULL, 0);
		if (number > 20)
			index_writer_mark(&writer, number == 21 ? "ours" : "theirs");
		assert_int_equal(blob_index_read(index, (char *)writer.json.data, writer.json.len), 0);
		buf_clear(&writer.json);
	}
	assert_int_equal(blob_index_packs(index), 3);
	assert_int_equal(blob_index_each_marked(index, "ours", count_pack, &count), 0);
	assert_int_equal(count, 1);
	assert_int_equal(blob_index_each_marked(index, "our", count_pack, &count), 0);
	assert_int_equal(count, 1);
	blob_index_free(index);
}

static void test_damaged_index_file_is_refused(void **state)
{
	static const char *const bad[] = {
		"", "{}", "{\"packs\":1}", "{\"packs\":[{\"id\":\"1\",\"blobs\":[]}]}",
		"{\"packs\":[{\"id\":\"0000000000000000000000000000000000000000000000000000000000000000\",\"blobs\":[{\"type\":\"data\"}]}]}",
		"{\"packs\":[]", "{\"packs\":[]}}", "{\"packs\":[],}", "{\"packs\":null}", "{\"packs\":[{\"blobs\":[]}]}",
	};
	struct blob_index *index = blob_index_new();

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(blob_index_read(index, bad[i], strlen(bad[i])), -EBADMSG);
	blob_index_free(index);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_blobs_are_found),
		cmocka_unit_test(test_every_copy_is_found),
		cmocka_unit_test(test_blobs_of_one_pack_are_given),
		cmocka_unit_test(test_index_file_comes_back),
		cmocka_unit_test(test_packs_of_a_mark_are_those_of_index_files_that_have_it),
		cmocka_unit_test(test_damaged_index_file_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
