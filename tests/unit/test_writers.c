#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>

#include "fs/fuse/session/node.h"
#include "fs/fuse/freeze/writers.h"

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
	writers_name(&writers);
	reads = writers_begin_seal(&writers, 50);
	assert_true(writers_pass(&writers, 50, false));
	assert_false(writers_seal(&writers, 50, reads));
	assert_true(writers_seal(&writers, 50, writers_begin_seal(&writers, 50)));
	assert_false(writers_pass(&writers, 50, false));
	assert_true(writers_pass(&writers, 51, false)); /* not open for writing */
	writers_unseal_all(&writers);
	assert_true(writers_pass(&writers, 50, false));
	writers_clear(&writers);
}

static void writes_pass_until_the_seal_of_named_files_only(void **state)
{
	struct writers writers;
	uint64_t *nodes;

	writers_init(&writers);
	writers_open(&writers, node_number(3, 10, false));
	assert_true(writers_pass(&writers, node_number(3, 11, false), true)); /* nobody is named yet */
	writers_name(&writers);
	writers_open(&writers, node_number(3, 12, false));
	assert_int_equal(writers_list_named(&writers, 3, 0, &nodes), 1);
	assert_int_equal(nodes[0], node_number(3, 10, false));
	assert_true(writers_pass(&writers, nodes[0], true));
	assert_false(writers_pass(&writers, node_number(3, 12, false), true));
	assert_false(writers_pass(&writers, node_number(3, 12, false), false));
	assert_true(writers_pass(&writers, node_number(3, 13, false), false)); /* nobody writes it */
	assert_true(writers_seal(&writers, nodes[0], writers_begin_seal(&writers, nodes[0])));
	assert_false(writers_pass(&writers, nodes[0], true));
	writers_unseal_all(&writers);
	assert_true(writers_pass(&writers, nodes[0], true));
	assert_true(writers_pass(&writers, node_number(3, 12, false), true));
	free(nodes);
	writers_clear(&writers);
}

static void a_file_is_being_sealed_until_it_is(void **state)
{
	struct writers writers;

	writers_init(&writers);
	writers_open(&writers, 50);
	assert_false(writers_is_sealing(&writers, 50));
	writers_begin_seal(&writers, 50);
	assert_true(writers_is_sealing(&writers, 50));
	assert_true(writers_seal(&writers, 50, writers_begin_seal(&writers, 50)));
	assert_false(writers_is_sealing(&writers, 50));
	writers_unseal_all(&writers);
	writers_begin_seal(&writers, 50);
	assert_true(writers_is_sealing(&writers, 50));
	assert_false(writers_is_sealing(&writers, 51)); /* not open for writing */
	writers_clear(&writers);
}

static void who_waits_for_a_head_start_passes_before_the_next(void **state)
{
	struct writers writers;
	uint64_t passed;

	writers_init(&writers);
	writers_open(&writers, 50);
	writers_name(&writers);
	assert_true(writers_let_pass(&writers, 50));
	writers_begin_seal(&writers, 50);
	writers_arrive(&writers, 50);
	assert_false(writers_let_pass(&writers, 50));
	assert_false(writers_is_sealing(&writers, 50));
	assert_true(writers_pass(&writers, 50, false));
	assert_true(writers_let_pass(&writers, 50));
	passed = writers_begin_seal(&writers, 50);
	assert_true(writers_is_sealing(&writers, 50));
	writers_arrive(&writers, 50); /* and waits */
	assert_true(writers_seal(&writers, 50, passed));
	assert_false(writers_pass(&writers, 50, false));
	writers_close(&writers, 50);
	writers_open(&writers, 50);
	assert_true(writers_let_pass(&writers, 50));
	writers_clear(&writers);
}

static int write_directly(struct writers *writers, uint64_t node)
{
	struct writers_drop drop;

	writers_begin_direct(writers, node);
	drop = writers_end_direct(writers, node);
	writers_dropped(writers, node, drop);
	return drop.what;
}

static void the_first_direct_write_drops_all_pages_and_the_next_ones_none(void **state)
{
	struct writers writers;

	writers_init(&writers);
	writers_open(&writers, 50);
	writers_note_pages(&writers, 50);
	assert_int_equal(write_directly(&writers, 50), WRITERS_DROP_ALL);
	assert_int_equal(write_directly(&writers, 50), WRITERS_DROP_NOTHING);
	writers_close(&writers, 50);
	writers_open(&writers, 50);
	assert_int_equal(write_directly(&writers, 50), WRITERS_DROP_ALL);
	writers_clear(&writers);
}

static void pages_that_were_noted_are_dropped_where_they_were_written(void **state)
{
	struct writers writers;

	writers_init(&writers);
	writers_open(&writers, 50);
	assert_int_equal(write_directly(&writers, 50), WRITERS_DROP_ALL);
	writers_note_pages(&writers, 60);
	assert_int_equal(write_directly(&writers, 50), WRITERS_DROP_NOTHING);
	writers_note_pages(&writers, 50);
	assert_int_equal(write_directly(&writers, 50), WRITERS_DROP_RANGE);
	assert_int_equal(write_directly(&writers, 50), WRITERS_DROP_RANGE);
	writers_clear(&writers);
}

static void a_page_that_is_noted_while_a_direct_write_is_done_is_dropped(void **state)
{
	struct writers writers;

	writers_init(&writers);
	writers_open(&writers, 50);
	assert_int_equal(write_directly(&writers, 50), WRITERS_DROP_ALL);
	writers_begin_direct(&writers, 50);
	writers_note_pages(&writers, 50);
	assert_int_equal(writers_end_direct(&writers, 50).what, WRITERS_DROP_RANGE);
	writers_clear(&writers);
}

static void no_write_trusts_a_drop_that_is_not_done(void **state)
{
	struct writers_drop first;
	struct writers writers;

	writers_init(&writers);
	writers_open(&writers, 50);
	writers_begin_direct(&writers, 50);
	first = writers_end_direct(&writers, 50);
	assert_int_equal(first.what, WRITERS_DROP_ALL);
	writers_begin_direct(&writers, 50);
	assert_int_not_equal(writers_end_direct(&writers, 50).what, WRITERS_DROP_NOTHING);
	writers_note_pages(&writers, 50);
	writers_dropped(&writers, 50, first);
	assert_int_equal(write_directly(&writers, 50), WRITERS_DROP_RANGE);
	writers_clear(&writers);
}

static void when_nobody_reads_pages_any_more_all_are_dropped_once(void **state)
{
	int drop = WRITERS_DROP_RANGE;
	struct writers writers;

	writers_init(&writers);
	writers_open(&writers, 50);
	assert_int_equal(write_directly(&writers, 50), WRITERS_DROP_ALL);
	writers_note_pages(&writers, 50);
	for (int i = 0; i < 1000 && drop == WRITERS_DROP_RANGE; i++)
		drop = write_directly(&writers, 50);
	assert_int_equal(drop, WRITERS_DROP_ALL);
	assert_int_equal(write_directly(&writers, 50), WRITERS_DROP_NOTHING);
	writers_clear(&writers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_is_listed_until_its_last_close),
		cmocka_unit_test(a_read_that_passed_prevents_the_seal),
		cmocka_unit_test(a_file_is_being_sealed_until_it_is),
		cmocka_unit_test(who_waits_for_a_head_start_passes_before_the_next),
		cmocka_unit_test(writes_pass_until_the_seal_of_named_files_only),
		cmocka_unit_test(the_first_direct_write_drops_all_pages_and_the_next_ones_none),
		cmocka_unit_test(pages_that_were_noted_are_dropped_where_they_were_written),
		cmocka_unit_test(a_page_that_is_noted_while_a_direct_write_is_done_is_dropped),
		cmocka_unit_test(no_write_trusts_a_drop_that_is_not_done),
		cmocka_unit_test(when_nobody_reads_pages_any_more_all_are_dropped_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
