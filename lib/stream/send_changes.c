/*
 * Which inodes differ between the base and the snapshot: those in epochs that only one of the two lines has (I7), and whose records are not of
 * the same epoch. Names of a directory differ only if its record does, and so do attributes and content of a file.
 */
#include <errno.h>
#include <sys/stat.h>

#include "lib/stream/sending.h"
#include "lib/tree/records/touched.h"

/* The directory and those above it in A, as far as they are not on the way already. */
static int mark_way(struct sending *sending, uint64_t dir)
{
	int r = 0;

	while (r == 0) {
		struct scan_inode inode;

		r = spill_has(sending->way, dir);
		if (r != 0)
			return MIN(r, 0);
		r = spill_add(sending->way, dir);
		if (r < 0 || dir == ROOT_INO)
			return r;
		r = scan_inode(&sending->a, dir, &inode);
		if (r < 0)
			return r == -ENOENT ? 0 : r;
		dir = inode.record.parent;
		scan_inode_clear(&inode);
	}
	return r;
}

/* Either may be NULL. */
static int note(struct sending *sending, uint64_t ino, const struct scan_inode *a, const struct scan_inode *b)
{
	const bool is_dir = S_ISDIR((a ? a : b)->record.mode);
	int r;

	if (a && b && a->epoch == b->epoch)
		return 0;
	r = spill_add(is_dir ? sending->dirs : sending->files, ino);
	if (r == 0 && a)
		r = mark_way(sending, is_dir ? ino : a->record.parent);
	if (a && b && !is_dir)
		sending->to_bind++;
	return r;
}

static int load(const struct scan *scan, uint64_t ino, struct scan_inode *ret_inode, const struct scan_inode **ret_found)
{
	int r = scan_named_inode(scan, ino, ret_inode);

	*ret_found = r == 0 ? ret_inode : NULL;
	return r == -ENOENT ? 0 : r;
}

static int look_at(void *arg, const struct spill_item *item)
{
	struct sending *sending = arg;
	const uint64_t ino = spill_number(item->key);
	const struct scan_inode *a = NULL, *b = NULL;
	struct scan_inode in_a, in_b;
	int r = sending_stopped(sending) ? -ECANCELED : load(&sending->a, ino, &in_a, &a);

	if (r == 0)
		r = load(&sending->b, ino, &in_b, &b);
	if (r == 0 && (a || b))
		r = note(sending, ino, a, b);
	if (a)
		scan_inode_clear(&in_a);
	if (b)
		scan_inode_clear(&in_b);
	return r;
}

static int add_ino(void *arg, struct touched_place place)
{
	return spill_add(arg, place.ino);
}

int sending_find_changes(struct sending *sending)
{
	struct line only_a = line_minus(&sending->a.line, &sending->b.line), only_b = line_minus(&sending->b.line, &sending->a.line);
	struct spill *inos = spill_new(SENDING_MEMORY);
	int r = touched_each_of_line(sending->a.tree, sending->a.family, &only_a, add_ino, inos);

	if (r == 0)
		r = touched_each_of_line(sending->a.tree, sending->a.family, &only_b, add_ino, inos);
	if (r == 0)
		r = spill_each(inos, look_at, sending);
	spill_free(inos);
	line_clear(&only_a);
	line_clear(&only_b);
	return r;
}
