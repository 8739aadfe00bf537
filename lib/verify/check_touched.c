/* K10. Entries that no version has are no harm: an epoch's go when no view has it any more. */
#include <errno.h>
#include <string.h>

#include "lib/tree/records/touched.h"
#include "lib/verify/check_family.h"

/* Both come in the order of epochs, then of inodes. */
struct joining {
	struct check_family *family;
	struct spill_iter *iter;
	struct spill_item item; /* the first that no entry has met */
	int more;
};

static struct touched_place place_of(const struct spill_item *item)
{
	return (struct touched_place){spill_number(item->key), spill_number(item->key + sizeof(uint64_t))};
}

static bool is_before(struct touched_place a, struct touched_place b)
{
	return a.epoch < b.epoch || (a.epoch == b.epoch && a.ino < b.ino);
}

/* 1: a version of the epoch is stored now; that it was when the walk met it says nothing, since it may be pruned, and its entry with it. */
static int has_version(const struct check_family *family, struct touched_place place)
{
	const struct tree_key first = tree_prefix_inode(family->family, place.ino), end = tree_prefix_end(first);
	struct all_versions *all = all_versions_between(store_tree(family->store), &first, &end);
	struct stored_version version;
	int result;

	while ((result = all_versions_next(all, &version)) > 0 && version.parts.epoch != place.epoch)
		;
	all_versions_free(all);
	return result;
}

static int has_entry(const struct check_family *family, struct touched_place place)
{
	const struct small_key key = touched_key(family->family, place.epoch, place.ino);
	const int result = kv_has(store_kv(family->store), KV_TOUCHED, key.bytes, key.len);

	return result == 0 ? 1 : result == -ENOENT ? 0 : result;
}

static int tell(struct check_family *family, struct touched_place place)
{
	uint64_t seer = 0;
	int result = has_entry(family, place);

	if (result != 0)
		return MIN(result, 0);
	result = has_version(family, place);
	if (result <= 0 || (result = has_entry(family, place)) != 0)
		return MIN(result, 0);
	while (seer + 1 < family->viewers.count && !line_has(&family->viewers.items[seer].line, place.epoch))
		seer++;
	const struct check_where where = check_where_of(family, 10, &(struct interval){seer, seer}, place.ino);
	return check_found(family->report, &where, "it was written in epoch %llu, and the index of what was touched does not have it",
			   (count)place.epoch);
}

/* What lies before the entry has none. */
static int take_entry(void *arg, struct touched_place place)
{
	struct joining *joining = arg;
	int result = 0;

	while (result == 0 && joining->more > 0 && !is_before(place, place_of(&joining->item))) {
		if (is_before(place_of(&joining->item), place))
			result = tell(joining->family, place_of(&joining->item));
		if (result == 0)
			joining->more = spill_iter_next(joining->iter, &joining->item);
		if (result == 0)
			result = MIN(joining->more, 0);
	}
	return result == 0 ? check_record(joining->family->report) : result;
}

int check_touched(struct check_family *family)
{
	struct joining joining = {.family = family};
	int result = spill_iter_new(family->touched, &joining.iter);

	if (result == 0)
		result = joining.more = spill_iter_next(joining.iter, &joining.item);
	if (result > 0)
		result = touched_each(store_tree(family->store), family->family, (struct touched_place){0}, UINT64_MAX, take_entry, &joining);
	while (result == 0 && joining.more > 0) {
		result = tell(family, place_of(&joining.item));
		if (result == 0)
			result = check_step(family->report);
		if (result == 0)
			joining.more = spill_iter_next(joining.iter, &joining.item);
	}
	spill_iter_free(joining.iter);
	return result == 0 ? MIN(joining.more, 0) : result;
}
