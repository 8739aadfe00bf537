/*
 * K9. From a directory the way goes up, for as many views at once as have the same way, until it meets the root or what is known to be below
 * it; then what lies on the way is known, too, for these views. A way that comes back to itself is longer than there are directories.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/verify/check_family.h"

struct reach {
	struct check_family *family;
	struct spill *parents; /* directory -> its struct above, one behind the other */
	struct spill *reached; /* directory -> struct line of places */
	uint64_t directories;
	struct buf above; /* of the directory noted last */
	uint64_t noted;
	ARRAY(uint64_t) way;
};

struct above {
	uint64_t first, last; /* places */
	uint64_t parent;
};

/* --- what lies above what --- */

static int end_directory(struct reach *reach)
{
	AUTO_BUF key = BUF_INIT;

	if (reach->above.len == 0)
		return 0;
	buf_add_be64(&key, reach->noted);
	int result = spill_put(reach->parents, key.data, key.len, reach->above.data, reach->above.len);
	buf_clear(&reach->above);
	reach->directories++;
	return result;
}

static int note_parent(void *arg, const struct spill_item *item)
{
	const uint64_t ino = spill_number(item->key);
	struct reach *reach = arg;
	struct inode_kept inode;
	int result = 0;

	memcpy(&inode, item->value, sizeof(inode));
	if (!S_ISDIR(inode.mode))
		return 0;
	if (ino != reach->noted)
		result = end_directory(reach);
	reach->noted = ino;
	const struct above above = {spill_number(item->key + sizeof(uint64_t)), inode.last, inode.parent};
	buf_add(&reach->above, &above, sizeof(above));
	return result;
}

/* --- the way up --- */

static int get_reached(struct reach *reach, uint64_t ino, struct line *ret_line)
{
	AUTO_BUF key = BUF_INIT, value = BUF_INIT;

	buf_add_be64(&key, ino);
	int result = spill_get(reach->reached, key.data, key.len, &value);
	struct reader reader = reader_over(value.data, value.len);
	*ret_line = (struct line){0};
	if (result == 0)
		result = line_decode(&reader, ret_line);
	return result == -ENOENT ? 0 : result;
}

static int put_reached(struct reach *reach, uint64_t ino, const struct interval *places)
{
	AUTO_BUF key = BUF_INIT, value = BUF_INIT;
	struct line line;
	int result = get_reached(reach, ino, &line);

	if (result < 0)
		return result;
	line_add(&line, places->first, places->last);
	buf_add_be64(&key, ino);
	line_encode(&line, &value);
	line_clear(&line);
	return spill_put(reach->reached, key.data, key.len, value.data, value.len);
}

/* 1: below the root as views at places->first see it. Those of which the same is known, one way or the other, are left in `places`. */
static int is_reached(struct reach *reach, uint64_t ino, struct interval *places)
{
	struct line line;
	int result = ino == ROOT_INO ? 0 : get_reached(reach, ino, &line);

	if (ino == ROOT_INO || result < 0)
		return ino == ROOT_INO ? 1 : result;
	for (size_t i = 0; i < line.count; i++) {
		const struct interval *known = &line.items[i];
		if (known->first <= places->first && known->last >= places->first) {
			places->last = MIN(places->last, known->last);
			result = 1;
		} else if (known->first > places->first && known->first <= places->last) {
			places->last = known->first - 1;
		}
	}
	line_clear(&line);
	return result;
}

/* What lies above the directory as the views at places->first see it; -ENOENT. Those that see the same are left in `places`. */
static int parent_of(struct reach *reach, uint64_t ino, struct interval *places, uint64_t *ret_parent)
{
	AUTO_BUF key = BUF_INIT, value = BUF_INIT;

	buf_add_be64(&key, ino);
	int result = spill_get(reach->parents, key.data, key.len, &value);
	if (result < 0)
		return result;
	result = -ENOENT;
	for (size_t at = 0; at < value.len; at += sizeof(struct above)) {
		struct above above;
		memcpy(&above, value.data + at, sizeof(above));
		if (above.first <= places->first && above.last >= places->first) {
			places->last = MIN(places->last, above.last);
			*ret_parent = above.parent;
			result = 0;
		} else if (above.first > places->first && above.first <= places->last) {
			places->last = above.first - 1;
		}
	}
	return result;
}

/* For the views at the beginning of `places`, of which those are left that have the same. */
static int go_up(struct reach *reach, uint64_t ino, struct interval *places)
{
	const uint64_t first = ino;
	int known = 0, result = 0;

	array_reset(&reach->way);
	while (result == 0 && (known = is_reached(reach, ino, places)) == 0) {
		result = check_step(reach->family->report);
		if (result != 0)
			return result;
		array_add(&reach->way, ino);
		result = parent_of(reach, ino, places, &ino);
		if (reach->way.count > reach->directories)
			result = -ELOOP;
	}
	if (known < 0 || (result < 0 && result != -ENOENT && result != -ELOOP))
		return known < 0 ? known : result;
	if (result < 0) {
		const struct check_where where = check_where_of(reach->family, 9, places, first);
		return check_found(reach->family->report, &where, "no way leads from the directory up to the root");
	}
	for (size_t i = 0; i < reach->way.count && result == 0; i++)
		result = put_reached(reach, reach->way.items[i], places);
	return result;
}

static int check_reachable(void *arg, const struct spill_item *item)
{
	struct reach *reach = arg;
	struct inode_kept inode;
	int result = 0;

	memcpy(&inode, item->value, sizeof(inode));
	result = check_step(reach->family->report);
	if (result != 0 || !S_ISDIR(inode.mode) || inode.nlink == 0)
		return result;
	for (uint64_t place = spill_number(item->key + sizeof(uint64_t)); place <= inode.last && result == 0;) {
		struct interval places = {place, inode.last};
		result = go_up(reach, spill_number(item->key), &places);
		place = places.last + 1;
	}
	return result;
}

int check_reach(struct check_family *family)
{
	struct reach reach = {.family = family, .parents = spill_new(CHECK_MEMORY), .reached = spill_new(CHECK_MEMORY)};
	int result = spill_each(family->inodes, note_parent, &reach);

	if (result == 0)
		result = end_directory(&reach);
	if (result == 0)
		result = spill_each(family->inodes, check_reachable, &reach);
	spill_free(reach.parents);
	spill_free(reach.reached);
	buf_clear(&reach.above);
	array_clear(&reach.way);
	return result;
}
