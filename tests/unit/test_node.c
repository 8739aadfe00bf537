#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>
#include <pthread.h>

#include "fs/fuse/session/node.h"
#include "lib/format/key.h"

static struct node head_root(uint32_t view)
{
	return (struct node){.kind = NODE_FILE, .view = view, .ino = ROOT_INO};
}

static void assert_same(struct node found, struct node wanted)
{
	assert_int_equal(found.kind, wanted.kind);
	assert_int_equal(found.view, wanted.view);
	assert_int_equal(found.ino, wanted.ino);
}

static void root_of_a_store_lists_datasets(void **state)
{
	struct head_views *heads = head_views_new();
	const struct node_root root = {.heads = heads};
	const struct node node = node_decode(NODE_MOUNT_ROOT, &root);

	assert_same(node, (struct node){.kind = NODE_DATASETS, .ino = ROOT_INO});
	assert_int_equal(node_encode(node, &root), NODE_MOUNT_ROOT);
	assert_int_equal(node_root_view(&root), 0);
	head_views_free(heads);
}

static void root_of_a_snapshot_is_its_root_directory(void **state)
{
	struct head_views *heads = head_views_new();
	const struct node_root root = {.heads = heads, .snapshot = 77};

	assert_same(node_decode(NODE_MOUNT_ROOT, &root), head_root(77));
	assert_int_equal(node_encode(head_root(77), &root), NODE_MOUNT_ROOT);
	assert_int_not_equal(node_encode(head_root(78), &root), NODE_MOUNT_ROOT);
	head_views_free(heads);
}

static void root_of_a_dataset_is_that_of_its_head(void **state)
{
	struct head_views *heads = head_views_new();
	const struct node_root root = {.heads = heads, .dataset = 5}, store = {.heads = heads};
	uint64_t id;

	head_views_note(heads, 5, 77);
	head_views_note(heads, 6, 78);
	assert_int_equal(node_encode(head_root(77), &root), NODE_MOUNT_ROOT);
	assert_int_not_equal(node_encode(head_root(78), &root), NODE_MOUNT_ROOT);
	id = node_encode(head_root(77), &store);
	head_views_note(heads, 5, 80);
	head_views_note(heads, 5, 79); /* told late */
	assert_int_equal(node_root_view(&root), 80);
	assert_same(node_decode(NODE_MOUNT_ROOT, &root), head_root(80));
	assert_same(node_decode(id, &store), head_root(80));
	for (uint32_t view = 77; view <= 80; view++)
		assert_int_equal(node_encode(head_root(view), &store) == id, view != 78);
	head_views_free(heads);
}

static void what_is_in_a_head_is_in_no_other(void **state)
{
	struct head_views *heads = head_views_new();
	const struct node_root store = {.heads = heads};
	const struct node file = {.kind = NODE_FILE, .view = 77, .ino = 9}, snapshots = {.kind = NODE_SNAPSHOTS, .view = 77, .ino = ROOT_INO};
	uint64_t file_id, snapshots_id, root_id;

	head_views_note(heads, 5, 77);
	file_id = node_encode(file, &store);
	snapshots_id = node_encode(snapshots, &store);
	root_id = node_encode_in_view(head_root(77));
	head_views_note(heads, 5, 78);
	assert_same(node_decode(file_id, &store), file);
	assert_same(node_decode(root_id, &store), head_root(77));
	assert_same(node_decode(snapshots_id, &store), (struct node){.kind = NODE_SNAPSHOTS, .view = 78, .ino = ROOT_INO});
	head_views_free(heads);
}

static void what_is_not_known_is_in_no_view(void **state)
{
	struct head_views *heads = head_views_new();
	const struct node_root store = {.heads = heads}, root = {.heads = heads, .dataset = 5};
	const uint64_t ids[] = {0, 2, 6, 7, 1ULL << 16, UINT32_MAX, 1ULL << 32, (1ULL << 32) + 7, INO_MAX};

	head_views_note(heads, 6, 77);
	for (unsigned i = 0; i < sizeof(ids) / sizeof(*ids); i++)
		assert_int_equal(node_decode(ids[i], &store).view, ids[i] == 7 ? 77 : 0);
	assert_int_equal(node_decode(NODE_MOUNT_ROOT, &root).view, 0);
	assert_int_equal(node_decode(NODE_MOUNT_ROOT, &root).kind, NODE_FILE);
	assert_int_equal(head_views_dataset(heads, 78), 0);
	head_views_free(heads);
}

static void heads_at_the_limits(void **state)
{
	const uint32_t numbers[] = {1, (1U << 16) - 1, 1U << 16, UINT32_MAX};
	struct head_views *heads = head_views_new();
	const struct node_root store = {.heads = heads};

	for (uint32_t i = 0; i < 4; i++)
		head_views_note(heads, numbers[i], VIEW_MAX - i);
	for (uint32_t i = 0; i < 4; i++) {
		const uint64_t id = node_encode(head_root(VIEW_MAX - i), &store);

		assert_int_equal(id, numbers[i] + 1ULL);
		assert_same(node_decode(id, &store), head_root(VIEW_MAX - i));
		assert_int_equal(head_views_dataset(heads, VIEW_MAX - i), numbers[i]);
	}
	head_views_free(heads);
}

enum { NOTES = 20000 };

static void *note_many(void *arg)
{
	struct head_views *heads = arg;

	for (uint32_t i = 1; i <= NOTES; i++)
		head_views_note(heads, i % 64 * 3000 + 1, i * 8);
	return NULL;
}

static void the_greatest_counts_whoever_notes_it(void **state)
{
	struct head_views *heads = head_views_new();
	pthread_t threads[3];

	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, note_many, heads), 0);
	for (unsigned i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	for (uint32_t i = NOTES - 63; i <= NOTES; i++) {
		assert_int_equal(head_views_get(heads, i % 64 * 3000 + 1), i * 8);
		assert_int_equal(head_views_dataset(heads, i * 8), i % 64 * 3000 + 1);
	}
	head_views_free(heads);
}

static void round_trip_at_the_limits(void **state)
{
	struct head_views *heads = head_views_new();
	const struct node_root root = {.heads = heads};
	const uint64_t inos[] = {ROOT_INO, 2, INO_MAX};
	const uint32_t views[] = {1, 2, VIEW_MAX};

	for (unsigned v = 0; v < 3; v++) {
		for (unsigned i = 0; i < 3; i++) {
			for (unsigned kind = NODE_SNAPSHOTS; kind <= NODE_FILE; kind++) {
				const struct node node = {.kind = kind, .view = views[v], .ino = inos[i]};

				assert_same(node_decode(node_encode(node, &root), &root), node);
				assert_same(node_decode(node_encode_in_view(node), &root), node);
			}
		}
	}
	head_views_free(heads);
}

/* They are told to people and programs, and stay what they are: 5 is 101, and its bits 31 and 29 in reverse order. */
static void numbers_stay_what_they_are(void **state)
{
	assert_int_equal(node_number(5, 9, false), (5ULL << 40) | 0xa0000009);
	assert_int_equal(node_number(5, 9, true), (5ULL << 40) | (1ULL << 39) | 0xa0000009);
	assert_int_equal(node_number(VIEW_MAX, INO_MAX, false), ((uint64_t)VIEW_MAX << 40) | (INO_MAX ^ 0xffffff00));
}

static int compare(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void numbers_differ_in_their_low_bits(void **state)
{
	enum { VIEWS = 64, INOS = 4096 };
	uint64_t *numbers = test_malloc(sizeof(*numbers) * VIEWS * INOS);
	size_t count = 0;

	for (uint32_t view = 1; view <= VIEWS; view++) {
		for (uint64_t ino = 1; ino <= INOS; ino++)
			numbers[count++] = (uint32_t)node_number(view, ino, false);
	}
	qsort(numbers, count, sizeof(*numbers), compare);
	for (size_t i = 1; i < count; i++)
		assert_int_not_equal(numbers[i - 1], numbers[i]);
	test_free(numbers);
}

static void every_node_has_a_number_of_its_own(void **state)
{
	const uint64_t inos[] = {ROOT_INO, 2, 3, 255, 256, 1ULL << 31, (1ULL << 32) + 2, INO_MAX};
	const uint32_t views[] = {1, 2, 3, 128, 1U << 23, VIEW_MAX};
	uint64_t numbers[2 * 8 * 6];
	size_t count = 0;

	for (unsigned v = 0; v < 6; v++) {
		for (unsigned i = 0; i < 8; i++) {
			numbers[count++] = node_number(views[v], inos[i], false);
			numbers[count++] = node_number(views[v], inos[i], true);
		}
	}
	qsort(numbers, count, sizeof(*numbers), compare);
	for (size_t i = 1; i < count; i++)
		assert_int_not_equal(numbers[i - 1], numbers[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(root_of_a_store_lists_datasets),
		cmocka_unit_test(root_of_a_snapshot_is_its_root_directory),
		cmocka_unit_test(root_of_a_dataset_is_that_of_its_head),
		cmocka_unit_test(what_is_in_a_head_is_in_no_other),
		cmocka_unit_test(what_is_not_known_is_in_no_view),
		cmocka_unit_test(heads_at_the_limits),
		cmocka_unit_test(the_greatest_counts_whoever_notes_it),
		cmocka_unit_test(round_trip_at_the_limits),
		cmocka_unit_test(numbers_stay_what_they_are),
		cmocka_unit_test(numbers_differ_in_their_low_bits),
		cmocka_unit_test(every_node_has_a_number_of_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
