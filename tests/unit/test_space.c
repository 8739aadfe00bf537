#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <sys/statvfs.h>

#include "lib/tree/content/pending.h"
#include "lib/tree/content/space.h"
#include "tests/unit/tree_store.h"

#define RESERVE (64 * MIB)

static uint64_t available; /* on the disk of these tests */

/* In place of libc's. */
int statvfs(const char *path, struct statvfs *ret_stat)
{
	*ret_stat = (struct statvfs){.f_bsize = 4096, .f_frsize = 4096, .f_blocks = 1024 * MIB / 4096, .f_bavail = available / 4096};
	return 0;
}

static struct space *space_of(uint64_t beyond_reserve)
{
	struct space *space;

	available = RESERVE + beyond_reserve;
	assert_int_equal(space_new("/", RESERVE, NULL, &space), 0);
	return space;
}

static void test_room_that_was_just_made_is_found(void **state)
{
	struct space *space = space_of(0);

	assert_int_equal(space_check(space, 4096, 0), -ENOSPC);
	available += MIB;
	assert_int_equal(space_check(space, 4096, 0), 0);
	space_free(space);
}

static void test_room_for_what_is_buffered_is_found_too(void **state)
{
	struct space *space = space_of(MIB);

	assert_int_equal(space_check(space, 4096, 8 * MIB), -ENOSPC);
	available += 8 * MIB;
	assert_int_equal(space_check(space, 4096, 8 * MIB), 0);
	space_free(space);
}

static void test_what_was_given_is_not_given_again(void **state)
{
	struct space *space = space_of(MIB);

	assert_int_equal(space_check(space, MIB - 4096, 0), 0);
	available = RESERVE; /* it was written */
	assert_int_equal(space_check(space, 2 * 4096, 0), -ENOSPC);
	space_free(space);
}

/* While it is being committed it is counted in memory and on the disk. */
static void test_what_is_buffered_is_committed_before_anything_is_refused(void **state)
{
	AUTO_FREE uint8_t *content = xcalloc(41, MIB);
	struct tree_store store = {.budget = 256 * MIB}; /* of which 24 MiB are not so much that they are committed at once */
	struct inode *inode;

	available = 1024 * MIB;
	tree_store_make(&store);
	inode = new_file(&store, "file");
	available = 40 * MIB;
	assert_int_equal(inode_write(inode, 0, content, 24 * MIB, 0), 0);
	assert_int_equal(pending_check_space(store.tree, 24 * MIB), -ENOSPC);
	assert_int_equal(inode_write(inode, 24 * MIB, content, 24 * MIB, 0), 0);
	assert_int_equal(inode_write(inode, 48 * MIB, content, 41 * MIB, 0), -ENOSPC);
	inode_close(inode);
	tree_store_close(&store);
	tree_store_remove(&store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_buffered_is_committed_before_anything_is_refused),
		cmocka_unit_test(test_room_that_was_just_made_is_found),
		cmocka_unit_test(test_room_for_what_is_buffered_is_found_too),
		cmocka_unit_test(test_what_was_given_is_not_given_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
