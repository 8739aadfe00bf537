/* What a million blobs take up in memory: what blob_index.h and the manual page say of each, whoever works with a repository. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/backup/backup_base.h"
#include "lib/backup/used_blobs.h"
#include "lib/repository/repository.h"
#include "tests/unit/memory.h"

#define BLOBS 1000000U
#define IN_PACK 400U           /* 16 MiB of blobs of 40 KiB */
#define IN_FILE 50000U         /* blobs of an index file */
#define FILES 5U
#define CLAIM_BYTES 72         /* of each blob that a backup writes: blob_set.h, and a copy while the array grows */
#define FILE_BYTES (96U << 20) /* that one index file takes while it is read: about 62 MiB */

static struct blob_id id_of(uint64_t number)
{
	struct blob_id id;

	/* As good as random, and quick. */
	for (size_t i = 0; i < sizeof(id.bytes); i += sizeof(number)) {
		number = (number ^ number >> 31) * 0x9e3779b97f4a7c15ULL + 0x632be59bd9b4e019ULL;
		memcpy(id.bytes + i, &number, sizeof(number));
	}
	return id;
}

static void make_pack(uint32_t pack, struct pack_blob blobs[IN_PACK])
{
	for (uint32_t i = 0; i < IN_PACK; i++)
		blobs[i] = (struct pack_blob){.id = id_of((uint64_t)pack * IN_PACK + i), .offset = i * 40960, .length = 40960, .plain = 65536,
		                              .is_tree = i % 50 == 0};
}

static struct blob_index *make_index(void)
{
	struct blob_index *index = blob_index_new();
	struct pack_blob blobs[IN_PACK];

	for (uint32_t pack = 0; pack < BLOBS / IN_PACK; pack++) {
		const struct blob_id name = id_of(~(uint64_t)pack);

		make_pack(pack, blobs);
		blob_index_add(index, &name, blobs, IN_PACK);
	}
	assert_int_equal(blob_index_count(index), BLOBS);
	return index;
}

static void test_index_of_a_million_blobs_and_what_prune_knows_of_them(void **state)
{
	const size_t before = memory_begin();
	struct blob_index *index = make_index();
	struct used_blobs *used = used_blobs_new(index), *placed = used_blobs_new(index);

	for (uint32_t i = 0; i < BLOBS; i++) {
		const struct blob_place place = blob_index_place(index, i);

		assert_true(used_blobs_put(used, &place.blob.id, place.blob.is_tree));
		assert_false(used_blobs_put(used, &place.blob.id, place.blob.is_tree));
		assert_true(used_blobs_put(placed, &place.blob.id, place.blob.is_tree));
		assert_false(used_blobs_has(used, &place.blob.id, !place.blob.is_tree));
	}
	assert_int_equal(used_blobs_count(used), BLOBS);
	memory_end(before, (size_t)BLOBS * BLOB_INDEX_BYTES);
	used_blobs_free(used);
	used_blobs_free(placed);
	blob_index_free(index);
}

static void test_reading_index_files_takes_little_more_than_the_index(void **state)
{
	const size_t before = memory_begin();
	struct blob_index *index = blob_index_new();
	struct pack_blob blobs[IN_PACK];

	for (uint32_t pack = 0; pack < FILES * IN_FILE / IN_PACK;) {
		struct index_writer writer = {0};

		for (; writer.blobs < IN_FILE; pack++) {
			const struct blob_id name = id_of(~(uint64_t)pack);

			make_pack(pack, blobs);
			index_writer_add(&writer, &name, blobs, IN_PACK);
		}
		index_writer_end(&writer, NULL, 0);
		assert_int_equal(blob_index_read(index, (char *)writer.json.data, writer.json.len), 0);
		buf_clear(&writer.json);
	}
	assert_int_equal(blob_index_count(index), FILES * IN_FILE);
	memory_end(before, (size_t)FILES * IN_FILE * BLOB_INDEX_BYTES + FILE_BYTES);
	blob_index_free(index);
}

static void test_a_differential_backup_has_a_second_index_of_what_its_full_one_wrote(void **state)
{
	struct blob_index *all = make_index(), *known = NULL;
	struct object_names packs = {0};

	for (uint32_t pack = 0; pack < BLOBS / IN_PACK; pack++) {
		const struct blob_id name = id_of(~(uint64_t)pack);

		array_add(&packs, name);
	}
	object_names_sort(&packs);

	const size_t before = memory_begin();

	assert_int_equal(backup_base_index_of(all, &packs, &known), 0);
	memory_end(before, (size_t)BLOBS * BLOB_INDEX_BYTES);
	assert_int_equal(blob_index_count(known), BLOBS);
	for (uint32_t i = 0; i < BLOBS; i++) {
		const struct blob_id id = id_of(i);

		assert_true(blob_index_has(known, &id, i % IN_PACK % 50 == 0));
	}
	array_clear(&packs);
	blob_index_free(known);
	blob_index_free(all);
}

static void test_claims_of_a_backup_of_a_million_blobs(void **state)
{
	struct blob_index *nothing = blob_index_new();
	struct repository repository = {.index = nothing};
	const size_t before = memory_begin();
	struct repository_writer *writer = repository_writer_new(&repository, nothing);

	for (uint32_t i = 0; i < BLOBS; i++) {
		const struct blob_id id = id_of(i);

		assert_true(repository_writer_claim(writer, &id, i % 2));
		assert_false(repository_writer_claim(writer, &id, i % 2));
		assert_false(repository_writer_has(writer, &id, !(i % 2)));
	}
	memory_end(before, (size_t)BLOBS * CLAIM_BYTES);
	repository_writer_free(writer);
	blob_index_free(nothing);
}

static void test_strangers_are_counted_too(void **state)
{
	struct blob_index *index = blob_index_new();
	struct used_blobs *used = used_blobs_new(index);
	const struct blob_id a = id_of(1), b = id_of(2);

	assert_false(used_blobs_has(used, &a, false));
	assert_true(used_blobs_put(used, &a, false));
	assert_false(used_blobs_put(used, &a, false));
	assert_true(used_blobs_put(used, &a, true));
	assert_false(used_blobs_has(used, &b, false));
	assert_int_equal(used_blobs_count(used), 2);
	used_blobs_free(used);
	blob_index_free(index);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_index_of_a_million_blobs_and_what_prune_knows_of_them),
		cmocka_unit_test(test_reading_index_files_takes_little_more_than_the_index),
		cmocka_unit_test(test_a_differential_backup_has_a_second_index_of_what_its_full_one_wrote),
		cmocka_unit_test(test_claims_of_a_backup_of_a_million_blobs),
		cmocka_unit_test(test_strangers_are_counted_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
