#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>

#include "fs/fuse/session/node.h"
#include "fs/fuse/freeze/writers.h"

static const struct node_root root = {0}; /* of a mount of the store; which heads it has is no matter of files */

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
	assert_int_equal(writers_list(&writers, 3, &root, &nodes), 1);
	assert_int_equal(nodes[0], node);
	free(nodes);
	assert_int_equal(writers_list(&writers, 0, &root, &nodes), 2);
	free(nodes);
	writers_close(&writers, node);
	assert_false(writers_has(&writers, node));
	writers_clear(&writers);
}

static bool passes(struct writers *writers, uint64_t node, uint64_t offset, uint64_t end, bool writes, uint64_t *ret_unsealed)
{
	const struct writers_access access = {.offset = offset, .end = end, .writes = writes};

	return writers_pass(writers, node, &access, ret_unsealed);
}

static bool read_passes(struct writers *writers, uint64_t node)
{
	uint64_t unsealed;

	return passes(writers, node, 0, 4096, false, &unsealed);
}

static bool write_passes(struct writers *writers, uint64_t node)
{
	uint64_t unsealed;

	return passes(writers, node, 0, 4096, true, &unsealed);
}

static bool is_sealing(struct writers *writers, uint64_t node)
{
	const struct writers_access access = {.offset = 0, .end = 4096};

	return writers_is_sealing(writers, node, &access);
}

/* Of a file with one range. */
static bool seal(struct writers *writers, uint64_t node)
{
	struct writers_range range;

	return writers_begin_seal(writers, node, 4096, &range) && writers_seal(writers, node, &range);
}

static void a_read_that_passed_prevents_the_seal(void **state)
{
	struct writers_range range;
	struct writers writers;

	writers_init(&writers);
	writers_open(&writers, 50);
	writers_name(&writers);
	assert_true(writers_begin_seal(&writers, 50, 4096, &range));
	assert_true(read_passes(&writers, 50));
	assert_false(writers_seal(&writers, 50, &range));
	assert_true(seal(&writers, 50));
	assert_false(read_passes(&writers, 50));
	assert_true(read_passes(&writers, 51)); /* not open for writing */
	writers_unseal_all(&writers);
	assert_true(read_passes(&writers, 50));
	writers_clear(&writers);
}

static void a_file_is_sealed_range_by_range_and_who_reaches_beyond_unseals(void **state)
{
	const uint64_t size = 3ULL * WRITERS_RANGE, middle = WRITERS_RANGE + WRITERS_RANGE / 2;
	struct writers_range range;
	struct writers writers;
	uint64_t unsealed;

	writers_init(&writers);
	writers_open(&writers, 50);
	writers_name(&writers);
	for (uint64_t i = 0; i < 2; i++) {
		assert_true(writers_begin_seal(&writers, 50, size, &range));
		assert_int_equal(range.offset, i * WRITERS_RANGE);
		assert_int_equal(range.end, (i + 1) * WRITERS_RANGE);
		assert_true(writers_seal(&writers, 50, &range));
	}
	assert_false(passes(&writers, 50, middle, 2ULL * WRITERS_RANGE, false, &unsealed));
	assert_true(passes(&writers, 50, 2ULL * WRITERS_RANGE, size, false, &unsealed));
	assert_true(unsealed == UINT64_MAX);
	assert_true(writers_begin_seal(&writers, 50, size, &range));
	assert_true(passes(&writers, 50, middle, 2ULL * WRITERS_RANGE + 1, false, &unsealed));
	assert_int_equal(unsealed, WRITERS_RANGE);
	assert_false(writers_seal(&writers, 50, &range));
	assert_true(passes(&writers, 50, middle, 2ULL * WRITERS_RANGE, false, &unsealed));
	assert_true(writers_begin_seal(&writers, 50, size, &range));
	assert_int_equal(range.offset, WRITERS_RANGE);
	assert_true(writers_seal(&writers, 50, &range));
	assert_true(writers_begin_seal(&writers, 50, size, &range));
	assert_true(range.end == UINT64_MAX); /* the last: however long it becomes */
	assert_true(writers_seal(&writers, 50, &range));
	assert_false(writers_begin_seal(&writers, 50, size, &range));
	assert_false(passes(&writers, 50, size, size + 4096, true, &unsealed));
	writers_clear(&writers);
}

static void writes_pass_until_the_seal_of_named_files_only(void **state)
{
	struct writers writers;
	uint64_t *nodes;

	writers_init(&writers);
	writers_open(&writers, node_number(3, 10, false));
	assert_true(write_passes(&writers, node_number(3, 11, false))); /* nobody is named yet */
	writers_name(&writers);
	writers_open(&writers, node_number(3, 12, false));
	assert_int_equal(writers_list_named(&writers, 3, &root, &nodes), 1);
	assert_int_equal(nodes[0], node_number(3, 10, false));
	assert_true(write_passes(&writers, nodes[0]));
	assert_false(write_passes(&writers, node_number(3, 12, false)));
	assert_false(read_passes(&writers, node_number(3, 12, false)));
	assert_true(read_passes(&writers, node_number(3, 13, false))); /* nobody writes it */
	assert_true(seal(&writers, nodes[0]));
	assert_false(write_passes(&writers, nodes[0]));
	writers_unseal_all(&writers);
	assert_true(write_passes(&writers, nodes[0]));
	assert_true(write_passes(&writers, node_number(3, 12, false)));
	free(nodes);
	writers_clear(&writers);
}

static void a_range_is_being_sealed_until_it_is(void **state)
{
	const struct writers_access beyond = {.offset = WRITERS_RANGE, .end = WRITERS_RANGE + 1};
	struct writers_range range;
	struct writers writers;

	writers_init(&writers);
	writers_open(&writers, 50);
	writers_name(&writers);
	assert_false(is_sealing(&writers, 50));
	assert_true(writers_begin_seal(&writers, 50, 2ULL * WRITERS_RANGE, &range));
	assert_true(is_sealing(&writers, 50));
	assert_false(writers_is_sealing(&writers, 50, &beyond));
	assert_true(writers_seal(&writers, 50, &range));
	assert_false(is_sealing(&writers, 50));
	writers_unseal_all(&writers);
	writers_name(&writers);
	assert_true(writers_begin_seal(&writers, 50, 4096, &range));
	assert_true(is_sealing(&writers, 50));
	assert_false(is_sealing(&writers, 51)); /* not open for writing */
	writers_clear(&writers);
}

static void who_waits_for_a_head_start_passes_before_the_next(void **state)
{
	struct writers_range range;
	struct writers writers;

	writers_init(&writers);
	writers_open(&writers, 50);
	writers_name(&writers);
	assert_true(writers_let_pass(&writers, 50));
	assert_true(writers_begin_seal(&writers, 50, 4096, &range));
	writers_arrive(&writers, 50);
	assert_false(writers_let_pass(&writers, 50));
	assert_false(is_sealing(&writers, 50));
	assert_true(read_passes(&writers, 50));
	assert_true(writers_let_pass(&writers, 50));
	assert_true(writers_begin_seal(&writers, 50, 4096, &range));
	assert_true(is_sealing(&writers, 50));
	writers_arrive(&writers, 50); /* and waits */
	assert_true(writers_seal(&writers, 50, &range));
	assert_false(read_passes(&writers, 50));
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
		cmocka_unit_test(a_range_is_being_sealed_until_it_is),
		cmocka_unit_test(a_file_is_sealed_range_by_range_and_who_reaches_beyond_unseals),
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
