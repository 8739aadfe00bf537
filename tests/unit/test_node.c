#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>

#include "fs/fuse/session/node.h"
#include "lib/format/key.h"

static void root_of_a_store_lists_datasets(void **state)
{
	const struct node node = node_decode(NODE_MOUNT_ROOT, 0);

	assert_int_equal(node.kind, NODE_DATASETS);
	assert_int_equal(node.view, 0);
	assert_int_equal(node_encode(node, 0), NODE_MOUNT_ROOT);
}

static void root_of_a_view_is_its_root_directory(void **state)
{
	const struct node node = node_decode(NODE_MOUNT_ROOT, 77);

	assert_int_equal(node.kind, NODE_FILE);
	assert_int_equal(node.view, 77);
	assert_int_equal(node.ino, ROOT_INO);
	assert_int_equal(node_encode(node, 77), NODE_MOUNT_ROOT);
	assert_int_not_equal(node_encode(node, 78), NODE_MOUNT_ROOT);
}

static void round_trip_at_the_limits(void **state)
{
	const uint64_t inos[] = {ROOT_INO, 2, INO_MAX};
	const uint32_t views[] = {1, 2, VIEW_MAX};

	for (unsigned v = 0; v < 3; v++) {
		for (unsigned i = 0; i < 3; i++) {
			for (unsigned kind = NODE_SNAPSHOTS; kind <= NODE_FILE; kind++) {
				const struct node node = {.kind = kind, .view = views[v], .ino = inos[i]};
				const struct node back = node_decode(node_encode(node, 0), 0);

				assert_int_equal(back.kind, node.kind);
				assert_int_equal(back.view, node.view);
				assert_int_equal(back.ino, node.ino);
			}
		}
	}
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
		cmocka_unit_test(root_of_a_view_is_its_root_directory),
		cmocka_unit_test(round_trip_at_the_limits),
		cmocka_unit_test(numbers_stay_what_they_are),
		cmocka_unit_test(numbers_differ_in_their_low_bits),
		cmocka_unit_test(every_node_has_a_number_of_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
