/*
 * Differences of two trees.
 *
 * Two inodes, one of A and one of B, are *the same* when they have the same number in one family (inode numbers are never used twice).
 * A *slot* is a name in a directory of A together with that name in the directory of B which is its partner: the same one, or one that
 * stands in its place. What two unlike inodes of one type in a slot stand for is the same thing made anew (a file written beside and
 * renamed over the old one, a directory removed and copied again), provided that neither is elsewhere in the other tree: they are
 * partners, too, and compared. The roots are partners. All else that a slot has in A only is a name lost, in B only a name gained:
 *
 *   an inode of both trees     its lost and gained names, each in path order, are paired: renamed. What is left over is removed or added
 *   an inode of one tree only  removed or added; a directory with all that is in it
 *
 * The trees are walked twice (diff_walk.h). The first time names lost and gained by inodes of both trees are noted, and which directories'
 * entries differ; then renames are known (diff_moves.h). The second time everything is compared and told. What the first walk notes is
 * kept in maps that go to a file when they grow (lib/base/spill.h); nothing else grows with the number of differences.
 *
 * With the touched index (diff_touched.h) only those directories are walked at or below which something is touched. A changed file whose
 * names were not all met that way (a hard link elsewhere) makes that all of B is walked for names.
 */
#include "lib/history/diff.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/history/diff_moves.h"

#define MAPS 9 /* that share options.memory */

struct diff {
	struct diff_sides sides;
	struct diff_touched touched;
	struct diff_moves moves;
	struct spill *differ;     /* directories of B with entries that their partners do not have, or the other way round */
	uint64_t last_differ;     /* noted last */
	struct spill *verdicts;   /* of inodes with several names that were compared: number -> content u8, metadata u8 */
	uint64_t names;           /* of changed files that were met */
	bool all_of_b;
	size_t memory;            /* of each map */
	struct range_list ranges;
	struct buf old_path;
	int (*each)(void *arg, const struct diff_entry *entry);
	void *arg;
};

/* --- the first walk --- */

static int note_differ(struct diff *diff, uint64_t dir)
{
	if (dir == 0 || dir == diff->last_differ)
		return 0;
	diff->last_differ = dir;
	return spill_add(diff->differ, dir);
}

/* 1: the name is one of a file that changed. */
static int is_changed_file(struct diff *diff, const struct diff_name *name)
{
	if (!diff->sides.by_touched || name->fate == DIFF_LOST || name->type == DT_DIR)
		return 0;
	return spill_has(diff->touched.files, name->ino);
}

static int collect(void *arg, const struct diff_name *name)
{
	struct diff *diff = arg;
	bool unlike = name->fate == DIFF_KEPT && (!diff->sides.one_family || name->partner != name->ino);
	int result = is_changed_file(diff, name);

	if (result < 0)
		return result;
	diff->names += (uint64_t)result;
	result = 0;
	if (name->fate == DIFF_LOST)
		result = note_differ(diff, name->partner_dir);
	else if (name->fate == DIFF_GAINED || unlike)
		result = note_differ(diff, name->dir);
	return result == 0 && name->elsewhere ? diff_moves_note(&diff->moves, name) : result;
}

static int walk(struct diff *diff, int (*each)(void *arg, const struct diff_name *name))
{
	const struct diff_walk plan = {
		.sides = &diff->sides,
		.touched = diff->sides.by_touched ? &diff->touched : NULL,
		.all_of_b = diff->all_of_b,
		.each = each,
		.arg = diff,
	};

	return diff_walk(&plan);
}

static int collect_all(struct diff *diff)
{
	diff_moves_clear(&diff->moves);
	diff_moves_init(&diff->moves, diff->memory);
	spill_free(diff->differ);
	diff->differ = spill_new(diff->memory);
	diff->last_differ = diff->names = 0;
	return walk(diff, collect);
}

/* --- the second walk --- */

static int find_ranges(struct diff *diff, const struct scan_inode *a, const struct scan_inode *b)
{
	const struct content_pair pair = diff_contents(&diff->sides, a, b);
	bool differs;

	if (!(diff->sides.options->flags & DIFF_CONTENT) || !S_ISREG(b->record.mode))
		return 0;
	return content_differs(&pair, &diff->ranges, &differs);
}

static int give(struct diff *diff, struct diff_entry *entry, const struct scan_inode *a, const struct scan_inode *b)
{
	struct attr attr_a, attr_b;
	int result = 0;

	if (a)
		attr_a = scan_attr(a);
	if (b)
		attr_b = scan_attr(b);
	entry->a = a ? &attr_a : NULL;
	entry->b = b ? &attr_b : NULL;
	array_reset(&diff->ranges);
	if (entry->content_changed)
		result = find_ranges(diff, a, b);
	entry->ranges = diff->ranges.items;
	entry->range_count = diff->ranges.count;
	return result < 0 ? result : diff->each(diff->arg, entry);
}

/* A name that only one tree has. */
static int tell_single(struct diff *diff, const struct diff_name *name)
{
	bool in_b = name->fate == DIFF_GAINED;
	const struct scan *scan = in_b ? &diff->sides.b : &diff->sides.a;
	struct diff_entry entry = {.kind = in_b ? DIFF_ADDED : DIFF_REMOVED, .path = name->path, .too_deep = name->too_deep};
	struct scan_inode inode;
	int result = scan_named_inode(scan, name->ino, &inode);

	/* In a tree that nobody changes every entry has its inode. */
	if (result == -ENOENT)
		return view_read_only(scan->view) ? -EIO : 0;
	if (result < 0)
		return result;
	result = give(diff, &entry, in_b ? NULL : &inode, in_b ? &inode : NULL);
	scan_inode_clear(&inode);
	return result;
}

/* As diff_compare. An inode with several names is compared once. */
static int compare_once(struct diff *diff, const struct scan_inode *a, const struct scan_inode *b, bool entries_differ,
			struct diff_verdict *verdict)
{
	bool several = a->ino == b->ino && !S_ISDIR(b->record.mode) && b->record.nlink > 1;
	const uint64_t key = b->ino;
	AUTO_BUF known = BUF_INIT;
	int result = several ? spill_get(diff->verdicts, &key, sizeof(key), &known) : -ENOENT;

	if (result == 0) {
		*verdict = (struct diff_verdict){.content = known.data[0], .metadata = known.data[1]};
		return 0;
	}
	if (result == -ENOENT)
		result = diff_compare(&diff->sides, a, b, entries_differ, verdict);
	if (result == 0 && several) {
		const uint8_t value[] = {verdict->content, verdict->metadata};
		result = spill_put(diff->verdicts, &key, sizeof(key), value, sizeof(value));
	}
	return result;
}

static int tell_renamed(struct diff *diff, const struct diff_name *name, bool old_too_deep)
{
	struct diff_entry entry = {
		.kind = DIFF_RENAMED,
		.path = name->path,
		.too_deep = name->too_deep,
		.old_path = (const char *)diff->old_path.data,
		.old_too_deep = old_too_deep,
	};
	struct diff_verdict verdict;
	struct scan_inode a, b;
	int result = diff_load_both(&diff->sides, name->ino, name->ino, &a, &b);

	if (result < 0)
		return result == -ENOENT ? 0 : result;
	/* A directory's own changes are not told beside its new name. */
	result = compare_once(diff, &a, &b, S_ISDIR(b.record.mode), &verdict);
	if (result == 0) {
		entry.content_changed = verdict.content;
		result = give(diff, &entry, &a, &b);
	}
	scan_inode_clear(&a);
	scan_inode_clear(&b);
	return result;
}

static int tell_kept(struct diff *diff, const struct diff_name *name)
{
	struct diff_entry entry = {.path = name->path, .too_deep = name->too_deep};
	struct diff_verdict verdict = {0};
	struct scan_inode a, b;
	int differ = name->type == DT_DIR ? spill_has(diff->differ, name->ino) : 0;
	int result = differ < 0 ? differ : diff_load_both(&diff->sides, name->partner, name->ino, &a, &b);

	if (result < 0)
		return result == -ENOENT ? 0 : result;
	result = compare_once(diff, &a, &b, differ, &verdict);
	if (result == 0 && (verdict.content || verdict.metadata)) {
		entry.kind = verdict.content ? DIFF_MODIFIED : DIFF_METADATA;
		entry.content_changed = verdict.content;
		result = give(diff, &entry, &a, &b);
	}
	scan_inode_clear(&a);
	scan_inode_clear(&b);
	return result;
}

/* 0: both are the same, by the touched index. */
static int may_differ(struct diff *diff, const struct diff_name *name)
{
	if (!diff->sides.by_touched || name->partner != name->ino)
		return 1;
	return spill_has(name->type == DT_DIR ? diff->touched.dirs : diff->touched.files, name->ino);
}

static int tell(void *arg, const struct diff_name *name)
{
	struct diff *diff = arg;
	bool old_too_deep = false;
	int result;

	if (name->fate == DIFF_KEPT) {
		result = may_differ(diff, name);
		return result == 1 ? tell_kept(diff, name) : result;
	}
	result = name->elsewhere ? diff_moves_find(&diff->moves, name, &diff->old_path, &old_too_deep) : 0;
	if (result < 0)
		return result;
	if (result == 0)
		return tell_single(diff, name);
	return name->fate == DIFF_LOST ? 0 : tell_renamed(diff, name, old_too_deep);
}

/* --- both --- */

static int run(struct diff *diff)
{
	int result = 0;

	if (diff->sides.by_touched)
		result = diff_touched_read(&diff->sides, diff->memory, &diff->touched);
	if (result == 0)
		result = collect_all(diff);
	if (result == 0 && diff->sides.by_touched && diff->names < diff->touched.names) {
		diff->all_of_b = true;
		result = collect_all(diff);
	}
	if (result == 0)
		result = diff_moves_pair(&diff->moves);
	return result == 0 ? walk(diff, tell) : result;
}

int diff_views(struct store *store, struct view *a, struct view *b, const struct diff_options *options,
	       int (*each)(void *arg, const struct diff_entry *entry), void *arg)
{
	bool one_family = view_family(a) == view_family(b);
	struct diff diff = {
		.sides = {
			.chunks = store_chunks(store),
			.one_family = one_family,
			.by_touched = one_family && !(options->flags & DIFF_FULL_WALK),
			.options = options,
		},
		.memory = (options->memory ? options->memory : DIFF_MEMORY) / MAPS,
		.each = each,
		.arg = arg,
	};
	int result;

	scan_of_view(&diff.sides.a, a);
	scan_of_view(&diff.sides.b, b);
	diff.verdicts = spill_new(diff.memory);
	result = run(&diff);
	diff_touched_clear(&diff.touched);
	diff_moves_clear(&diff.moves);
	spill_free(diff.differ);
	spill_free(diff.verdicts);
	array_clear(&diff.ranges);
	buf_clear(&diff.old_path);
	scan_clear(&diff.sides.a);
	scan_clear(&diff.sides.b);
	return result;
}
