/* The walk over what snapshots name takes little memory, however deep their trees are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "lib/backup/used_blobs.h"
#include "memory.h"
#include "repository_place.h"

#define DEPTH 300
#define WIDTH 20
#define NAME_LEN 200U

static void add_directory(struct buf *tree, char first, unsigned number, const struct blob_id *subtree)
{
	char name[NAME_LEN + 1];
	struct node node = {.name = name, .mode = S_IFDIR | 0755, .links = 1, .has_subtree = true, .subtree = *subtree};

	memset(name, first, NAME_LEN);
	name[NAME_LEN] = 0;
	(void)snprintf(name + 1, 5, "%04u", number % 10000);
	name[5] = first;
	tree_add(tree, &node);
}

/* In each directory lie others, whose trees are nowhere, and as the last one the next directory. */
static void make_comb(struct repository *repository, struct blob_id *ret_top)
{
	struct repository_writer *writer = repository_writer_new(repository, repository->index);
	struct repository_hand *hand = repository_hand_new(writer);
	struct writer_counts counts;
	struct error err = {0};
	AUTO_BUF tree = BUF_INIT;

	for (unsigned depth = DEPTH; depth-- > 0;) {
		struct new_blob blob = {.is_tree = true, .level = 3};

		buf_reset(&tree);
		tree_begin(&tree);
		for (unsigned i = 0; i < WIDTH; i++) {
			const unsigned number = depth * WIDTH + i;
			const struct blob_id nowhere = blob_id_of(&number, sizeof(number));

			add_directory(&tree, 's', i, &nowhere);
		}
		if (depth < DEPTH - 1)
			add_directory(&tree, 'z', 0, ret_top);
		tree_end(&tree);
		blob.id = *ret_top = blob_id_of(tree.data, tree.len);
		blob.plain = tree.data;
		blob.len = tree.len;
		assert_int_equal(repository_hand_add(hand, &blob, &err), 0);
	}
	assert_int_equal(repository_hand_end(hand, &err), 0);
	assert_int_equal(repository_writer_end(writer, &counts, &err), 0);
	repository_writer_free(writer);
	assert_int_equal(repository_load_index(repository, false, &err), 0);
}

struct seen {
	size_t problems, depths; /* depths: of all of them together */
};

static int go_on(void *arg)
{
	(void)arg;
	return 0;
}

/* "/zzz/zzz/sss" */
static int note(void *arg, const struct used_problem *problem)
{
	struct seen *seen = arg;
	const size_t len = strlen(problem->path);

	assert_true(len > 0 && len % (NAME_LEN + 1) == 0);
	for (size_t at = 0; at < len; at += NAME_LEN + 1)
		assert_memory_equal(problem->path + at, at + NAME_LEN + 1 < len ? "/z" : "/s", 2);
	seen->problems++;
	seen->depths += len / (NAME_LEN + 1);
	return 0;
}

/* The paths of all that waits at the deepest place are 180 MB. */
static void test_what_waits_takes_its_name_of_memory(void **state)
{
	struct repository_place place;
	struct snapshot_file snapshot = {.name = ""};
	struct seen seen = {0};
	struct used_walk walk = {.problem = note, .tree = go_on, .arg = &seen};
	struct used_blobs *used;
	size_t before;

	repository_place_make(&place);
	make_comb(place.repository, &snapshot.tree);
	walk.reader = repository_reader_new(place.repository);
	used = used_blobs_new(place.repository->index);
	before = memory_begin();
	assert_int_equal(used_blobs_add(used, &walk, &snapshot), 0);
	memory_end(before, 16U << 20);
	assert_int_equal(seen.problems, DEPTH * WIDTH);
	assert_int_equal(seen.depths, (size_t)DEPTH * (DEPTH + 1) / 2 * WIDTH);
	used_blobs_free(used);
	repository_reader_free(walk.reader);
	repository_place_clear(&place);
}

static int end_it(void *arg, const struct used_problem *problem)
{
	size_t *count = arg;

	assert_string_equal(problem->path, "/file");
	assert_false(problem->is_tree);
	++*count;
	return -EBADMSG;
}

/* Also with the error that a damaged directory is told by. */
static void test_what_ends_the_walk_is_told_once(void **state)
{
	const struct blob_id nowhere = blob_id_of("nowhere", 7);
	char name[] = "file";
	struct node node = {.name = name, .mode = S_IFREG | 0644, .links = 1, .size = 7};
	struct new_blob blob = {.is_tree = true};
	struct repository_place place;
	struct repository_writer *writer;
	struct repository_hand *hand;
	struct snapshot_file snapshot = {.name = ""};
	struct writer_counts counts;
	struct error err = {0};
	AUTO_BUF tree = BUF_INIT;
	struct used_blobs *used;
	size_t count = 0;
	struct used_walk walk = {.problem = end_it, .tree = go_on, .arg = &count};

	repository_place_make(&place);
	writer = repository_writer_new(place.repository, place.repository->index);
	hand = repository_hand_new(writer);
	array_add(&node.content, nowhere);
	tree_begin(&tree);
	tree_add(&tree, &node);
	tree_end(&tree);
	blob.id = snapshot.tree = blob_id_of(tree.data, tree.len);
	blob.plain = tree.data;
	blob.len = tree.len;
	assert_int_equal(repository_hand_add(hand, &blob, &err), 0);
	assert_int_equal(repository_hand_end(hand, &err), 0);
	assert_int_equal(repository_writer_end(writer, &counts, &err), 0);
	assert_int_equal(repository_load_index(place.repository, false, &err), 0);
	walk.reader = repository_reader_new(place.repository);
	used = used_blobs_new(place.repository->index);
	assert_int_equal(used_blobs_add(used, &walk, &snapshot), -EBADMSG);
	assert_int_equal(count, 1);
	used_blobs_free(used);
	repository_reader_free(walk.reader);
	repository_writer_free(writer);
	array_clear(&node.content);
	repository_place_clear(&place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_ends_the_walk_is_told_once),
		cmocka_unit_test(test_what_waits_takes_its_name_of_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
