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
	assert_int_equal(hedge_late_ms(&hedge), HEDGE_UNKNOWN_MS);
	answers(&hedge, HEDGE_KNOWN - 1, 300);
	assert_int_equal(hedge_late_ms(&hedge), HEDGE_UNKNOWN_MS);
	answers(&hedge, 1, 300);
	assert_int_equal(hedge_late_ms(&hedge), 1024);
	/* A few that are slow do not count, */
	answers(&hedge, 1, 60000);
	assert_int_equal(hedge_late_ms(&hedge), 1024);
	/* many do. */
	answers(&hedge, 10, 60000);
	assert_true(hedge_late_ms(&hedge) > 60000);
	hedge_clear(&hedge);
}

static void nothing_is_late_at_once(void **state)
{
	struct hedge hedge;

	(void)state;
	hedge_init(&hedge);
	answers(&hedge, 1000, 0);
	assert_int_equal(hedge_late_ms(&hedge), HEDGE_LEAST_MS);
	answers(&hedge, 100000, UINT64_MAX);
	assert_true(hedge_late_ms(&hedge) > 1U << 30);
	hedge_clear(&hedge);
}

/* Each of so many answers is late, and all that may be is sent again. */
static unsigned sent_again(struct hedge *hedge, unsigned answers)
{
	unsigned again = 0;

	for (unsigned i = 0; i < answers; i++) {
		again += hedge_may(hedge);
		hedge_answered(hedge, 3000);
	}
	return again;
}

static void few_are_sent_again(void **state)
{
	struct hedge hedge;

	(void)state;
	hedge_init(&hedge);
	assert_in_range(sent_again(&hedge, 2000), 100, 100 + HEDGE_SAVED);
	assert_int_equal(sent_again(&hedge, 200000), 10000);
	assert_in_range(hedge_count(&hedge), 10100, 10100 + HEDGE_SAVED);
	hedge_clear(&hedge);
}

static void nothing_is_sent_again_for_ever_without_an_answer(void **state)
{
	struct hedge hedge;
	unsigned again = 0;

	(void)state;
	hedge_init(&hedge);
	for (unsigned i = 0; i < 1000; i++)
		again += hedge_may(&hedge);
	assert_int_equal(again, HEDGE_SAVED);
	hedge_clear(&hedge);
}

static void calm_hour_saves_nothing_up_for_a_slow_one(void **state)
{
	struct hedge hedge;

	(void)state;
	hedge_init(&hedge);
	answers(&hedge, 1000000, 10);
	assert_in_range(sent_again(&hedge, 2000), 100, 100 + HEDGE_SAVED);
	hedge_clear(&hedge);
}

static void slow_hour_is_forgotten(void **state)
{
	struct hedge hedge;

	(void)state;
	hedge_init(&hedge);
	answers(&hedge, 1000000, 5000);
	assert_true(hedge_late_ms(&hedge) > 5000);
	answers(&hedge, 4 * HEDGE_RECENT, 10);
	assert_int_equal(hedge_late_ms(&hedge), HEDGE_LEAST_MS);
	hedge_clear(&hedge);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(late_is_what_takes_longer_than_others_did),
		cmocka_unit_test(nothing_is_late_at_once),
		cmocka_unit_test(few_are_sent_again),
		cmocka_unit_test(nothing_is_sent_again_for_ever_without_an_answer),
		cmocka_unit_test(calm_hour_saves_nothing_up_for_a_slow_one),
		cmocka_unit_test(slow_hour_is_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
