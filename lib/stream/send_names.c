/*
 * Names. First those of the base: by them the receiver learns what labels stand for, and which are lost. They are told in the order of a walk,
 * a directory before what is in it; a directory that lost its name is known by its label from then on, so what is in it can be told after it.
 * Then the new ones: of each directory that is in both trees those that it gained, and with a new directory all that is in it.
 *
 * A file's record says where a name of it was made last, which is a hint (paths.h). If not all changed files were met where their hints say, the
 * whole base is walked for them.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "lib/history/diff_cursor.h"
#include "lib/stream/sending.h"

#define KEEP_DEPTH 32 /* directories down to this depth keep what they have read while the walk is below them */

/* A directory on the way down, with the names that it has, and those that it has in the other tree. */
struct level {
	uint64_t ino, parent;
	char *name;         /* in the parent; owned */
	bool has_own, has_other; /* the cursors are open */
	bool compares;      /* with the other tree, where it is, too */
	bool is_new;        /* of B: not in A */
	struct cursor own, other;
	char *at;           /* the name below which the walk is, when the cursors were closed; owned */
	struct timespec atime, mtime;
};

struct walk {
	struct sending *sending;
	const struct scan *scan, *other;
	bool for_files; /* the second walk through the base */
	ARRAY(struct level) levels;
};

/* --- levels --- */

static void close_cursors(struct level *level)
{
	if (level->has_own)
		cursor_close(&level->own);
	if (level->has_other)
		cursor_close(&level->other);
	level->has_own = level->has_other = false;
}

static int open_cursors(const struct walk *walk, struct level *level, const char *after)
{
	int r = cursor_open(&level->own, walk->scan, level->ino, after);

	level->has_own = r == 0;
	if (r == 0 && level->compares) {
		r = cursor_open(&level->other, walk->other, level->ino, after);
		level->has_other = r == 0;
	}
	return r;
}

static void pop(struct walk *walk)
{
	struct level level = array_pop(&walk->levels);

	close_cursors(&level);
	free(level.name);
	free(level.at);
}

static int push(struct walk *walk, struct level level, const char *name)
{
	level.name = xstrdup(name);
	if (walk->levels.count > KEEP_DEPTH) {
		struct level *above = array_last(&walk->levels);

		close_cursors(above);
		free(above->at);
		above->at = xstrdup(name);
	}
	array_add(&walk->levels, level);
	return open_cursors(walk, array_last(&walk->levels), "");
}

/* Whether the same name stands for the same inode in the other tree. */
static int is_kept(struct level *level, const struct scan_name *own, bool *ret_kept)
{
	const struct scan_name *other;
	int r = 0;

	*ret_kept = false;
	if (!level->compares)
		return 0;
	while (r == 0 && (other = cursor_at(&level->other)) && strcmp(other->name, own->name) < 0)
		r = cursor_skip(&level->other, other->name);
	other = r == 0 ? cursor_at(&level->other) : NULL;
	*ret_kept = other && strcmp(other->name, own->name) == 0 && other->ino == own->ino;
	return r;
}

static void walk_clear(struct walk *walk)
{
	while (walk->levels.count > 0)
		pop(walk);
	array_clear(&walk->levels);
}

typedef int (*name_fn)(struct walk *walk, struct level *level, const struct scan_name *name, const char *text);
typedef int (*leave_fn)(struct walk *walk, const struct level *level);

/* Goes through all that is pushed. `each` may push. */
static int walk_run(struct walk *walk, name_fn each, leave_fn leave)
{
	char text[NAME_LEN_MAX + 1];
	int r = 0;

	while (r == 0 && walk->levels.count > 0) {
		struct level *level = array_last(&walk->levels);

		if (!level->has_own)
			r = open_cursors(walk, level, level->at);
		const struct scan_name *name = r == 0 ? cursor_at(&level->own) : NULL;
		if (r == 0 && !name) {
			r = leave ? leave(walk, level) : 0;
			pop(walk);
		} else if (r == 0) {
			const struct scan_name copy = {.name = text, .ino = name->ino, .type = name->type};

			(void)snprintf(text, sizeof(text), "%s", name->name);
			r = sending_stopped(walk->sending) ? -ECANCELED : cursor_skip(&level->own, text);
			if (r == 0)
				r = each(walk, level, &copy, text);
		}
	}
	return r;
}

/* --- the base --- */

static int tell_old(struct walk *walk, uint64_t dir, uint64_t label, unsigned flags, const char *name)
{
	const struct stream_entry entry = {.kind = STREAM_OLD, .directory = dir, .label = label, .flags = flags, .name = name};
	int r = sending_entry(walk->sending, &entry);

	return r == 0 && label != 0 ? spill_add(walk->sending->bound, label) : r;
}

/* The receiver knows the directories down to the last one. */
static int bind_levels(struct walk *walk)
{
	int r = 0;

	for (size_t i = 0; i < walk->levels.count && r == 0; i++) {
		const struct level *level = &walk->levels.items[i];

		if (level->ino == ROOT_INO)
			continue;
		r = spill_has(walk->sending->bound, level->ino);
		if (r == 0)
			r = tell_old(walk, level->parent, level->ino, 0, level->name);
		r = MIN(r, 0);
	}
	return r;
}

/* 1: it is in both trees, differs, and is not known to the receiver. */
static int wants_label(struct walk *walk, const struct scan_name *name)
{
	int r = spill_has(walk->sending->files, name->ino);

	if (r == 1)
		r = spill_has(walk->sending->bound, name->ino) == 0;
	return r == 1 ? sending_has(&walk->sending->b, name->ino) : r;
}

static int lose(struct walk *walk, struct level *level, const struct scan_name *name)
{
	struct sending *sending = walk->sending;
	int in_b = sending_has(&sending->b, name->ino), was_bound = spill_has(sending->bound, name->ino);
	const uint64_t label = in_b > 0 || name->type == DT_DIR ? name->ino : 0;
	int r = MIN(in_b, was_bound);

	if (r < 0)
		return r;
	r = bind_levels(walk);
	if (r == 0)
		r = tell_old(walk, level->ino, label, STREAM_OLD_LOST, name->name);
	if (r == 0 && label && !was_bound && name->type != DT_DIR && spill_has(sending->files, name->ino) == 1)
		sending->files_bound++;
	return r;
}

static int enter_old(struct walk *walk, uint64_t parent, uint64_t ino, const char *name)
{
	struct sending *sending = walk->sending;
	const int differs = spill_has(sending->dirs, ino);
	int in_b = differs == 1 ? sending_has(&sending->b, ino) : 0;
	int r = MIN(differs, in_b);

	if (r < 0)
		return r;
	r = push(walk, (struct level){.ino = ino, .parent = parent, .compares = in_b}, name);
	/* Its names or attributes change: it must be known even if it loses nothing. */
	return r == 0 && differs && in_b ? bind_levels(walk) : r;
}

static int old_name(struct walk *walk, struct level *level, const struct scan_name *name, const char *text)
{
	struct sending *sending = walk->sending;
	const uint64_t dir = level->ino;
	const int differs = walk->for_files ? 0 : spill_has(sending->dirs, dir);
	bool kept = true;
	int r = MIN(differs, 0);

	if (r == 0 && differs)
		r = is_kept(level, name, &kept);
	if (r == 0 && !kept)
		r = lose(walk, level, name);
	if (r < 0)
		return r;
	if (name->type != DT_DIR) {
		r = kept ? wants_label(walk, name) : 0;
		if (r == 1)
			r = bind_levels(walk);
		else
			return r;
		sending->files_bound++;
		return r == 0 ? tell_old(walk, dir, name->ino, 0, text) : r;
	}
	r = walk->for_files ? 1 : spill_has(sending->way, name->ino);
	return r == 1 ? enter_old(walk, dir, name->ino, text) : r;
}

static int walk_base(struct sending *sending, bool for_files)
{
	struct walk walk = {.sending = sending, .scan = &sending->a, .other = &sending->b, .for_files = for_files};
	int r = for_files ? push(&walk, (struct level){.ino = ROOT_INO}, "") : enter_old(&walk, 0, ROOT_INO, "");

	if (r == 0)
		r = walk_run(&walk, old_name, NULL);
	walk_clear(&walk);
	return r;
}

int sending_old_names(struct sending *sending)
{
	int r = walk_base(sending, false);

	if (r == 0 && sending->files_bound < sending->to_bind)
		r = walk_base(sending, true);
	return r == 0 && sending->files_bound != sending->to_bind ? -EIO : r;
}

/* --- new names --- */

static int tell_name(struct walk *walk, uint64_t dir, uint64_t label, const char *name)
{
	const struct stream_entry entry = {.kind = STREAM_NAME, .directory = dir, .label = label, .name = name};

	return sending_entry(walk->sending, &entry);
}

/* 1: a new file that was sent under another name. */
static int was_sent(struct sending *sending, const struct scan_inode *inode)
{
	int r;

	if (S_ISDIR(inode->record.mode) || inode->record.nlink < 2)
		return 0;
	r = spill_has(sending->linked, inode->ino);
	return r != 0 ? r : spill_add(sending->linked, inode->ino);
}

static int tell_node(struct walk *walk, uint64_t dir, const char *name, const struct scan_inode *inode)
{
	struct sending *sending = walk->sending;
	const uint32_t mode = inode->record.mode;
	const bool has_more = S_ISDIR(mode) || (S_ISREG(mode) && inode->record.size > 0);
	struct stream_entry entry = {.kind = STREAM_NODE, .directory = dir, .label = inode->ino, .name = name};
	int r = sending_attributes(sending, inode, &entry.attributes);

	entry.flags = (has_more ? STREAM_MORE : 0) | (!S_ISDIR(mode) && inode->record.nlink > 1 ? STREAM_MORE_NAMES : 0);
	if (r == 0)
		r = sending_entry(sending, &entry);
	if (r == 0 && S_ISREG(mode) && has_more)
		r = sending_content(sending, inode, NULL);
	if (r < 0 || !S_ISDIR(mode))
		return r;
	return push(walk, (struct level){.ino = inode->ino, .parent = dir, .is_new = true, .atime = inode->record.atime, .mtime = inode->record.mtime}, name);
}

static int leave_new(struct walk *walk, const struct level *level)
{
	const struct stream_entry entry = {.kind = STREAM_LEAVE, .label = level->ino, .attributes = {.atime = level->atime, .mtime = level->mtime}};

	return level->is_new ? sending_entry(walk->sending, &entry) : 0;
}

static int new_name(struct walk *walk, struct level *level, const struct scan_name *name, const char *text)
{
	struct sending *sending = walk->sending;
	const uint64_t dir = level->ino;
	struct scan_inode inode;
	bool kept;
	int r = is_kept(level, name, &kept);

	if (r < 0 || kept)
		return r;
	r = sending->has_base ? sending_has(&sending->a, name->ino) : 0;
	if (r < 0)
		return r;
	if (r == 1)
		return tell_name(walk, dir, name->ino, text);
	r = scan_named_inode(&sending->b, name->ino, &inode);
	if (r < 0)
		return r == -ENOENT ? -EIO : r;
	r = was_sent(sending, &inode);
	if (r == 1)
		r = tell_name(walk, dir, name->ino, text);
	else if (r == 0)
		r = tell_node(walk, dir, text, &inode);
	scan_inode_clear(&inode);
	return r;
}

static int walk_new(struct sending *sending, uint64_t dir)
{
	struct walk walk = {.sending = sending, .scan = &sending->b, .other = &sending->a};
	int r = push(&walk, (struct level){.ino = dir, .compares = sending->has_base}, "");

	if (r == 0)
		r = walk_run(&walk, new_name, leave_new);
	walk_clear(&walk);
	return r;
}

static int gain(void *arg, const struct spill_item *item)
{
	struct sending *sending = arg;
	const uint64_t dir = spill_number(item->key);
	int in_a = sending_has(&sending->a, dir), in_b = sending_has(&sending->b, dir);

	if (in_a < 0 || in_b < 0)
		return MIN(in_a, in_b);
	return in_a && in_b ? walk_new(sending, dir) : 0;
}

int sending_new_names(struct sending *sending)
{
	return sending->has_base ? spill_each(sending->dirs, gain, sending) : walk_new(sending, ROOT_INO);
}
