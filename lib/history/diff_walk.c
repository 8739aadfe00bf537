#include "lib/history/diff_walk.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/array.h"
#include "lib/history/diff_cursor.h"

/* Directories down to this depth keep what they have read while the walk is below them. */
#define KEEP_DEPTH 32

/* A directory of one tree, being compared with its partner in the other. */
struct half {
	uint64_t dir, partner; /* dir 0: there is none at this path; partner 0: it has none */
	bool same;             /* the touched index says that both have the same entries */
};

/* Where the walk is in a level: the entries of a half, and those of its partner unless they are read already. */
struct reading {
	struct cursor own_a, other_a, own_b, other_b;
};

struct level {
	struct half a, b;
	bool together; /* a and b are partners: the one's own entries are the other's other ones */
	struct reading *reading; /* NULL: given up while the walk is below; owned */
	size_t path_len; /* of its path, in walking.path */
	size_t told_len; /* of that path or, when it is too long, of the last one above that is not */
};

struct walking {
	const struct diff_walk *walk;
	ARRAY(struct level) levels;
	struct buf path; /* of the name at hand, with a NUL behind */
	struct buf told; /* the path of a directory above, when that one is too long */
	unsigned steps;
};

/* What became of a name, and what stands for its inode on the other side. */
struct fate {
	bool kept, elsewhere;
	uint64_t partner; /* 0: none */
};

/* --- levels --- */

static void level_close(struct level *level)
{
	struct reading *reading = steal_ptr(level->reading);

	if (!reading)
		return;
	cursor_close(&reading->own_a);
	cursor_close(&reading->other_a);
	cursor_close(&reading->own_b);
	cursor_close(&reading->other_b);
	free(reading);
}

static int open_half(const struct level *level, bool in_b, const struct diff_sides *sides, const char *after)
{
	const struct half *half = in_b ? &level->b : &level->a;
	struct cursor *own = in_b ? &level->reading->own_b : &level->reading->own_a;
	struct cursor *other = in_b ? &level->reading->other_b : &level->reading->other_a;
	int result;

	if (half->dir == 0)
		return 0;
	result = cursor_open(own, in_b ? &sides->b : &sides->a, half->dir, after);
	if (result == 0 && half->partner && !half->same && !level->together)
		result = cursor_open(other, in_b ? &sides->a : &sides->b, half->partner, after);
	return result;
}

static int level_open(const struct walking *walking, struct level *level, const char *after)
{
	const struct diff_sides *sides = walking->walk->sides;
	int result = 0;

	level_close(level);
	level->reading = xcalloc(1, sizeof(*level->reading));
	/* What is the same on both sides need not be read twice. */
	if (!level->together || !level->a.same)
		result = open_half(level, false, sides, after);
	return result < 0 ? result : open_half(level, true, sides, after);
}

static int is_same(const struct diff_walk *walk, const struct half *half)
{
	int result;

	if (!walk->touched || half->dir == 0 || half->partner != half->dir)
		return 0;
	result = spill_has(walk->touched->dirs, half->dir);
	return result < 0 ? result : !result;
}

static int push(struct walking *walking, struct level level)
{
	int result = is_same(walking->walk, &level.a);

	if (result >= 0) {
		level.a.same = result;
		result = is_same(walking->walk, &level.b);
	}
	if (result < 0)
		return result;
	level.b.same = result;
	level.together = level.a.dir && level.b.dir && level.a.partner == level.b.dir && level.b.partner == level.a.dir;
	array_add(&walking->levels, level);
	return level_open(walking, array_last(&walking->levels), "");
}

/* --- what became of a name --- */

static int find_fate(const struct diff_sides *sides, bool in_b, const struct scan_name *name, const struct scan_name *other,
		     struct fate *ret_fate)
{
	int elsewhere, other_elsewhere = 1;

	if (other && sides->one_family && name->ino == other->ino) {
		*ret_fate = (struct fate){.kept = true, .partner = name->ino};
		return 0;
	}
	elsewhere = diff_is_in(sides, !in_b, name->ino);
	if (other && elsewhere == 0 && name->type == other->type)
		other_elsewhere = diff_is_in(sides, in_b, other->ino);
	if (elsewhere < 0 || other_elsewhere < 0)
		return MIN(elsewhere, other_elsewhere);
	if (other_elsewhere == 0)
		*ret_fate = (struct fate){.kept = true, .partner = other->ino};
	else
		*ret_fate = (struct fate){.elsewhere = elsewhere, .partner = elsewhere ? name->ino : 0};
	return 0;
}

/* Whether to go into a directory: where nothing below it is touched, it is the same as its partner. */
static int wants(const struct diff_walk *walk, bool in_b, const struct scan_name *name, const struct fate *fate)
{
	if (name->type != DT_DIR)
		return 0;
	if (!walk->touched || fate->partner != name->ino || (in_b && walk->all_of_b))
		return 1;
	return spill_has(in_b ? walk->touched->way_b : walk->touched->way_a, name->ino);
}

/* --- telling --- */

/* The path of a name below the level. */
static void set_path(struct walking *walking, const struct level *level, const char *name)
{
	walking->path.len = level->path_len;
	if (level->path_len > 0 && *name)
		buf_add_u8(&walking->path, '/');
	buf_add(&walking->path, name, strlen(name) + 1);
	walking->path.len--;
}

static const char *told_path(struct walking *walking, size_t told_len)
{
	if (told_len == walking->path.len)
		return (const char *)walking->path.data;
	buf_reset(&walking->told);
	buf_add(&walking->told, walking->path.data, told_len);
	buf_add_u8(&walking->told, 0);
	return (const char *)walking->told.data;
}

static int tell(struct walking *walking, const struct level *level, bool in_b, const struct scan_name *name, const struct fate *fate)
{
	const struct half *half = in_b ? &level->b : &level->a;
	bool too_deep = walking->path.len > DIFF_PATH_MAX;
	struct diff_name told = {
		.fate = fate->kept ? DIFF_KEPT : in_b ? DIFF_GAINED : DIFF_LOST,
		.dir = half->dir,
		.partner_dir = half->partner,
		.name = name->name,
		.ino = name->ino,
		.partner = fate->partner,
		.type = name->type,
		.elsewhere = fate->elsewhere,
		.path = told_path(walking, too_deep ? level->told_len : walking->path.len),
		.too_deep = too_deep,
	};

	/* What is kept is met in both trees, and told of B's. */
	return fate->kept && !in_b ? 0 : walking->walk->each(walking->walk->arg, &told);
}

/* --- walking --- */

static const struct scan_name *named(const struct cursor *cursor, const char *name)
{
	const struct scan_name *at = cursor_at(cursor);

	return at && strcmp(at->name, name) == 0 ? at : NULL;
}

/* The name of the partner under which an own one is compared; NULL: there is none. */
static int counterpart(const struct level *level, bool in_b, const struct scan_name *own, const struct scan_name **ret_other)
{
	const struct half *half = in_b ? &level->b : &level->a;
	struct cursor *other = in_b ? &level->reading->other_b : &level->reading->other_a;
	int result = 0;

	if (half->same) {
		*ret_other = own;
	} else if (level->together) {
		*ret_other = named(in_b ? &level->reading->own_a : &level->reading->own_b, own->name);
	} else {
		while (result == 0 && cursor_at(other) && strcmp(cursor_at(other)->name, own->name) < 0)
			result = cursor_skip(other, cursor_at(other)->name);
		*ret_other = named(other, own->name);
	}
	return result;
}

/* One name of one tree; ret_below: the directory to go into. */
static int look_at(struct walking *walking, const struct level *level, bool in_b, const struct scan_name *name, struct half *ret_below)
{
	const struct diff_sides *sides = walking->walk->sides;
	const struct scan_name *other;
	struct fate fate;
	int result = counterpart(level, in_b, name, &other);

	if (result == 0)
		result = find_fate(sides, in_b, name, other, &fate);
	if (result == 0)
		result = tell(walking, level, in_b, name, &fate);
	if (result == 0)
		result = wants(walking->walk, in_b, name, &fate);
	if (result == 1)
		*ret_below = (struct half){.dir = name->ino, .partner = fate.partner};
	return result == 1 ? 0 : result;
}

/* The next name at the level, of A, of B or of both; goes past it, and into what it stands for. 0 also at the end: then the level is gone. */
static int step(struct walking *walking)
{
	struct level *level = array_last(&walking->levels), below = {0};
	const struct scan_name *in_a = cursor_at(&level->reading->own_a);
	const struct scan_name *in_b = cursor_at(&level->reading->own_b);
	char name[NAME_LEN_MAX + 1];
	int order, result = 0;

	if (!in_a && !in_b) {
		level_close(level);
		walking->levels.count--;
		return 0;
	}
	order = !in_a ? 1 : !in_b ? -1 : strcmp(in_a->name, in_b->name);
	in_a = order > 0 ? NULL : in_a;
	in_b = order < 0 ? NULL : in_b;
	/* Both halves have the same entries, and only one was read. */
	if (level->together && level->a.same)
		in_a = in_b;
	snprintf(name, sizeof(name), "%s", in_a ? in_a->name : in_b->name);
	set_path(walking, level, name);
	if (in_a)
		result = look_at(walking, level, false, in_a, &below.a);
	if (result == 0 && in_b)
		result = look_at(walking, level, true, in_b, &below.b);
	if (result == 0)
		result = cursor_skip(&level->reading->own_a, name);
	if (result == 0)
		result = cursor_skip(&level->reading->own_b, name);
	if (result != 0 || (!below.a.dir && !below.b.dir))
		return result;
	below.path_len = walking->path.len;
	below.told_len = below.path_len > DIFF_PATH_MAX ? level->told_len : below.path_len;
	if (walking->levels.count > KEEP_DEPTH)
		level_close(level);
	return push(walking, below);
}

/* A level that gave up what it had read goes on behind the name below which the walk has been. */
static int go_on(struct walking *walking)
{
	struct level *level = array_last(&walking->levels);
	const char *after = (const char *)walking->path.data + level->path_len;
	AUTO_FREE char *name = NULL;
	size_t len;

	if (level->reading)
		return 0;
	after += *after == '/';
	len = strcspn(after, "/");
	name = xasprintf("%.*s", (int)len, after);
	return level_open(walking, level, name);
}

static int tell_root(struct walking *walking)
{
	const struct level above = {0};
	const struct scan_name root = {.name = "", .ino = ROOT_INO, .type = DT_DIR};
	const struct fate fate = {.kept = true, .partner = ROOT_INO};

	set_path(walking, &above, "");
	return tell(walking, &above, true, &root, &fate);
}

int diff_walk(const struct diff_walk *walk)
{
	struct walking walking = {.walk = walk};
	struct level top = {.a = {.dir = ROOT_INO, .partner = ROOT_INO}, .b = {.dir = ROOT_INO, .partner = ROOT_INO}};
	int result = tell_root(&walking);

	if (result == 0)
		result = push(&walking, top);
	while (result == 0 && walking.levels.count > 0) {
		result = walking.steps++ % 256 == 0 && diff_cancelled(walk->sides) ? -ECANCELED : go_on(&walking);
		if (result == 0)
			result = step(&walking);
	}
	for (size_t i = 0; i < walking.levels.count; i++)
		level_close(&walking.levels.items[i]);
	array_clear(&walking.levels);
	buf_clear(&walking.path);
	buf_clear(&walking.told);
	return result;
}
