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

static bool may_be_lost(const struct untold *untold, uint32_t view, uint64_t ino)
{
	return untold_next_lost(untold, view, ino, ino + 1) == ino;
}

static void fill(struct untold *untold)
{
	for (uint64_t i = 0; i < UNTOLD_BYTES / 16; i++)
		add(untold, i, "");
}

static void inodes_of_lost_changes_are_found_and_few_others(void **state)
{
	struct untold *untold = xcalloc(1, sizeof(*untold));
	const uint64_t end = 1ULL << 36;
	uint64_t found = 0;

	fill(untold);
	assert_int_equal(untold_next_lost(untold, 7, 1, end), end);
	for (uint64_t ino = 1; ino < end; ino *= 3)
		add(untold, ino, "");
	for (uint64_t ino = 1; ino < end; ino *= 3)
		assert_true(may_be_lost(untold, 7, ino));
	for (uint64_t ino = 1; (ino = untold_next_lost(untold, 7, ino, 1000000)) < 1000000; ino++)
		found++;
	assert_in_range(found, 13, 23); /* the powers of 3 that are smaller, and of the others those that have the bit of a greater number */
	assert_false(may_be_lost(untold, 8, 729));
	free(untold);
}

static void inodes_at_the_borders_of_words_are_found(void **state)
{
	for (uint64_t ino = 1; ino < 3 * UNTOLD_BITS; ino = ino * 9 / 8 + 1) {
		struct untold *untold = xcalloc(1, sizeof(*untold));

		fill(untold);
		add(untold, ino, "name");
		assert_int_equal(untold_next_lost(untold, 7, ino > UNTOLD_BITS ? ino - UNTOLD_BITS + 1 : 1, ino + 1000), ino);
		assert_int_equal(untold_next_lost(untold, 7, ino, ino), ino);
		assert_int_equal(untold_next_lost(untold, 7, ino + 1, ino + UNTOLD_BITS), ino + UNTOLD_BITS);
		free(untold);
	}
}

static void what_was_lost_is_forgotten_when_it_was_told(void **state)
{
	struct untold *untold = xcalloc(1, sizeof(*untold));

	fill(untold);
	add(untold, 42, "");
	untold_told(untold, untold_end(untold)); /* a round that may have begun before */
	assert_true(may_be_lost(untold, 7, 42));
	untold_told(untold, untold_end(untold));
	assert_int_equal(untold_next_lost(untold, 7, 0, 2 * UNTOLD_BITS), 2 * UNTOLD_BITS);
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
	for (uint64_t ino = 1; ino < 1000000; ino += 999)
		assert_true(may_be_lost(untold, 7, ino));
	free(untold);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_not_told_is_left),
		cmocka_unit_test(it_goes_round),
		cmocka_unit_test(what_has_no_room_is_known_to_be_lost_until_it_was_told),
		cmocka_unit_test(inodes_of_lost_changes_are_found_and_few_others),
		cmocka_unit_test(inodes_at_the_borders_of_words_are_found),
		cmocka_unit_test(what_was_lost_is_forgotten_when_it_was_told),
		cmocka_unit_test(nonsense_is_not_followed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
