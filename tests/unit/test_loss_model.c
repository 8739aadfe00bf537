/* The chance of losing data: against closed forms, and against simulations that know nothing of chains. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/backup/loss_model.h"

#define RUNS 20000

static double probability(const struct loss_model *model, double years)
{
	double p = -1;

	assert_int_equal(loss_probability(model, years, &p), 0);
	return p;
}

static void assert_near(double value, double wanted, double relative)
{
	if (fabs(value - wanted) > relative * fabs(wanted))
		fail_msg("%.12g is not within %g of %.12g", value, relative, wanted);
}

static struct loss_model copies_apart(size_t count, double fail, double rot, double check, double repair)
{
	struct loss_model model = {.count = count};

	for (unsigned i = 0; i < count; i++)
		model.copies[i] = (struct loss_copy){.site = i, .fail = fail, .rot = rot, .check = check, .repair = repair};
	return model;
}

/* --- closed forms --- */

static void a_single_copy_is_lost_by_its_first_failure(void **state)
{
	struct loss_model model = copies_apart(1, 0.03, 0.01, 0.1, 0.02);

	(void)state;
	model.sites[0] = 0.005;
	assert_near(probability(&model, 1), 1 - exp(-0.045), 1e-12);
	assert_near(probability(&model, 30), 1 - exp(-0.045 * 30), 1e-12);
}

static void two_copies_are_lost_as_a_mirror_is(void **state)
{
	const double fail = 0.03;

	(void)state;
	for (double repair = 1; repair > 1e-5; repair /= 10) {
		const struct loss_model model = copies_apart(2, fail, 0, 1, repair);
		const double m = 1 / repair, root = sqrt(fail * fail + 6 * fail * m + m * m), a = (3 * fail + m + root) / 2, b = 2 * fail * fail / a;

		assert_near(probability(&model, 1), 1 - (a * exp(-b) - b * exp(-a)) / (a - b), 1e-6);
	}
}

static void copies_at_one_site_are_lost_with_it(void **state)
{
	struct loss_model model = copies_apart(4, 0, 0, 1, 0.01);

	(void)state;
	for (size_t i = 0; i < model.count; i++)
		model.copies[i].site = 2;
	model.sites[2] = 0.2;
	assert_near(probability(&model, 3), 1 - exp(-0.6), 1e-12);
}

/* Without repair, each copy fails by itself. */
static void copies_that_nobody_repairs_are_lost_one_by_one(void **state)
{
	(void)state;
	for (size_t count = 1; count <= LOSS_COPIES_MAX; count++) {
		const struct loss_model model = copies_apart(count, 0.7, 0, 1, 1e12);

		assert_near(probability(&model, 1), pow(1 - exp(-0.7), (double)count), 1e-9);
	}
}

/* A mirror whose damage waits: the first event is damage or a failure, the second a failure of the other one. Rare events, to first order. */
static void damage_that_waits_counts_until_the_next_check(void **state)
{
	const double fail = 1e-4, rot = 1e-3, check = 0.02, repair = 0.001;
	const struct loss_model model = copies_apart(2, fail, rot, check, repair);

	(void)state;
	/* Damaged for check / 2 while the other may go; gone for `repair` while the other may go or be damaged. */
	assert_near(probability(&model, 1), 2 * rot * (check / 2) * fail + 2 * fail * repair * (fail + rot), 0.05);
}

static void more_of_anything_good_never_hurts(void **state)
{
	struct loss_model model = copies_apart(3, 0.05, 0.02, 0.2, 0.02), better;
	double p;

	(void)state;
	model.copies[1].site = 0;
	for (unsigned i = 0; i < 3; i++)
		model.sites[i] = 0.01;
	p = probability(&model, 1);
	better = model;
	better.copies[1].site = 1;
	assert_true(probability(&better, 1) < p);
	better = model;
	better.copies[0].check /= 2;
	assert_true(probability(&better, 1) < p);
	better = model;
	better.copies[0].repair /= 2;
	assert_true(probability(&better, 1) < p);
	better = model;
	better.copies[better.count++] = (struct loss_copy){.site = 0, .fail = 0.05, .rot = 0.02, .check = 1, .repair = 0.1};
	assert_true(probability(&better, 1) < p);
}

static void what_is_no_rate_is_refused(void **state)
{
	struct loss_model model = copies_apart(2, 0.1, 0.1, 1, 1);
	double p;

	(void)state;
	model.copies[1].fail = -1;
	assert_int_equal(loss_probability(&model, 1, &p), -22);
	model.copies[1].fail = NAN;
	assert_int_equal(loss_probability(&model, 1, &p), -22);
	model = copies_apart(2, 0.1, 0.1, 0, 1);
	assert_int_equal(loss_probability(&model, 1, &p), -22);
	model.count = 0;
	assert_int_equal(loss_probability(&model, 1, &p), -22);
}

/* --- simulations --- */

static double exponential(unsigned short seed[3], double rate)
{
	return rate > 0 ? -log(1 - erand48(seed)) / rate : INFINITY;
}

struct fate {
	double dies, damaged, mended, filled; /* when each happens next; INFINITY: not */
};

/* The next check: of a chain at a random moment, of a clock at the next multiple of the interval. */
static double next_check(unsigned short seed[3], const struct loss_copy *copy, double now, double phase, bool by_clock)
{
	if (!by_clock)
		return now + exponential(seed, 2 / copy->check);
	return (floor((now - phase) / copy->check) + 1) * copy->check + phase;
}

static void go(unsigned short seed[3], const struct loss_copy *copy, struct fate *fate, double now)
{
	*fate = (struct fate){INFINITY, INFINITY, INFINITY, now + exponential(seed, 1 / copy->repair)};
}

static void become_good(unsigned short seed[3], const struct loss_copy *copy, struct fate *fate, double now)
{
	*fate = (struct fate){now + exponential(seed, copy->fail), now + exponential(seed, copy->rot), INFINITY, INFINITY};
}

static bool is_lost(const struct fate *fates, size_t count)
{
	size_t damaged = 0;

	for (size_t i = 0; i < count; i++) {
		if (isinf(fates[i].filled) && isinf(fates[i].mended))
			return false;
		damaged += !isinf(fates[i].mended);
	}
	return damaged <= 1;
}

static double next_of(const struct fate *fate)
{
	return fmin(fmin(fate->dies, fate->damaged), fmin(fate->mended, fate->filled));
}

/* What happens to a copy at its time. */
static void happen(unsigned short seed[3], const struct loss_copy *copy, struct fate *fate, double phase, bool by_clock)
{
	const double now = next_of(fate);

	if (now == fate->dies) {
		go(seed, copy, fate, now);
	} else if (now == fate->damaged) {
		fate->damaged = INFINITY;
		fate->mended = next_check(seed, copy, now, phase, by_clock);
	} else {
		become_good(seed, copy, fate, now);
	}
}

static bool loses(unsigned short seed[3], const struct loss_model *model, double years, bool by_clock)
{
	struct fate fates[LOSS_COPIES_MAX];
	double burns[LOSS_COPIES_MAX], phases[LOSS_COPIES_MAX];

	for (size_t i = 0; i < model->count; i++)
		become_good(seed, &model->copies[i], &fates[i], 0);
	for (size_t i = 0; i < LOSS_COPIES_MAX; i++) {
		burns[i] = exponential(seed, model->sites[i]);
		phases[i] = i < model->count ? erand48(seed) * model->copies[i].check : 0;
	}
	for (;;) {
		size_t first = 0, site = 0;

		for (size_t i = 1; i < model->count; i++)
			first = next_of(&fates[i]) < next_of(&fates[first]) ? i : first;
		for (size_t i = 1; i < LOSS_COPIES_MAX; i++)
			site = burns[i] < burns[site] ? i : site;
		if (fmin(burns[site], next_of(&fates[first])) > years)
			return false;
		if (burns[site] < next_of(&fates[first])) {
			for (size_t i = 0; i < model->count; i++)
				if (model->copies[i].site == site)
					go(seed, &model->copies[i], &fates[i], burns[site]);
			burns[site] += exponential(seed, model->sites[site]);
		} else {
			happen(seed, &model->copies[first], &fates[first], phases[first], by_clock);
		}
		if (is_lost(fates, model->count))
			return true;
	}
}

static double simulated(const struct loss_model *model, double years, bool by_clock, uint16_t number)
{
	unsigned short seed[3] = {number, 0x1234, 0x5678};
	unsigned lost = 0;

	for (unsigned i = 0; i < RUNS; i++)
		lost += loses(seed, model, years, by_clock);
	return (double)lost / RUNS;
}

/* Rates so high that losses are many: three copies, two of them at one site. */
static struct loss_model busy(void)
{
	struct loss_model model = copies_apart(3, 0.5, 0.6, 0.3, 0.15);

	model.copies[1].site = 0;
	model.copies[2].check = 0.6;
	model.sites[0] = 0.3;
	model.sites[2] = 0.1;
	return model;
}

static void simulation_agrees(void **state)
{
	struct loss_model model = busy();

	(void)state;
	for (uint16_t seed = 1; seed <= 3; seed++) {
		const double p = probability(&model, seed), deviation = sqrt(p * (1 - p) / RUNS);

		assert_true(p > 0.01 && p < 0.9);
		if (fabs(simulated(&model, seed, false, seed) - p) > 4 * deviation)
			fail_msg("simulated %g, computed %g", simulated(&model, seed, false, seed), p);
	}
}

/* Checks come by the clock, not at random. The chain has their mean. */
static void simulation_with_checks_by_the_clock_agrees_nearly(void **state)
{
	struct loss_model model = busy();

	(void)state;
	assert_near(simulated(&model, 1, true, 7), probability(&model, 1), 0.1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_single_copy_is_lost_by_its_first_failure),
		cmocka_unit_test(two_copies_are_lost_as_a_mirror_is),
		cmocka_unit_test(copies_at_one_site_are_lost_with_it),
		cmocka_unit_test(copies_that_nobody_repairs_are_lost_one_by_one),
		cmocka_unit_test(damage_that_waits_counts_until_the_next_check),
		cmocka_unit_test(more_of_anything_good_never_hurts),
		cmocka_unit_test(what_is_no_rate_is_refused),
		cmocka_unit_test(simulation_agrees),
		cmocka_unit_test(simulation_with_checks_by_the_clock_agrees_nearly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
