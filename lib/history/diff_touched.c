#include "lib/history/diff_touched.h"

#include <errno.h>
#include <sys/stat.h>

#include "lib/tree/records/touched.h"

struct seeding {
	const struct diff_sides *sides;
	struct diff_touched *touched;
	struct spill *inos;
};

static int note_ino(void *arg, struct touched_place place)
{
	return spill_add(arg, place.ino);
}

/* The directory and those above it, as far as they are not on the way already. */
static int mark_way(struct spill *way, const struct scan *scan, uint64_t dir)
{
	int result = 0;

	while (result == 0) {
		struct scan_inode inode;
		result = spill_has(way, dir);
		if (result != 0)
			return MIN(result, 0);
		result = spill_add(way, dir);
		if (result < 0 || dir == ROOT_INO)
			return result;
		result = scan_inode(scan, dir, &inode);
		if (result < 0)
			return result == -ENOENT ? 0 : result;
		dir = inode.record.parent;
		scan_inode_clear(&inode);
	}
	return result;
}

static int seed_pair(const struct seeding *seeding, const struct scan_inode *a, const struct scan_inode *b)
{
	struct diff_touched *touched = seeding->touched;
	int result;

	if (a->epoch == b->epoch)
		return 0;
	if (!S_ISDIR(a->record.mode)) {
		touched->names += b->record.nlink;
		result = spill_add(touched->files, a->ino);
		return result < 0 ? result : mark_way(touched->way_b, &seeding->sides->b, b->record.parent);
	}
	result = spill_add(touched->dirs, a->ino);
	if (result == 0)
		result = mark_way(touched->way_a, &seeding->sides->a, a->ino);
	return result < 0 ? result : mark_way(touched->way_b, &seeding->sides->b, b->ino);
}

static int seed(void *arg, const struct spill_item *item)
{
	const struct seeding *seeding = arg;
	uint64_t ino = spill_number(item->key);
	struct scan_inode a, b;
	int result = diff_load_both(seeding->sides, ino, ino, &a, &b);

	if (result < 0)
		return result == -ENOENT ? 0 : result;
	result = diff_cancelled(seeding->sides) ? -ECANCELED : seed_pair(seeding, &a, &b);
	scan_inode_clear(&a);
	scan_inode_clear(&b);
	return result;
}

int diff_touched_read(const struct diff_sides *sides, size_t memory, struct diff_touched *touched)
{
	struct line only_a = line_minus(&sides->a.line, &sides->b.line), only_b = line_minus(&sides->b.line, &sides->a.line);
	struct seeding seeding = {.sides = sides, .touched = touched, .inos = spill_new(memory)};
	int result;

	*touched = (struct diff_touched){
		.dirs = spill_new(memory), .files = spill_new(memory), .way_a = spill_new(memory), .way_b = spill_new(memory)};
	result = touched_each_of_line(sides->a.tree, sides->a.family, &only_a, note_ino, seeding.inos);
	if (result == 0)
		result = touched_each_of_line(sides->a.tree, sides->a.family, &only_b, note_ino, seeding.inos);
	if (result == 0)
		result = spill_each(seeding.inos, seed, &seeding);
	spill_free(seeding.inos);
	line_clear(&only_a);
	line_clear(&only_b);
	return result;
}

void diff_touched_clear(struct diff_touched *touched)
{
	spill_free(touched->dirs);
	spill_free(touched->files);
	spill_free(touched->way_a);
	spill_free(touched->way_b);
	*touched = (struct diff_touched){0};
}
