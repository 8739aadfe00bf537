/* A request that is sent a second time beside the first: which answer counts, that both end, and what fails of the library meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/http_scene.h"

/* --- which answer counts --- */

static void first_good_answer_counts_and_the_other_is_cut_off(void **state)
{
	const struct step steps[] = {{.status = 206, .asked = FOR_EVER}, {.status = 206}};
	struct scene scene;

	(void)state;
	begin(&scene, steps, ARRAY_SIZE(steps), 0);
	assert_int_equal(ask_range(&scene, "late"), 0);
	check_came(&scene, 2);
	assert_int_equal(scene.answer.tries, 1);
	assert_int_equal(http_sent_again(scene.http), 1);
	end(&scene);
	assert_int_equal(scene.asked, 2);
	assert_int_equal(scene.ended, 2);
}

static void failure_of_the_second_hides_nothing(void **state)
{
	static const long statuses[] = {503, 404};
	struct scene scene;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
		const struct step steps[] = {{.status = 206, .asked = 2, .ended = 1}, {.status = statuses[i]}};

		begin(&scene, steps, ARRAY_SIZE(steps), 0);
		assert_int_equal(ask_range(&scene, "late"), 0);
		check_came(&scene, 1);
		assert_int_equal(scene.answer.tries, 1);
		end(&scene);
	}
}

/* Pauses are as short as they may be: the second has no time, and its answer would come only after that to another attempt. */
static void failure_of_the_first_is_tried_again_while_the_second_does_not_answer(void **state)
{
	static const long statuses[] = {503, 500, 429};
	struct scene scene;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
		const struct step steps[] = {{.status = statuses[i], .asked = 2}, {.status = 206, .asked = 3}, {.status = 206}};

		begin(&scene, steps, ARRAY_SIZE(steps), 0);
		chance = 0;
		assert_int_equal(ask_range(&scene, "late"), 0);
		assert_int_equal(scene.answer.tries, 2);
		assert_true(scene.out[0] >= 3);
		end(&scene);
	}
}

/* There is a pause, which does not end as the clock stands; the answer of the second comes after that of the first. */
static void second_has_the_time_of_the_pause_when_the_first_fails(void **state)
{
	const struct step steps[] = {{.status = 503, .asked = 2, .stops_clock = true}, {.status = 206, .ended = 1, .polled = true}};
	struct scene scene;

	(void)state;
	begin(&scene, steps, ARRAY_SIZE(steps), 0);
	chance = 0xff;
	assert_int_equal(ask_range(&scene, "late"), 0);
	check_came(&scene, 2);
	assert_int_equal(scene.answer.tries, 1);
	end(&scene);
}

/* The second would answer as soon as it is waited for, but the patience has ended with the first. */
static void second_is_not_waited_for_longer_than_who_asks_is_patient(void **state)
{
	const struct step steps[] = {{.status = 503, .asked = 2, .stops_clock = true}, {.status = 206, .ended = 1, .polled = true}};
	struct scene scene;

	(void)state;
	begin(&scene, steps, ARRAY_SIZE(steps), 0);
	chance = 0xff;
	assert_int_equal(ask(&scene, "late", (struct http_request){.range_len = BYTES, .out = scene.out, .patience_ms = HEDGE_LEAST_MS / 2}), 0);
	assert_int_equal(scene.answer.status, 503);
	assert_int_equal(scene.answer.tries, 1);
	end(&scene);
}

/* A failure of the first that is final stays, and one that may pass is tried again. */
static void of_two_failures_that_of_the_first_counts(void **state)
{
	const struct step passing[] = {{.status = 503, .asked = 2, .ended = 1}, {.status = 404}, {.status = 206}};
	const struct step lasting[] = {{.status = 404, .asked = 2, .ended = 1}, {.status = 503}};
	struct scene scene;

	(void)state;
	begin(&scene, passing, ARRAY_SIZE(passing), 0);
	assert_int_equal(ask_range(&scene, "late"), 0);
	assert_int_equal(scene.answer.tries, 2);
	assert_int_equal(scene.answer.status, 206);
	end(&scene);
	begin(&scene, lasting, ARRAY_SIZE(lasting), 0);
	assert_int_equal(ask_range(&scene, "late"), 0);
	assert_int_equal(scene.answer.tries, 1);
	assert_int_equal(scene.answer.status, 404);
	end(&scene);
}

/* The second would answer as soon as it is waited for. */
static void answer_that_is_final_is_not_held_up_by_the_second(void **state)
{
	const struct step steps[] = {{.status = 404, .asked = 2}, {.status = 206, .ended = 1, .polled = true}};
	struct scene scene;

	(void)state;
	begin(&scene, steps, ARRAY_SIZE(steps), 0);
	chance = 0xff;
	assert_int_equal(ask_range(&scene, "late"), 0);
	assert_int_equal(scene.answer.status, 404);
	assert_int_equal(scene.answer.body.len, BYTES);
	end(&scene);
	assert_int_equal(scene.ended, 2);
}

static void limit_ends_both(void **state)
{
	const struct step steps[] = {{.status = 206, .asked = FOR_EVER}, {.status = 206, .asked = FOR_EVER}};
	struct scene scene;

	(void)state;
	begin(&scene, steps, ARRAY_SIZE(steps), 2000);
	assert_int_equal(ask_range(&scene, "late"), -ETIMEDOUT);
	end(&scene);
	assert_true(scene.asked >= 2);
	assert_int_equal(scene.ended, scene.asked);
}

/* The name is looked up for both; the first look-up ends only when all is over. */
static void look_up_that_is_cut_off_is_not_waited_for(void **state)
{
	struct scene scene;

	(void)state;
	lookups = lookups_ended = 0;
	lookup_may_end = lookup_in_vain = false;
	begin(&scene, NULL, 0, 0);
	snprintf(scene.server.url, sizeof(scene.server.url), "http://" HELD_NAME ":%u/", scene.server.port);
	assert_int_equal(ask_range(&scene, "quick"), 0);
	lookup_may_end = true;
	check_came(&scene, 0);
	assert_int_equal(scene.answer.tries, 1);
	assert_int_equal(http_sent_again(scene.http), 1);
	end(&scene);
	while (lookups_ended < lookups)
		clock_pause_us(100);
	assert_int_equal(lookups, 2);
	assert_false(lookup_in_vain);
}

/* --- what is not sent a second time --- */

static void only_a_range_that_is_not_long_is_sent_a_second_time(void **state)
{
	const struct step steps[] = {{.status = 206, .late = true}};
	const size_t too_long = HEDGE_BYTES_MAX + 1;
	AUTO_FREE uint8_t *out = xmalloc(too_long);
	const struct http_request requests[] = {{.method = "GET"}, {.method = "DELETE"}, {.method = "POST", .data = ""},
	                                        {.method = "GET", .range_len = too_long, .out = out}};
	struct scene scene;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		begin(&scene, steps, ARRAY_SIZE(steps), 0);
		/* what is too long for us is more than the server sends */
		assert_int_equal(ask(&scene, "late", requests[i]), requests[i].range_len ? -EIO : 0);
		assert_int_equal(http_sent_again(scene.http), 0);
		end(&scene);
		assert_int_equal(scene.asked, 1);
	}
}

/* --- what fails --- */

static void without_memory_there_is_no_second(void **state)
{
	const struct step steps[] = {{.status = 206, .no_memory = true}};
	struct scene scene;

	(void)state;
	begin(&scene, steps, ARRAY_SIZE(steps), 0);
	assert_int_equal(ask_range(&scene, "late"), 0);
	check_came(&scene, 1);
	assert_int_equal(http_sent_again(scene.http), 0);
	end(&scene);
	assert_int_equal(scene.asked, 1);
}

static void second_that_cannot_begin_changes_nothing(void **state)
{
	const struct step steps[] = {{.status = 206, .failures = 1}};
	struct scene scene;

	(void)state;
	begin(&scene, steps, ARRAY_SIZE(steps), 0);
	failing = ADDING_SECOND;
	assert_int_equal(ask_range(&scene, "late"), 0);
	check_came(&scene, 1);
	assert_int_equal(failures, 1);
	end(&scene);
	assert_int_equal(scene.asked, 1);
}

static void library_that_can_go_no_further_is_given_up(void **state)
{
	struct scene scene;

	(void)state;
	begin(&scene, NULL, 0, 0);
	failing = PERFORMING;
	assert_int_equal(ask(&scene, "late", (struct http_request){.range_len = BYTES, .out = scene.out, .patience_ms = 300}), -EIO);
	assert_true(failures > 0 && *scene.answer.problem);
	failing = NOTHING;
	assert_int_equal(ask_range(&scene, "quick"), 0);
	end(&scene);
}

static void answer_that_has_come_counts_when_the_library_fails(void **state)
{
	struct scene scene;

	(void)state;
	begin(&scene, NULL, 0, 0);
	stop_clock(); /* nothing is late: there is one request */
	failing = PERFORMING_LAST;
	assert_int_equal(ask_range(&scene, "late"), 0);
	assert_true(failures > 0);
	check_came(&scene, 1);
	assert_int_equal(scene.answer.tries, 1);
	failing = NOTHING;
	assert_int_equal(ask_range(&scene, "quick"), 0);
	end(&scene);
}

static void library_that_cannot_wait_is_not_asked_at_once_again(void **state)
{
	const struct step steps[] = {{.status = 206, .failures = 3}};
	struct scene scene;

	(void)state;
	begin(&scene, steps, ARRAY_SIZE(steps), 0);
	failing = POLLING;
	assert_int_equal(ask_range(&scene, "late"), 0);
	assert_int_equal(scene.answer.status, 206);
	assert_true(failures >= 3);
	assert_int_equal(rests, failures);
	end(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_memory_there_is_no_second), /* the first, which comes to the fault point */
		cmocka_unit_test(first_good_answer_counts_and_the_other_is_cut_off),
		cmocka_unit_test(failure_of_the_second_hides_nothing),
		cmocka_unit_test(failure_of_the_first_is_tried_again_while_the_second_does_not_answer),
		cmocka_unit_test(second_has_the_time_of_the_pause_when_the_first_fails),
		cmocka_unit_test(second_is_not_waited_for_longer_than_who_asks_is_patient),
		cmocka_unit_test(of_two_failures_that_of_the_first_counts),
		cmocka_unit_test(answer_that_is_final_is_not_held_up_by_the_second),
		cmocka_unit_test(limit_ends_both),
		cmocka_unit_test(look_up_that_is_cut_off_is_not_waited_for),
		cmocka_unit_test(only_a_range_that_is_not_long_is_sent_a_second_time),
		cmocka_unit_test(second_that_cannot_begin_changes_nothing),
		cmocka_unit_test(library_that_can_go_no_further_is_given_up),
		cmocka_unit_test(answer_that_has_come_counts_when_the_library_fails),
		cmocka_unit_test(library_that_cannot_wait_is_not_asked_at_once_again),
	};

	setenv("CORPUSFS_FAULT", "http-second-before-memory:enomem", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
