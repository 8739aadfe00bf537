#include "lib/verify/view_states.h"

void view_states_reset(struct view_states *states, uint64_t views)
{
	array_reset(states);
	array_add(states, (struct view_state){.last = views - 1});
}

void view_states_clear(struct view_states *states)
{
	array_clear(states);
}

/* The state that has the place. */
static size_t find(const struct view_states *states, uint64_t place)
{
	size_t low = 0, high = states->count - 1;

	while (low < high) {
		const size_t middle = low + (high - low) / 2;
		if (states->items[middle].last < place)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The place begins a state. */
static size_t cut_before(struct view_states *states, uint64_t place)
{
	const size_t at = find(states, place);
	struct view_state second = states->items[at];

	if (second.first == place)
		return at;
	second.first = place;
	states->items[at].last = place - 1;
	array_insert(states, at + 1, second);
	return at + 1;
}

void view_states_part(struct view_states *states, const struct interval *places, size_t *ret_from, size_t *ret_to)
{
	const uint64_t last = array_last(states)->last;

	*ret_from = cut_before(states, places->first);
	*ret_to = places->last == last ? states->count : cut_before(states, places->last + 1);
}
