#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
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

static void the_number_does_not_depend_on_the_mount(void **state)
{
	assert_int_equal(node_number(5, 9, false), (5ULL << 40) | 9);
	assert_int_equal(node_number(5, 9, true), (5ULL << 40) | (1ULL << 39) | 9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(root_of_a_store_lists_datasets),
		cmocka_unit_test(root_of_a_view_is_its_root_directory),
		cmocka_unit_test(round_trip_at_the_limits),
		cmocka_unit_test(the_number_does_not_depend_on_the_mount),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
