#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <setjmp.h>
#include <cmocka.h>

#include "fs/supervise/untold.h"
#include "lib/base/buf.h"

struct seen {
	unsigned count;
	uint64_t first, last;
	char name[UNTOLD_NAME_MAX + 1]; /* the last one's */
};

static void see(void *arg, const struct untold_change *change, const char *name)
{
	struct seen *seen = arg;

	seen->first = seen->count++ ? seen->first : change->ino;
	seen->last = change->ino;
	snprintf(seen->name, sizeof(seen->name), "%s", name);
}

static void add(struct untold *untold, uint64_t ino, const char *name)
{
	untold_add(untold, &(struct untold_change){.ino = ino, .view = 7, .kind = 1}, name);
}

static void what_was_not_told_is_left(void **state)
{
	struct untold *untold = xcalloc(1, sizeof(*untold));
	struct seen seen = {0};
	uint64_t end;

	assert_true(untold_each(untold, see, &seen));
	assert_int_equal(seen.count, 0);
	add(untold, 1, "told");
	end = untold_end(untold);
	add(untold, 2, "name");
	add(untold, 3, "");
	untold_told(untold, end);
	assert_true(untold_each(untold, see, &seen));
	assert_int_equal(seen.count, 2);
	assert_int_equal(seen.first, 2);
	assert_int_equal(seen.last, 3);
	assert_string_equal(seen.name, "");
	free(untold);
}

static void it_goes_round(void **state)
{
	struct untold *untold = xcalloc(1, sizeof(*untold));
	char name[UNTOLD_NAME_MAX + 1];

	memset(name, 'n', UNTOLD_NAME_MAX);
	name[UNTOLD_NAME_MAX] = 0;
	for (uint64_t i = 1; i < 10000; i++) {
		struct seen seen = {0};

		add(untold, i, name + i % UNTOLD_NAME_MAX);
		assert_true(untold_each(untold, see, &seen));
		assert_int_equal(seen.count, 1);
		assert_int_equal(seen.last, i);
		assert_string_equal(seen.name, name + i % UNTOLD_NAME_MAX);
		untold_told(untold, untold_end(untold));
	}
	free(untold);
}

static void what_has_no_room_is_known_to_be_lost_until_it_was_told(void **state)
{
	struct untold *untold = xcalloc(1, sizeof(*untold));
	struct seen seen = {0};
	uint64_t end;

	for (uint64_t i = 0; i < UNTOLD_BYTES / 16; i++)
		add(untold, i, "");
	assert_true(untold_each(untold, see, &seen));
	assert_int_equal(seen.count, UNTOLD_BYTES / 16);
	end = untold_end(untold); /* a round begins */
	add(untold, 1, "");
	untold_told(untold, end);
	assert_false(untold_each(untold, see, &seen));
	untold_told(untold, untold_end(untold));
	assert_true(untold_each(untold, see, &seen));
	free(untold);
}

static void nonsense_is_not_followed(void **state)
{
	struct untold *untold = xcalloc(1, sizeof(*untold));
	struct seen seen = {0};

	add(untold, 1, "name");
	atomic_store(&untold->to, untold_end(untold) - 1);
	assert_false(untold_each(untold, see, &seen));
	atomic_store(&untold->to, 5);
	assert_false(untold_each(untold, see, &seen));
	atomic_store(&untold->from, 6);
	assert_false(untold_each(untold, see, &seen));
	assert_int_equal(seen.count, 0);
	free(untold);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_not_told_is_left),
		cmocka_unit_test(it_goes_round),
		cmocka_unit_test(what_has_no_room_is_known_to_be_lost_until_it_was_told),
		cmocka_unit_test(nonsense_is_not_followed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
