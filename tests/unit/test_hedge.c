/* When a request is sent a second time: not before others had their answers, and not for everything that is slow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/repository/hedge.h"

static void answers(struct hedge *hedge, unsigned count, uint64_t ms)
{
	for (unsigned i = 0; i < count; i++)
		hedge_answered(hedge, ms);
}

static void late_is_what_takes_longer_than_others_did(void **state)
{
	struct hedge hedge;

	(void)state;
	hedge_init(&hedge);
	assert_int_equal(hedge_begin(&hedge), HEDGE_UNKNOWN_MS);
	answers(&hedge, HEDGE_KNOWN - 1, 300);
	assert_int_equal(hedge_begin(&hedge), HEDGE_UNKNOWN_MS);
	answers(&hedge, 1, 300);
	assert_int_equal(hedge_begin(&hedge), 1024);
	/* A few that are slow do not count, */
	answers(&hedge, 1, 60000);
	assert_int_equal(hedge_begin(&hedge), 1024);
	/* many do. */
	answers(&hedge, 10, 60000);
	assert_true(hedge_begin(&hedge) > 60000);
	hedge_clear(&hedge);
}

static void nothing_is_late_at_once(void **state)
{
	struct hedge hedge;

	(void)state;
	hedge_init(&hedge);
	answers(&hedge, 1000, 0);
	assert_int_equal(hedge_begin(&hedge), HEDGE_LEAST_MS);
	answers(&hedge, 100000, UINT64_MAX);
	assert_true(hedge_begin(&hedge) > 1U << 30);
	hedge_clear(&hedge);
}

static void few_are_sent_again(void **state)
{
	struct hedge hedge;
	unsigned again = 0;

	(void)state;
	hedge_init(&hedge);
	for (unsigned i = 0; i < 1600; i++) {
		(void)hedge_begin(&hedge);
		again += hedge_may(&hedge);
	}
	assert_int_equal(again, HEDGE_FIRST + 1600 / HEDGE_SHARE);
	assert_false(hedge_may(&hedge));
	hedge_clear(&hedge);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(late_is_what_takes_longer_than_others_did),
		cmocka_unit_test(nothing_is_late_at_once),
		cmocka_unit_test(few_are_sent_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
