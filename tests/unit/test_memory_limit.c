#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "lib/base/buf.h"
#include "lib/base/memory_limit.h"

#define MIB (1ULL << 20)

/* A sanitizer has mapped more than that limit, and may get nothing more. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MAY_BE_LIMITED false
#else
#define MAY_BE_LIMITED true
#endif

static char *root; /* as /sys/fs/cgroup */

static void put(const char *place, const char *text)
{
	AUTO_FREE char *path = xasprintf("%s/%s", root, place), *command = xasprintf("mkdir -p $(dirname %s)", path);

	assert_int_equal(system(command), 0);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static int setup(void **state)
{
	root = xstrdup("/var/tmp/corpusfs-groups-XXXXXX");
	return mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state)
{
	AUTO_FREE char *command = xasprintf("rm -rf %s", root);

	free(root);
	return system(command);
}

static void test_the_least_of_a_group_and_those_above_it_counts(void **state)
{
	put("memory.max", "max\n");
	put("a/memory.max", "300000\n");
	put("a/b/memory.max", "max\n");
	put("a/b/c/memory.max", "400000\n");
	assert_true(memory_limit_of_groups("0::/a/b/c\n", root) == 300000);
	assert_true(memory_limit_of_groups("0::/a/b\n", root) == 300000);
	assert_true(memory_limit_of_groups("0::/\n", root) == UINT64_MAX);
	assert_true(memory_limit_of_groups("", root) == UINT64_MAX);
	put("a/b/memory.high", "200000\n");
	put("a/memory.high", "max\n");
	assert_true(memory_limit_of_groups("0::/a/b/c\n", root) == 200000);
}

static void test_the_first_version_has_a_place_of_its_own(void **state)
{
	put("memory/x/memory.limit_in_bytes", "500000\n");
	put("memory/memory.limit_in_bytes", "9223372036854771712\n");
	put("unified/y/memory.max", "200000\n");
	assert_true(memory_limit_of_groups("8:pids:/z\n4:cpu,memory:/x\n1:cpuset:/\n", root) == 500000);
	assert_true(memory_limit_of_groups("4:memory:/x\n0::/y\n", root) == 200000);
	assert_true(memory_limit_of_groups("4:memoryless:/x\n", root) == UINT64_MAX);
}

/* Within a container the paths are those outside. */
static void test_a_group_that_is_not_to_be_found_is_the_root(void **state)
{
	put("memory.max", "600000\n");
	assert_true(memory_limit_of_groups("0::/outside/name\n", root) == 600000);
}

static void test_budgets_are_a_part_of_what_there_is(void **state)
{
	struct rlimit before, little;

	if (!MAY_BE_LIMITED)
		skip();
	assert_true(memory_limit() > 0);
	assert_int_equal(getrlimit(RLIMIT_DATA, &before), 0);
	little = (struct rlimit){.rlim_cur = 160 * MIB, .rlim_max = before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_DATA, &little), 0);
	const uint64_t limit = memory_limit(), part = memory_budget(256 * MIB, MIB), usual = memory_budget(MIB, 1), least = memory_budget(256 * MIB, 16 * MIB);
	assert_int_equal(setrlimit(RLIMIT_DATA, &before), 0);
	assert_true(limit <= 160 * MIB && part <= 10 * MIB);
	assert_true(usual == MIB && least == 16 * MIB);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_the_least_of_a_group_and_those_above_it_counts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_first_version_has_a_place_of_its_own, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_group_that_is_not_to_be_found_is_the_root, setup, teardown),
		cmocka_unit_test(test_budgets_are_a_part_of_what_there_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
