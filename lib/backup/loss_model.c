#include "lib/backup/loss_model.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>

#include <gsl/gsl_linalg.h>

/* A state is a number of `count` digits to the base 3, one for each copy. The one behind the last is the loss. */
enum condition { GOOD, DAMAGED, GONE, CONDITIONS };

static size_t power_of(size_t copy)
{
	size_t power = 1;

	while (copy-- > 0)
		power *= CONDITIONS;
	return power;
}

static enum condition condition_of(size_t state, size_t copy)
{
	return (enum condition)(state / power_of(copy) % CONDITIONS);
}

static size_t with(size_t state, size_t copy, enum condition condition)
{
	return state + ((size_t)condition - (size_t)condition_of(state, copy)) * power_of(copy);
}

static bool is_lost(const struct loss_model *model, size_t state)
{
	size_t damaged = 0;

	for (size_t copy = 0; copy < model->count; copy++) {
		if (condition_of(state, copy) == GOOD)
			return false;
		damaged += condition_of(state, copy) == DAMAGED;
	}
	return damaged <= 1;
}

static void add_rate(const struct loss_model *model, gsl_matrix *rates, size_t from, size_t to, double rate)
{
	const size_t target = is_lost(model, to) ? power_of(model->count) : to;

	if (from == to || rate <= 0)
		return;
	gsl_matrix_set(rates, from, target, gsl_matrix_get(rates, from, target) + rate);
	gsl_matrix_set(rates, from, from, gsl_matrix_get(rates, from, from) - rate);
}

static void add_rates_of(const struct loss_model *model, gsl_matrix *rates, size_t from)
{
	for (size_t copy = 0; copy < model->count; copy++) {
		const struct loss_copy *what = &model->copies[copy];
		const enum condition condition = condition_of(from, copy);

		add_rate(model, rates, from, with(from, copy, GONE), what->fail);
		if (condition == GOOD)
			add_rate(model, rates, from, with(from, copy, DAMAGED), what->rot);
		if (condition != GOOD)
			add_rate(model, rates, from, with(from, copy, GOOD), condition == DAMAGED ? 2 / what->check : 1 / what->repair);
	}
	for (unsigned site = 0; site < LOSS_COPIES_MAX; site++) {
		size_t to = from;

		for (size_t copy = 0; copy < model->count; copy++)
			if (model->copies[copy].site == site)
				to = with(to, copy, GONE);
		add_rate(model, rates, from, to, model->sites[site]);
	}
}

static bool is_rate(double rate)
{
	return isfinite(rate) && rate >= 0;
}

static bool is_time(double time)
{
	return isfinite(time) && time > 0;
}

static bool is_valid(const struct loss_model *model, double years)
{
	if (model->count < 1 || model->count > LOSS_COPIES_MAX || !is_time(years))
		return false;
	for (size_t i = 0; i < model->count; i++) {
		const struct loss_copy *copy = &model->copies[i];

		if (copy->site >= LOSS_COPIES_MAX || !is_rate(copy->fail) || !is_rate(copy->rot) || !is_time(copy->check) || !is_time(copy->repair) ||
		    !is_rate(model->sites[copy->site]))
			return false;
	}
	return true;
}

int loss_probability(const struct loss_model *model, double years, double *ret_probability)
{
	gsl_matrix *rates, *at;
	size_t states;

	if (!is_valid(model, years))
		return -EINVAL;
	states = power_of(model->count);
	rates = gsl_matrix_calloc(states + 1, states + 1);
	at = gsl_matrix_alloc(states + 1, states + 1);
	for (size_t from = 0; from < states; from++)
		if (!is_lost(model, from))
			add_rates_of(model, rates, from);
	gsl_matrix_scale(rates, years);
	(void)gsl_linalg_exponential_ss(rates, at, GSL_PREC_DOUBLE);
	*ret_probability = fmin(fmax(gsl_matrix_get(at, 0, states), 0), 1);
	gsl_matrix_free(rates);
	gsl_matrix_free(at);
	return 0;
}
