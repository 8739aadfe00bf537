/*
 * What the views of a family see of one inode, gathered version by version: where neighbours in the family's list (view_sets.h) see the
 * same, it is kept once. One thread.
 */
#ifndef CORPUSFS_VERIFY_VIEW_STATES_H
#define CORPUSFS_VERIFY_VIEW_STATES_H

#include <stdbool.h>

#include "lib/base/array.h"
#include "lib/format/record.h"

/* Of the views at the places [first, last]. */
struct view_state {
	uint64_t first, last;
	bool has_any, has_record;
	struct inode_record record; /* without its target */
	uint64_t extents_end, extents_sum, extents;
	uint64_t entries, subdirectories;
	uint64_t names, directory; /* of the name met last */
};

struct view_states {
	ARRAY_FIELDS(struct view_state); /* ascending, without gaps */
};

void view_states_reset(struct view_states *states, uint64_t views); /* nothing was seen yet; also makes it */
void view_states_clear(struct view_states *states);

/* Parts the states so that [first, last] are whole ones: those from `*ret_from` on, up to before *ret_to. */
void view_states_part(struct view_states *states, const struct interval *places, size_t *ret_from, size_t *ret_to);

#endif
