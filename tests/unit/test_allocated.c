#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>

#include "tests/unit/pieces.h"

#define LONGEST 40000
#define STEPS 2000

static uint64_t next(uint64_t *seed, uint64_t below)
{
	*seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (*seed >> 33) % below;
}

/* Sizes around that of inline data, and longer ones; ranges that overlap or touch. */
static void change(struct inode *inode, uint64_t *seed)
{
	uint64_t scale = next(seed, 2) ? 3000 : LONGEST, offset = next(seed, scale), len = 1 + next(seed, scale / 4);
	uint64_t kind = next(seed, 10);
	uint8_t data[LONGEST / 4];

	fill_noise(data, len, *seed);
	if (kind == 0)
		set_size(inode, offset);
	else if (kind == 1)
		assert_int_equal(inode_allocate(inode, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, len), 0);
	else if (kind == 2)
		assert_int_equal(inode_allocate(inode, FALLOC_FL_KEEP_SIZE, offset, len), 0);
	else
		assert_int_equal(inode_write(inode, offset, data, len, 0), 0);
}

static void what_is_allocated_is_known_before_it_is_committed(void **state)
{
	uint64_t seed = 5;

	for (unsigned file = 0; file < 20; file++) {
		AUTO_FREE char *name = xasprintf("f%u", file);
		struct inode *inode = new_file(*state, name);

		for (unsigned i = 0; i < STEPS / 20; i++) {
			uint64_t before;

			for (uint64_t changes = 1 + next(&seed, 5); changes > 0; changes--)
				change(inode, &seed);
			before = allocated_of(inode);
			assert_int_equal(inode_commit(inode), 0);
			assert_int_equal(allocated_of(inode), before);
		}
		inode_close(inode);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TREE_TEST(what_is_allocated_is_known_before_it_is_committed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
