#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>

#include "fs/fuse/node.h"
#include "fs/fuse/writers.h"

static void a_file_is_listed_until_its_last_close(void **state)
{
	const uint64_t node = node_number(3, 10, false);
	struct writers writers;
	uint64_t *nodes;

	writers_init(&writers);
	writers_open(&writers, node);
	writers_open(&writers, node);
	writers_open(&writers, node_number(4, 10, false));
	writers_close(&writers, node);
	assert_true(writers_has(&writers, node));
	assert_int_equal(writers_list(&writers, 3, 0, &nodes), 1);
	assert_int_equal(nodes[0], node);
	free(nodes);
	assert_int_equal(writers_list(&writers, 0, 0, &nodes), 2);
	free(nodes);
	writers_close(&writers, node);
	assert_false(writers_has(&writers, node));
	writers_clear(&writers);
}

static void a_read_that_passed_prevents_the_seal(void **state)
{
	struct writers writers;
	uint64_t reads;

	writers_init(&writers);
	writers_open(&writers, 50);
	reads = writers_begin_seal(&writers, 50);
	assert_true(writers_pass_read(&writers, 50));
	assert_false(writers_seal(&writers, 50, reads));
	assert_true(writers_seal(&writers, 50, writers_begin_seal(&writers, 50)));
	assert_false(writers_pass_read(&writers, 50));
	assert_true(writers_pass_read(&writers, 51)); /* not open for writing */
	writers_unseal_all(&writers);
	assert_true(writers_pass_read(&writers, 50));
	writers_clear(&writers);
}

static void times_are_owed_until_told(void **state)
{
	struct writers writers;

	writers_init(&writers);
	writers_open(&writers, 50);
	assert_false(writers_owes_times(&writers, 50));
	writers_wrote(&writers, 50);
	assert_true(writers_owes_times(&writers, 50));
	writers_told_times(&writers, 50);
	assert_false(writers_owes_times(&writers, 50));
	writers_clear(&writers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_is_listed_until_its_last_close),
		cmocka_unit_test(a_read_that_passed_prevents_the_seal),
		cmocka_unit_test(times_are_owed_until_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
