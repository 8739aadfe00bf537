#include "lib/verify/check_family.h"

#include <errno.h>

void check_family_begin(struct check_family *family, struct store *store, struct check_report *report, uint32_t number, struct viewers *viewers)
{
	*family = (struct check_family){.store = store,
	                                .report = report,
	                                .family = number,
	                                .viewers = *viewers,
	                                .versions = all_versions_of_family(store_tree(store), number),
	                                .inodes = spill_new(CHECK_MEMORY),
	                                .names = spill_new(CHECK_MEMORY),
	                                .touched = spill_new(CHECK_MEMORY),
	                                .orphans = spill_new(CHECK_MEMORY)};
	*viewers = (struct viewers){0};
	family->sets = view_sets_new(&family->viewers);
}

void check_family_end(struct check_family *family)
{
	all_versions_free(family->versions);
	view_sets_free(family->sets);
	viewers_clear(&family->viewers);
	view_states_clear(&family->states);
	spill_free(family->inodes);
	spill_free(family->names);
	spill_free(family->touched);
	spill_free(family->orphans);
}

struct check_where check_where_of(const struct check_family *family, unsigned rule, const struct interval *places, uint64_t ino)
{
	const struct viewer *viewer = &family->viewers.items[places->first];

	return (struct check_where){
		.rule = rule, .dataset = viewer->dataset, .snapshot = viewer->snapshot, .more = places->last - places->first, .ino = ino};
}
