/* Restoring into a directory by several threads: small files together, a big one, and what is damaged among them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/backup/restore.h"
#include "tests/unit/repository_place.h"

#define FILES 300
/* Bytes of a blob. File i has i % 3 of them, the first one many; a second one is shared with another file. */
#define PART 5000U
#define PARTS_OF_BIG 2000

struct fixture {
	struct repository_place place;
	char out[100];
	struct blob_id bad; /* the blob to be damaged */
};

static void fill(uint8_t *part, uint32_t number)
{
	uint32_t state = number * 2654435761U + 1;

	for (size_t i = 0; i < PART; i++) {
		state = state * 1664525U + 1013904223U;
		part[i] = number % 2 ? (uint8_t)(state >> 24) : (uint8_t)(number >> i % 4 * 8);
	}
}

static uint32_t parts_of(uint32_t file)
{
	return file == 0 ? PARTS_OF_BIG : file % 3;
}

static uint32_t number_of(uint32_t file, uint32_t part)
{
	return file == 0 ? 100000 + part : part == 1 ? 7 + file / 6 : file;
}

static void add_part(struct repository_writer *writer, struct repository_hand *hand, struct node *node, uint32_t number)
{
	uint8_t data[PART];
	struct error err = {0};

	fill(data, number);
	const struct new_blob blob = {.id = blob_id_of(data, PART), .plain = data, .len = PART, .level = 1};
	if (repository_writer_claim(writer, &blob.id, false))
		assert_int_equal(repository_hand_add(hand, &blob, &err), 0);
	array_add(&node->content, blob.id);
	node->size += PART;
}

static void write_backup(struct fixture *fixture)
{
	struct repository *repository = fixture->place.repository;
	struct blob_index *nothing = blob_index_new();
	struct repository_writer *writer = repository_writer_new(repository, nothing);
	struct repository_hand *hand = repository_hand_new(writer);
	struct snapshot_file snapshot = {.time = {1700000000, 0}, .host = xstrdup("host"), .user = xstrdup("user")};
	struct writer_counts counts;
	struct error err = {0};
	char name[BLOB_ID_TEXT];
	AUTO_BUF tree = BUF_INIT;

	tree_begin(&tree);
	for (uint32_t i = 0; i < FILES; i++) {
		struct node node = {.name = xasprintf("%03u", i), .mode = S_IFREG | 0644, .links = 1, .uid = geteuid(), .gid = getegid()};

		for (uint32_t part = 0; part < parts_of(i); part++)
			add_part(writer, hand, &node, number_of(i, part));
		if (i == 100)
			fixture->bad = node.content.items[0];
		tree_add(&tree, &node);
		node_clear(&node);
	}
	tree_end(&tree);
	const struct new_blob blob = {.id = blob_id_of(tree.data, tree.len), .is_tree = true, .plain = tree.data, .len = tree.len};
	assert_int_equal(repository_hand_add(hand, &blob, &err), 0);
	snapshot.tree = blob.id;
	array_add(&snapshot.paths, xstrdup("/d"));
	assert_int_equal(repository_hand_end(hand, &err), 0);
	assert_int_equal(repository_writer_end(writer, &counts, &err), 0);
	assert_int_equal(snapshot_file_write(repository, &snapshot, name, &err), 0);
	repository_writer_free(writer);
	blob_index_free(nothing);
	snapshot_file_clear(&snapshot);
}

static int set_up(void **state)
{
	struct fixture *fixture = xcalloc(1, sizeof(*fixture));

	repository_place_make(&fixture->place);
	snprintf(fixture->out, sizeof(fixture->out), "%s/out", fixture->place.path);
	assert_int_equal(mkdir(fixture->out, 0700), 0);
	write_backup(fixture);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	repository_place_clear(&fixture->place);
	free(fixture);
	return 0;
}

static int restore(struct fixture *fixture, bool keep_going, struct restore_result *ret_result, struct error *err)
{
	const struct restore_options options = {.transfer = {.uid = geteuid(), .gid = getegid()}, .repository = fixture->place.repository, .place = "it",
	                                        .path = "", .keep_going = keep_going, .target_fd = open(fixture->out, O_RDONLY | O_DIRECTORY),
	                                        .target = fixture->out};
	int r = restore_to_directory(NULL, &options, ret_result, err);

	close(options.target_fd);
	return r;
}

/* True: it is there, and it is right. */
static bool check_file(const struct fixture *fixture, uint32_t file)
{
	uint8_t wanted[PART], found[PART];
	char path[120];
	int fd;

	snprintf(path, sizeof(path), "%s/%03u", fixture->out, file);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return false;
	for (uint32_t part = 0; part < parts_of(file); part++) {
		fill(wanted, number_of(file, part));
		assert_int_equal(read(fd, found, PART), PART);
		assert_memory_equal(found, wanted, PART);
	}
	assert_int_equal(read(fd, found, 1), 0);
	close(fd);
	return true;
}

static void test_all_files_come_back_by_several_threads(void **state)
{
	struct fixture *fixture = *state;
	struct restore_result result;
	struct error err = {0};

	assert_int_equal(restore(fixture, false, &result, &err), 0);
	assert_int_equal(result.transfer.files, FILES);
	assert_int_equal(result.fetched, result.transfer.bytes);
	for (uint32_t i = 0; i < FILES; i++)
		assert_true(check_file(fixture, i));
}

static void damage(struct fixture *fixture)
{
	struct blob_place place;
	char name[BLOB_ID_TEXT], path[600];
	struct error err = {0};
	int fd;

	assert_int_equal(repository_load_index(fixture->place.repository, false, &err), 0);
	assert_true(blob_index_find(fixture->place.repository->index, &fixture->bad, false, 0, &place));
	blob_id_text(&place.pack, name);
	snprintf(path, sizeof(path), "%s/data/%.2s/%s", fixture->place.path, name, name);
	assert_int_equal(chmod(path, 0600), 0);
	fd = open(path, O_WRONLY);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, "damaged", 7, place.blob.offset + 17), 7);
	close(fd);
}

static void test_damaged_blob_leaves_out_the_files_that_have_it_and_no_other(void **state)
{
	struct fixture *fixture = *state;
	struct restore_result result;
	struct error err = {0};

	damage(fixture);
	assert_int_equal(restore(fixture, true, &result, &err), 0);
	assert_int_equal(result.transfer.problems, 1);
	for (uint32_t i = 0; i < FILES; i++)
		assert_int_equal(check_file(fixture, i), i != 100);
}

static void test_damaged_blob_ends_a_restore_that_is_not_to_go_on(void **state)
{
	struct fixture *fixture = *state;
	struct restore_result result;
	struct error err = {0};

	damage(fixture);
	assert_int_equal(restore(fixture, false, &result, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "100"));
	assert_false(check_file(fixture, 100));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_all_files_come_back_by_several_threads, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_damaged_blob_leaves_out_the_files_that_have_it_and_no_other, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_damaged_blob_ends_a_restore_that_is_not_to_go_on, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
