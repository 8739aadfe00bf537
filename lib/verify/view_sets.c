#include "lib/verify/view_sets.h"

#include <uthash.h>

#include "lib/base/buf.h"

#define KEPT_MAX 50000

/* All zero but for these, so that its bytes are a key. */
struct step_key {
	uint64_t rest;  /* who has not seen a newer version: the number of a step, 0: all */
	uint64_t epoch;
};

/* Of those who have not seen a newer version, who sees this one and who is left. */
struct step {
	struct step_key key;
	uint64_t number, rest_number;
	struct line seen, rest;
	UT_hash_handle hh;
};

struct view_sets {
	const struct viewers *viewers;
	struct line all;
	struct step *steps;
	uint64_t last_number;
	const struct step *at; /* of the record; NULL: nobody has seen any version of it */
};

void viewers_clear(struct viewers *viewers)
{
	for (size_t i = 0; i < viewers->count; i++)
		line_clear(&viewers->items[i].line);
	array_clear(viewers);
}

struct view_sets *view_sets_new(const struct viewers *viewers)
{
	struct view_sets *sets = xcalloc(1, sizeof(*sets));

	sets->viewers = viewers;
	line_add(&sets->all, 0, viewers->count - 1);
	return sets;
}

static void forget(struct view_sets *sets)
{
	struct step *step, *next;

	HASH_ITER (hh, sets->steps, step, next) {
		HASH_DEL(sets->steps, step);
		line_clear(&step->seen);
		line_clear(&step->rest);
		free(step);
	}
	sets->at = NULL;
}

void view_sets_free(struct view_sets *sets)
{
	if (!sets)
		return;
	forget(sets);
	line_clear(&sets->all);
	free(sets);
}

static const struct step *take_step(struct view_sets *sets, const struct step_key *key, const struct line *rest)
{
	struct step *step = xcalloc(1, sizeof(*step));

	step->key = *key;
	for (size_t i = 0; i < rest->count; i++)
		for (uint64_t place = rest->items[i].first; place <= rest->items[i].last; place++)
			if (line_has(&sets->viewers->items[place].line, key->epoch))
				line_add(&step->seen, place, place);
	step->rest = line_minus(rest, &step->seen);
	step->number = ++sets->last_number;
	/* those who leave it to others are the same as before */
	step->rest_number = step->seen.count > 0 ? step->number : key->rest;
	HASH_ADD(hh, sets->steps, key, sizeof(step->key), step);
	return step;
}

const struct line *view_sets_of(struct view_sets *sets, bool is_newest, uint64_t epoch)
{
	if (is_newest)
		sets->at = NULL;
	const struct step_key key = {.rest = sets->at ? sets->at->rest_number : 0, .epoch = epoch};
	const struct line *rest = sets->at ? &sets->at->rest : &sets->all;
	struct step *step;

	HASH_FIND(hh, sets->steps, &key, sizeof(key), step);
	sets->at = step ? step : take_step(sets, &key, rest);
	return &sets->at->seen;
}

void view_sets_tidy(struct view_sets *sets)
{
	if (HASH_COUNT(sets->steps) > KEPT_MAX)
		forget(sets);
}
