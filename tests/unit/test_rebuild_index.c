/* The index made anew: of many packs whose headers are damaged, of one that has more blobs than an index file, and which files take whose place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/backup/rebuild_index.h"
#include "tests/unit/repository_place.h"

#define PACKS 40
#define OF_PACK 5
#define MANY 50001 /* one more than an index file names */

static struct blob_id id_of(uint64_t number)
{
	return blob_id_of(&number, sizeof(number));
}

/* Packs of `count` blobs each, numbered from `first` on; the blob of a number is its bytes. */
static void write_pack(struct repository_writer *writer, uint64_t first, size_t count)
{
	struct repository_hand *hand = repository_hand_new(writer);
	struct error err = {0};

	for (uint64_t number = first; number < first + count; number++) {
		const struct new_blob blob = {.id = id_of(number), .plain = &number, .len = sizeof(number)};

		assert_int_equal(repository_hand_add(hand, &blob, &err), 0);
	}
	assert_int_equal(repository_hand_end(hand, &err), 0);
}

static void write_packs(struct repository *repository, size_t packs, size_t count)
{
	struct blob_index *nothing = blob_index_new();
	struct repository_writer *writer = repository_writer_new(repository, nothing);
	struct writer_counts counts;
	struct error err = {0};

	for (size_t i = 0; i < packs; i++)
		write_pack(writer, i * count, count);
	assert_int_equal(repository_writer_end(writer, &counts, &err), 0);
	repository_writer_free(writer);
	blob_index_free(nothing);
}

static void damage(const struct repository_place *place, const char *name)
{
	char path[600];
	int fd;

	snprintf(path, sizeof(path), "%s/data/%.2s/%s", place->path, name, name);
	assert_int_equal(chmod(path, 0600), 0);
	fd = open(path, O_WRONLY);
	assert_true(fd >= 0 && lseek(fd, -20, SEEK_END) > 0);
	assert_int_equal(write(fd, "damage", 6), 6);
	close(fd);
}

/* Every other one. */
static size_t damage_headers(struct repository_place *place)
{
	struct object_names packs = {0};
	struct error err = {0};
	size_t count = 0;

	assert_int_equal(repository_list(place->repository, OBJECT_PACK, &packs, &err), 0);
	for (size_t i = 0; i < packs.count; i += 2, count++) {
		char name[BLOB_ID_TEXT];

		blob_id_text(&packs.items[i], name);
		damage(place, name);
	}
	array_clear(&packs);
	return count;
}

static int rebuild(struct repository *repository, struct rebuild_counts *ret_counts)
{
	const struct rebuild_options options = {.transfer = {.uid = geteuid(), .gid = getegid()}, .repository = repository};
	struct error err = {0};

	return rebuild_index_run(&options, ret_counts, &err);
}

static void check_all_blobs(struct repository *repository, size_t count)
{
	struct repository_reader *reader = repository_reader_new(repository);
	struct error err = {0};
	AUTO_BUF plain = BUF_INIT;

	assert_int_equal(repository_load_index(repository, false, &err), 0);
	assert_int_equal(blob_index_count(repository->index), count);
	for (uint64_t number = 0; number < count; number += 1 + count / 1000) {
		const struct blob_id id = id_of(number);

		assert_int_equal(repository_read_blob(reader, &id, false, &plain), 0);
		assert_int_equal(plain.len, sizeof(number));
		assert_memory_equal(plain.data, &number, sizeof(number));
	}
	repository_reader_free(reader);
}

static void test_damaged_packs_keep_each_its_own_blobs(void **state)
{
	struct repository_place place;
	struct rebuild_counts counts;
	size_t damaged;

	repository_place_make(&place);
	write_packs(place.repository, PACKS, OF_PACK);
	damaged = damage_headers(&place);
	assert_int_equal(rebuild(place.repository, &counts), 0);
	assert_int_equal(counts.problems, damaged);
	assert_int_equal(counts.packs, PACKS);
	assert_int_equal(counts.blobs, PACKS * OF_PACK);
	check_all_blobs(place.repository, PACKS * OF_PACK);
	repository_place_clear(&place);
}

/* How many index files name others whose place they take. */
static size_t count_superseding(struct repository *repository, size_t *ret_files)
{
	struct object_names names = {0};
	struct error err = {0};
	size_t count = 0;

	assert_int_equal(repository_list(repository, OBJECT_INDEX, &names, &err), 0);
	for (size_t i = 0; i < names.count; i++) {
		AUTO_BUF json = BUF_INIT;
		char name[BLOB_ID_TEXT];

		blob_id_text(&names.items[i], name);
		assert_int_equal(repository_get_file(repository, OBJECT_INDEX, name, &json, &err), 0);
		count += memmem(json.data, json.len, "supersedes", strlen("supersedes")) != NULL;
	}
	*ret_files = names.count;
	array_clear(&names);
	return count;
}

static void test_only_the_last_of_several_index_files_takes_the_place_of_the_old_ones(void **state)
{
	struct repository_place place;
	struct rebuild_counts counts;
	size_t files;

	repository_place_make(&place);
	write_packs(place.repository, 2, MANY);
	assert_int_equal(rebuild(place.repository, &counts), 0);
	assert_int_equal(counts.problems, 0);
	assert_int_equal(count_superseding(place.repository, &files), 1);
	assert_true(files > 1);
	check_all_blobs(place.repository, 2 * MANY);
	repository_place_clear(&place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_damaged_packs_keep_each_its_own_blobs),
		cmocka_unit_test(test_only_the_last_of_several_index_files_takes_the_place_of_the_old_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
