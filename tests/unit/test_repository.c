/* A repository: how it begins, and what a writer refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/repository/snapshot_file.h"
#include "tests/unit/repository_place.h"

/* --- its beginning --- */

static void test_nothing_is_made_beside_the_keys_of_another(void **state)
{
	struct repository_place place;
	struct repository *other = NULL;
	struct error err = {0};
	char path[600];

	repository_place_make(&place);
	assert_int_equal(place_count(&place, "keys", path), 1);
	snprintf(path, sizeof(path), "%s/config", place.path);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(repository_init(place_objects(&place), "another", &other, &err), -EEXIST);
	assert_non_null(strstr(err.text, "config is missing"));
	assert_int_equal(place_count(&place, "keys", path), 1);
	assert_int_equal(access(path, R_OK), 0);
	repository_place_clear(&place);
}

/* --- formats to come --- */

static void test_newer_format_is_refused(void **state)
{
	struct repository_place place;
	struct repository *other = NULL;
	AUTO_BUF config = BUF_INIT, sealed = BUF_INIT;
	struct error err = {0};
	char path[600];
	int fd;

	repository_place_make(&place);
	buf_addf(&config, "{\"version\":3,\"id\":\"%s\",\"chunker_polynomial\":\"3da3358b4dc173\"}", place.repository->id);
	repository_seal(place.repository, &config, &sealed);
	snprintf(path, sizeof(path), "%s/config", place.path);
	assert_int_equal(unlink(path), 0);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, sealed.data, sealed.len), sealed.len);
	close(fd);
	assert_int_equal(repository_open(place_objects(&place), "password", &other, &err), -EPROTONOSUPPORT);
	assert_non_null(strstr(err.text, "format version 3"));
	assert_non_null(strstr(err.hint, "newer corpusfs"));
	repository_place_clear(&place);
}

/* --- writing --- */

static void test_blob_that_could_not_be_read_back_is_refused(void **state)
{
	struct repository_place place;
	struct repository_writer *writer;
	struct repository_hand *hand;
	struct error err = {0};
	const struct new_blob blob = {.is_tree = true, .plain = "", .len = (size_t)BLOB_BYTES_MAX + 1};

	repository_place_make(&place);
	writer = repository_writer_new(place.repository, place.repository->index);
	hand = repository_hand_new(writer);
	assert_int_equal(repository_hand_add(hand, &blob, &err), -EFBIG);
	repository_hand_drop(hand);
	repository_writer_free(writer);
	repository_place_clear(&place);
}

static void test_blob_is_there_for_others_when_it_was_claimed(void **state)
{
	struct repository_place place;
	struct repository_writer *writer;
	const struct blob_id id = blob_id_of("x", 1);

	repository_place_make(&place);
	writer = repository_writer_new(place.repository, place.repository->index);
	assert_false(repository_writer_has(writer, &id, false));
	assert_false(repository_writer_has(writer, &id, false));
	assert_true(repository_writer_claim(writer, &id, false));
	assert_false(repository_writer_claim(writer, &id, false));
	assert_true(repository_writer_has(writer, &id, false));
	assert_false(repository_writer_has(writer, &id, true));
	repository_writer_free(writer);
	repository_place_clear(&place);
}

/* A place that only counts the index files that are put. */
struct counting {
	struct objects objects;
	size_t indexes;
};

static int counting_put(struct objects *objects, enum object_kind kind, const char *name, const void *data, size_t len)
{
	((struct counting *)objects)->indexes += kind == OBJECT_INDEX;
	return 0;
}

static const struct objects_place counting_place = {.put = counting_put};

static void put_pack_of(struct repository_writer *writer, size_t blobs)
{
	const struct new_blob blob = {.id = blob_id_of("x", 1), .plain = "x", .len = 1};
	struct repository_hand *hand = repository_hand_new(writer);
	struct error err = {0};

	for (size_t i = 0; i < blobs; i++)
		assert_int_equal(repository_hand_add(hand, &blob, &err), 0);
	assert_int_equal(repository_hand_end(hand, &err), 0);
}

/* As a backup of many terabytes. */
static void test_pack_gets_no_index_file_of_its_own_after_many_index_files(void **state)
{
	struct counting counting = {.objects = {&counting_place}};
	struct repository_place place;
	struct repository_writer *writer;
	struct writer_counts counts;
	struct objects *inner;
	struct error err = {0};

	repository_place_make(&place);
	inner = place.repository->objects;
	place.repository->objects = &counting.objects;
	writer = repository_writer_new(place.repository, place.repository->index);
	for (size_t i = 1; i <= 40; i++) {
		put_pack_of(writer, 50000);
		assert_int_equal(counting.indexes, i);
	}
	put_pack_of(writer, 1);
	assert_int_equal(counting.indexes, 40);
	assert_int_equal(repository_writer_end(writer, &counts, &err), 0);
	assert_int_equal(counting.indexes, 41);
	repository_writer_free(writer);
	place.repository->objects = inner;
	repository_place_clear(&place);
}

/* --- snapshot files --- */

/* restic says how many bytes it has seen, which may be more than there are. */
static void test_snapshot_file_may_have_numbers_of_any_size(void **state)
{
	struct repository_place place;
	struct snapshot_file snapshot;
	char name[BLOB_ID_TEXT], tree[BLOB_ID_TEXT];
	const struct blob_id id = blob_id_of("tree", 4);
	struct error err = {0};
	AUTO_BUF json = BUF_INIT;

	repository_place_make(&place);
	blob_id_text(&id, tree);
	buf_addf(&json, "{\"time\":\"2023-01-02T03:04:05Z\",\"tree\":\"%s\",\"uid\":4294967295,\"gid\":7,\"summary\":{"
	                "\"total_bytes_processed\":18446744073709551615}}", tree);
	assert_int_equal(repository_put_file(place.repository, OBJECT_SNAPSHOT, &json, name, &err), 0);
	assert_int_equal(snapshot_file_read(place.repository, name, &snapshot, &err), 0);
	assert_true(snapshot.uid == UINT32_MAX && snapshot.gid == 7 && blob_id_equal(&snapshot.tree, &id));
	snapshot_file_clear(&snapshot);
	repository_place_clear(&place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_is_made_beside_the_keys_of_another),
		cmocka_unit_test(test_newer_format_is_refused),
		cmocka_unit_test(test_blob_that_could_not_be_read_back_is_refused),
		cmocka_unit_test(test_blob_is_there_for_others_when_it_was_claimed),
		cmocka_unit_test(test_snapshot_file_may_have_numbers_of_any_size),
		cmocka_unit_test(test_pack_gets_no_index_file_of_its_own_after_many_index_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
