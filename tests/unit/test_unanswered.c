#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>
#include <linux/fuse.h>

#include "fs/fuse/session/unanswered.h"
#include "lib/base/buf.h"
#include "lib/base/clock.h"

static void begin(struct unanswered *unanswered, uint64_t unique, uint32_t opcode)
{
	const struct fuse_in_header in = {.unique = unique, .nodeid = unique + 1, .opcode = opcode};

	unanswered_begin(unanswered, &in, 77);
}

static void the_oldest_is_told_until_it_is_answered(void **state)
{
	struct unanswered *unanswered = xcalloc(1, sizeof(*unanswered));
	struct unanswered_request oldest;

	assert_false(unanswered_oldest(unanswered, &oldest));
	begin(unanswered, 10, FUSE_FSYNC);
	clock_pause_us(5000);
	begin(unanswered, 12, FUSE_READ);
	begin(unanswered, 14, FUSE_FORGET); /* gets no answer */
	assert_true(unanswered_oldest(unanswered, &oldest));
	assert_int_equal(oldest.unique, 10);
	assert_int_equal(oldest.node, 11);
	assert_int_equal(oldest.thread, 77);
	assert_int_equal(oldest.where, UNANSWERED_RUNS);
	assert_string_equal(unanswered_name(oldest.opcode), "FSYNC");
	unanswered_end(unanswered, 10);
	unanswered_moved(unanswered, 12, UNANSWERED_HELD);
	assert_true(unanswered_oldest(unanswered, &oldest));
	assert_int_equal(oldest.unique, 12);
	assert_int_equal(oldest.where, UNANSWERED_HELD);
	unanswered_end(unanswered, 12);
	unanswered_end(unanswered, 16); /* was never begun */
	assert_false(unanswered_oldest(unanswered, &oldest));
	free(unanswered);
}

static void more_than_there_are_places_for_do_no_harm(void **state)
{
	struct unanswered *unanswered = xcalloc(1, sizeof(*unanswered));
	const uint64_t many = 3ULL * UNANSWERED_PLACES;
	struct unanswered_request oldest;

	for (uint64_t i = 1; i <= many; i++)
		begin(unanswered, 2 * i, FUSE_READ);
	assert_true(unanswered_oldest(unanswered, &oldest));
	for (uint64_t i = 1; i <= many; i++)
		unanswered_end(unanswered, 2 * i);
	assert_false(unanswered_oldest(unanswered, &oldest));
	free(unanswered);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_oldest_is_told_until_it_is_answered),
		cmocka_unit_test(more_than_there_are_places_for_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
