#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "fs/daemon/background/memory.h"
#include "lib/base/buf.h"

#define MIB (1ULL << 20)
#define BLOCK 1000
#define BLOCKS (128 * MIB / BLOCK)
#define KEEP_EVERY 100

#ifdef __SANITIZE_ADDRESS__
#define IS_MALLOC_S_OWN false
#else
#define IS_MALLOC_S_OWN true
#endif

static void what_lies_idle_between_the_living_is_given_back(void **state)
{
	if (!IS_MALLOC_S_OWN)
		skip();
	AUTO_FREE char **blocks = xcalloc(BLOCKS, sizeof(*blocks));
	struct memory memory = {0};

	memset(blocks, 1, BLOCKS * sizeof(*blocks)); /* in memory from the beginning */
	const uint64_t before = memory_anonymous();
	for (size_t i = 0; i < BLOCKS; i++) {
		blocks[i] = xmalloc(BLOCK);
		memset(blocks[i], 'x', BLOCK);
	}
	for (size_t i = 0; i < BLOCKS; i++)
		if (i % KEEP_EVERY)
			free(blocks[i]);
	assert_true(memory_anonymous() > before + 100 * MIB);
	memory_give_back(&memory);
	assert_true(memory_anonymous() < before + 32 * MIB);
	for (size_t i = 0; i < BLOCKS; i += KEEP_EVERY) {
		assert_int_equal(blocks[i][BLOCK - 1], 'x');
		free(blocks[i]);
	}
}

static void where_little_comes_of_it_it_is_done_more_seldom(void **state)
{
	char *mapping = mmap(NULL, 128 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct memory memory = {0};
	uint64_t waits[3];

	assert_ptr_not_equal(mapping, MAP_FAILED);
	memset(mapping, 'x', 128 * MIB);
	for (size_t i = 0; i < ARRAY_SIZE(waits); i++) {
		memory.due_ms = 0;
		memory_give_back(&memory);
		waits[i] = memory.wait_ms;
	}
	assert_true(waits[2] > waits[1]);
	munmap(mapping, 128 * MIB);
	memory.due_ms = 0;
	memory_give_back(&memory);
	assert_true(memory.wait_ms <= waits[2]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_lies_idle_between_the_living_is_given_back),
		cmocka_unit_test(where_little_comes_of_it_it_is_done_more_seldom),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
