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
 * Which directories are compared: by a full walk all partners from the roots on. With the touched index (I7) only those of which a record
 * was written in an epoch that one line has and the other does not, and partners which are unlike. That finds everything: the entries of
 * a directory differ only if a version of one was written in such an epoch, and with it the directory's record; likewise for
 * attributes and content of inodes.
 */
#include "lib/history/diff_parts.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/history/content_diff.h"
#include "lib/tree/records/touched.h"

/* --- lists --- */

static void add_work(struct work *work, struct pair pair)
{
	if (work->count == work->cap) {
		work->cap = MAX(work->cap * 2, 64U);
		work->items = xrealloc(work->items, work->cap * sizeof(*work->items));
	}
	work->items[work->count++] = pair;
}

static void add_moved(struct moved_list *list, uint64_t ino, uint64_t dir, const char *name)
{
	if (list->count == list->cap) {
		list->cap = MAX(list->cap * 2, 64U);
		list->items = xrealloc(list->items, list->cap * sizeof(*list->items));
	}
	list->items[list->count++] = (struct moved){.ino = ino, .place = {dir, xstrdup(name)}};
}

struct item *diff_add_item(struct diff *diff, enum diff_kind kind)
{
	if (diff->count == diff->cap) {
		diff->cap = MAX(diff->cap * 2, 64U);
		diff->items = xrealloc(diff->items, diff->cap * sizeof(*diff->items));
	}
	diff->items[diff->count] = (struct item){.kind = kind};
	return &diff->items[diff->count++];
}

struct attr *diff_keep_attr(struct attr attr)
{
	struct attr *kept = xmalloc(sizeof(*kept));

	*kept = attr;
	return kept;
}

struct place diff_place(uint64_t dir, const char *name)
{
	return (struct place){dir, name ? xstrdup(name) : NULL};
}

/* --- comparing two inodes --- */

static int compare_content(struct diff *diff, const struct scan_inode *a, const struct scan_inode *b, bool *ret_differs)
{
	const struct inode_record *in_a = &a->record, *in_b = &b->record;

	if (S_ISREG(in_a->mode))
		return content_differs(diff->chunks, &diff->a, a, &diff->b, b, NULL, ret_differs);
	if (S_ISLNK(in_a->mode))
		*ret_differs = in_a->data_len != in_b->data_len || memcmp(in_a->data, in_b->data, in_a->data_len) != 0;
	else
		*ret_differs = !S_ISDIR(in_a->mode) && in_a->rdev != in_b->rdev;
	return 0;
}

static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* A directory's time follows its entries: with these it is no difference of its own. */
static int compare_metadata(struct diff *diff, const struct scan_inode *a, const struct scan_inode *b, bool entries_differ, bool *ret_differs)
{
	const struct inode_record *in_a = &a->record, *in_b = &b->record;
	AUTO_BUF xattrs_a = BUF_INIT, xattrs_b = BUF_INIT;
	int result;

	if (in_a->mode != in_b->mode || in_a->uid != in_b->uid || in_a->gid != in_b->gid ||
	    (!entries_differ && !same_time(in_a->mtime, in_b->mtime))) {
		*ret_differs = true;
		return 0;
	}
	result = scan_xattrs(&diff->a, a->ino, &xattrs_a);
	if (result == 0)
		result = scan_xattrs(&diff->b, b->ino, &xattrs_b);
	if (result == 0)
		*ret_differs = xattrs_a.len != xattrs_b.len || (xattrs_a.len > 0 && memcmp(xattrs_a.data, xattrs_b.data, xattrs_a.len) != 0);
	return result;
}

int diff_compare(struct diff *diff, const struct scan_inode *a, const struct scan_inode *b, bool entries_differ,
			  struct verdict *ret_verdict)
{
	struct verdict verdict = {0};
	int result;

	if (diff->by_touched && a->ino == b->ino && a->epoch == b->epoch) {
		*ret_verdict = verdict;
		return 0;
	}
	result = compare_content(diff, a, b, &verdict.content);
	if (result == 0)
		result = compare_metadata(diff, a, b, entries_differ, &verdict.metadata);
	if (result == 0)
		*ret_verdict = verdict;
	return result;
}

int diff_load_both(struct diff *diff, uint64_t ino_a, uint64_t ino_b, struct scan_inode *a, struct scan_inode *b)
{
	int result = scan_named_inode(&diff->a, ino_a, a);

	if (result < 0)
		return result;
	result = scan_named_inode(&diff->b, ino_b, b);
	if (result < 0)
		scan_inode_clear(a);
	return result;
}

/* Partners in one slot, or one inode under a name that stayed (name NULL: a directory). */
static int compare_slot(struct diff *diff, const struct pair *pair, uint64_t dir_a, uint64_t dir_b, const char *name, bool entries_differ)
{
	struct scan_inode a, b;
	struct verdict verdict = {0};
	int result = diff_load_both(diff, pair->a, pair->b, &a, &b);

	if (result < 0)
		return result == -ENOENT ? 0 : result;
	result = diff_compare(diff, &a, &b, entries_differ, &verdict);
	if (result == 0 && (verdict.content || verdict.metadata)) {
		struct item *item = diff_add_item(diff, verdict.content ? DIFF_MODIFIED : DIFF_METADATA);
		item->a = diff_place(dir_a, name);
		item->b = diff_place(dir_b, name);
		item->ino_a = pair->a;
		item->ino_b = pair->b;
		item->attr_a = diff_keep_attr(scan_attr(&a));
		item->attr_b = diff_keep_attr(scan_attr(&b));
		item->content_changed = verdict.content;
	}
	scan_inode_clear(&a);
	scan_inode_clear(&b);
	return result;
}

/* --- names lost and gained --- */

/* 1 or 0: whether the inode is in the other tree, too. */
static int is_in(const struct diff *diff, const struct scan *scan, uint64_t ino)
{
	struct scan_inode inode;
	int result = diff->one_family ? scan_named_inode(scan, ino, &inode) : -ENOENT;

	if (result < 0)
		return result == -ENOENT ? 0 : result;
	scan_inode_clear(&inode);
	return 1;
}

static int report_single(struct diff *diff, bool in_b, uint64_t dir, const struct scan_name *name)
{
	const struct scan *scan = in_b ? &diff->b : &diff->a;
	struct scan_inode inode;
	int result = scan_named_inode(scan, name->ino, &inode);

	/* In a tree that nobody changes every entry has its inode. */
	if (result == -ENOENT)
		return view_read_only(scan->view) ? -EIO : 0;
	if (result < 0)
		return result;
	struct item *item = diff_add_item(diff, in_b ? DIFF_ADDED : DIFF_REMOVED);
	*(in_b ? &item->b : &item->a) = diff_place(dir, name->name);
	*(in_b ? &item->attr_b : &item->attr_a) = diff_keep_attr(scan_attr(&inode));
	*(in_b ? &item->ino_b : &item->ino_a) = name->ino;
	scan_inode_clear(&inode);
	if (name->type == DT_DIR)
		add_work(in_b ? &diff->arrived : &diff->gone, (struct pair){.a = name->ino, .b = name->ino});
	return 0;
}

static int lose(struct diff *diff, uint64_t dir, const struct scan_name *name)
{
	int result = is_in(diff, &diff->b, name->ino);

	if (result == 0)
		return report_single(diff, false, dir, name);
	if (result > 0)
		add_moved(&diff->lost, name->ino, dir, name->name);
	return MIN(result, 0);
}

static int gain(struct diff *diff, uint64_t dir, const struct scan_name *name)
{
	int result = is_in(diff, &diff->a, name->ino);

	if (result == 0)
		return report_single(diff, true, dir, name);
	if (result < 0)
		return result;
	add_moved(&diff->gained, name->ino, dir, name->name);
	if (name->type == DT_DIR && !diff->by_touched)
		add_work(&diff->pairs, (struct pair){.a = name->ino, .b = name->ino});
	return 0;
}

/* All that is in a directory of one scan, which has no partner. */
static int list_single(struct diff *diff, bool in_b, uint64_t dir)
{
	struct scan_list list;
	int result = scan_list(in_b ? &diff->b : &diff->a, dir, &list);

	if (result < 0)
		return result;
	for (size_t i = 0; i < list.count && result == 0; i++)
		result = in_b ? gain(diff, dir, &list.items[i]) : lose(diff, dir, &list.items[i]);
	scan_list_clear(&list);
	return result;
}

/* --- directories --- */

static int both_names(struct diff *diff, const struct pair *dirs, const struct scan_name *a, const struct scan_name *b, bool *differ)
{
	struct pair pair = {.a = a->ino, .b = b->ino, .same_name = true};
	int elsewhere;

	if (diff->one_family && a->ino == b->ino) {
		if (diff->by_touched)
			return 0;
		if (a->type == DT_DIR) {
			add_work(&diff->pairs, pair);
			return 0;
		}
		return compare_slot(diff, &pair, dirs->a, dirs->b, a->name, false);
	}
	*differ = true;
	elsewhere = a->type == b->type ? is_in(diff, &diff->b, a->ino) : 1;
	if (elsewhere == 0)
		elsewhere = is_in(diff, &diff->a, b->ino);
	if (elsewhere < 0)
		return elsewhere;
	if (elsewhere > 0) {
		int result = lose(diff, dirs->a, a);
		return result < 0 ? result : gain(diff, dirs->b, b);
	}
	if (a->type == DT_DIR) {
		add_work(&diff->pairs, pair);
		return 0;
	}
	return compare_slot(diff, &pair, dirs->a, dirs->b, a->name, false);
}

static int compare_lists(struct diff *diff, const struct pair *dirs, const struct scan_list *in_a, const struct scan_list *in_b, bool *differ)
{
	size_t a = 0, b = 0;
	int result = 0;

	while ((a < in_a->count || b < in_b->count) && result == 0) {
		int order = a == in_a->count ? 1 : b == in_b->count ? -1 : strcmp(in_a->items[a].name, in_b->items[b].name);
		if (order != 0)
			*differ = true;
		if (order == 0)
			result = both_names(diff, dirs, &in_a->items[a++], &in_b->items[b++], differ);
		else if (order < 0)
			result = lose(diff, dirs->a, &in_a->items[a++]);
		else
			result = gain(diff, dirs->b, &in_b->items[b++]);
	}
	return result;
}

static int compare_dirs(struct diff *diff, const struct pair *dirs)
{
	struct scan_list in_a = {0}, in_b = {0};
	bool differ = false;
	int result = scan_list(&diff->a, dirs->a, &in_a);

	if (result == 0)
		result = scan_list(&diff->b, dirs->b, &in_b);
	if (result == 0)
		result = compare_lists(diff, dirs, &in_a, &in_b, &differ);
	if (result == 0 && dirs->same_name)
		result = compare_slot(diff, dirs, dirs->a, dirs->b, NULL, differ);
	scan_list_clear(&in_a);
	scan_list_clear(&in_b);
	return result;
}

/* --- the touched index --- */

struct touched_inos {
	ARRAY_FIELDS(uint64_t);
};

static int add_touched(void *arg, struct touched_place place)
{
	struct touched_inos *touched = arg;

	array_add(touched, place.ino);
	return 0;
}

static int read_touched(struct diff *diff, const struct line *line, struct touched_inos *touched)
{
	int result = touched_each_of_line(diff->a.tree, diff->a.family, line, add_touched, touched);

	return result == -EBADMSG ? -EIO : result;
}

static int by_number(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return left < right ? -1 : left > right;
}

/* An inode of both trees with a record written on the way from one to the other. */
static int compare_touched(struct diff *diff, uint64_t ino)
{
	struct scan_inode a, b;
	struct verdict verdict = {0};
	int result = diff_load_both(diff, ino, ino, &a, &b);

	if (result < 0)
		return result == -ENOENT ? 0 : result;
	if (S_ISDIR(a.record.mode)) {
		if (a.epoch != b.epoch)
			add_work(&diff->pairs, (struct pair){.a = ino, .b = ino, .same_name = true});
	} else {
		result = diff_compare(diff, &a, &b, false, &verdict);
	}
	if (result == 0 && (verdict.content || verdict.metadata)) {
		struct changed *changed = xcalloc(1, sizeof(*changed));
		*changed = (struct changed){.ino = ino, .content = verdict.content, .hint = b.record.parent};
		changed->a = scan_attr(&a);
		changed->b = scan_attr(&b);
		HASH_ADD(hh, diff->changed, ino, sizeof(changed->ino), changed);
	}
	scan_inode_clear(&a);
	scan_inode_clear(&b);
	return result;
}

static int seed_touched(struct diff *diff)
{
	struct line only_a = line_minus(&diff->a.line, &diff->b.line), only_b = line_minus(&diff->b.line, &diff->a.line);
	struct touched_inos touched = {0};
	int result = read_touched(diff, &only_a, &touched);

	if (result == 0)
		result = read_touched(diff, &only_b, &touched);
	if (touched.count > 0)
		qsort(touched.items, touched.count, sizeof(*touched.items), by_number);
	for (size_t i = 0; i < touched.count && result == 0; i++)
		if (i == 0 || touched.items[i] != touched.items[i - 1])
			result = compare_touched(diff, touched.items[i]);
	array_clear(&touched);
	line_clear(&only_a);
	line_clear(&only_b);
	return result;
}

static int drain(struct diff *diff)
{
	int result = 0;

	while (result == 0) {
		if (diff->pairs.count > 0) {
			struct pair pair = diff->pairs.items[--diff->pairs.count];
			result = compare_dirs(diff, &pair);
		} else if (diff->gone.count > 0) {
			result = list_single(diff, false, diff->gone.items[--diff->gone.count].a);
		} else if (diff->arrived.count > 0) {
			result = list_single(diff, true, diff->arrived.items[--diff->arrived.count].b);
		} else {
			break;
		}
	}
	return result;
}

static void clear_moved(struct moved_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		free(list->items[i].place.name);
		free(list->items[i].path);
	}
	free(list->items);
}

static void diff_clear(struct diff *diff)
{
	struct changed *changed, *next;

	HASH_ITER (hh, diff->changed, changed, next) {
		HASH_DEL(diff->changed, changed);
		free(changed);
	}
	for (size_t i = 0; i < diff->count; i++) {
		struct item *item = &diff->items[i];
		free(item->a.name);
		free(item->b.name);
		free(item->path);
		free(item->old_path);
		free(item->attr_a);
		free(item->attr_b);
	}
	free(diff->items);
	clear_moved(&diff->lost);
	clear_moved(&diff->gained);
	free(diff->pairs.items);
	free(diff->gone.items);
	free(diff->arrived.items);
	scan_clear(&diff->a);
	scan_clear(&diff->b);
}

int diff_views(struct store *store, struct view *a, struct view *b, unsigned flags, int (*each)(void *arg, const struct diff_entry *entry),
	       void *arg)
{
	struct diff diff = {.chunks = store_chunks(store), .flags = flags, .one_family = view_family(a) == view_family(b)};
	int result = 0;

	diff.by_touched = diff.one_family && !(flags & DIFF_FULL_WALK);
	scan_of_view(&diff.a, a);
	scan_of_view(&diff.b, b);
	if (diff.by_touched)
		result = seed_touched(&diff);
	else
		add_work(&diff.pairs, (struct pair){.a = ROOT_INO, .b = ROOT_INO, .same_name = true});
	if (result == 0)
		result = drain(&diff);
	if (result == 0)
		result = diff_name_all(&diff);
	if (result == 0)
		result = diff_tell(&diff, each, arg);
	diff_clear(&diff);
	return result;
}
