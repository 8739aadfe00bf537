/* Differences that were found, with their paths and in their order. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/history/content_diff.h"
#include "lib/history/diff_parts.h"
#include "lib/history/paths.h"

/* --- names of what changed in place --- */

static int by_place(const void *a, const void *b)
{
	const struct moved *left = a, *right = b;

	if (left->ino != right->ino)
		return left->ino < right->ino ? -1 : 1;
	if (left->place.dir != right->place.dir)
		return left->place.dir < right->place.dir ? -1 : 1;
	return left->place.name && right->place.name ? strcmp(left->place.name, right->place.name) : 0;
}

static int by_ino(const void *a, const void *b)
{
	uint64_t left = ((const struct moved *)a)->ino, right = ((const struct moved *)b)->ino;

	return left < right ? -1 : left > right;
}

static void found_name(void *arg, uint64_t ino, uint64_t dir, const char *name)
{
	struct diff *diff = arg;
	struct moved wanted = {.ino = ino, .place = {dir, (char *)name}};
	struct changed *changed;

	if (diff->gained.count > 0 && bsearch(&wanted, diff->gained.items, diff->gained.count, sizeof(wanted), by_place))
		return;
	HASH_FIND(hh, diff->changed, &ino, sizeof(ino), changed);
	struct item *item = diff_add_item(diff, changed->content ? DIFF_MODIFIED : DIFF_METADATA);
	item->b = diff_place(dir, name);
	item->ino_a = item->ino_b = ino;
	item->attr_a = diff_keep_attr(changed->a);
	item->attr_b = diff_keep_attr(changed->b);
	item->content_changed = changed->content;
}

static int name_changed(struct diff *diff)
{
	size_t count = 0;
	AUTO_FREE struct wanted_file *files = xcalloc(HASH_COUNT(diff->changed) + 1UL, sizeof(*files));
	struct changed *changed;

	for (changed = diff->changed; changed; changed = changed->hh.next)
		files[count++] = (struct wanted_file){.ino = changed->ino, .hint = changed->hint, .nlink = changed->b.nlink};
	return paths_find_names(&diff->b, files, count, found_name, diff);
}

/* A directory that was renamed is told as that; by the touched index its own changes were noted before that was known. */
static void drop_moved_dirs(struct diff *diff)
{
	size_t kept = 0;

	for (size_t i = 0; i < diff->count; i++) {
		struct item *item = &diff->items[i];
		struct moved wanted = {.ino = item->ino_b};
		bool is_dir_itself = item->b.dir != 0 && !item->b.name && diff->one_family && item->ino_a == item->ino_b;
		if (is_dir_itself && diff->gained.count > 0 &&
		    bsearch(&wanted, diff->gained.items, diff->gained.count, sizeof(wanted), by_ino)) {
			free(item->attr_a);
			free(item->attr_b);
			continue;
		}
		diff->items[kept++] = *item;
	}
	diff->count = kept;
}

/* --- paths --- */

static int find_paths(struct diff *diff, struct paths *in_a, struct paths *in_b)
{
	int result;

	for (size_t i = 0; i < diff->lost.count; i++)
		paths_want(in_a, diff->lost.items[i].place.dir);
	for (size_t i = 0; i < diff->gained.count; i++)
		paths_want(in_b, diff->gained.items[i].place.dir);
	for (size_t i = 0; i < diff->count; i++) {
		if (diff->items[i].kind == DIFF_REMOVED)
			paths_want(in_a, diff->items[i].a.dir);
		else
			paths_want(in_b, diff->items[i].b.dir);
	}
	result = paths_resolve(in_a);
	return result < 0 ? result : paths_resolve(in_b);
}

static char *path_at(struct paths *paths, const struct place *place)
{
	const char *dir;

	if (place->name)
		return paths_join(paths, place->dir, place->name);
	dir = paths_of(paths, place->dir);
	return dir ? xstrdup(dir) : NULL;
}

/* Paths as people sort them: what is in a directory comes right after it. */
static int compare_paths(const char *a, const char *b)
{
	for (; *a && *a == *b; a++, b++)
		;
	if (*a == *b)
		return 0;
	if (!*a || !*b)
		return *a ? 1 : -1;
	if (*a == '/' || *b == '/')
		return *a == '/' ? -1 : 1;
	return (unsigned char)*a < (unsigned char)*b ? -1 : 1;
}

static int by_ino_and_path(const void *a, const void *b)
{
	const struct moved *left = a, *right = b;

	if (left->ino != right->ino)
		return left->ino < right->ino ? -1 : 1;
	return compare_paths(left->path, right->path);
}

static int by_path(const void *a, const void *b)
{
	const struct item *left = a, *right = b;
	int order = compare_paths(left->path, right->path);

	if (order != 0)
		return order;
	/* a name that stands for something else: first what went */
	return (right->kind == DIFF_REMOVED) - (left->kind == DIFF_REMOVED);
}

/* A name without a path was lost or gained while we looked, in a head: gone. */
static void path_moved(struct moved_list *list, struct paths *paths)
{
	size_t kept = 0;

	for (size_t i = 0; i < list->count; i++) {
		struct moved *moved = &list->items[i];
		moved->path = path_at(paths, &moved->place);
		if (moved->path)
			list->items[kept++] = *moved;
		else
			free(moved->place.name);
	}
	list->count = kept;
	if (kept > 0)
		qsort(list->items, kept, sizeof(*list->items), by_ino_and_path);
}

static int report_moved(struct diff *diff, struct moved *lost, struct moved *gained)
{
	struct scan_inode a = {0}, b = {0};
	struct verdict verdict = {0};
	struct moved *named = gained ? gained : lost;
	enum diff_kind kind = lost && gained ? DIFF_RENAMED : lost ? DIFF_REMOVED : DIFF_ADDED;
	int result = lost ? scan_named_inode(&diff->a, lost->ino, &a) : 0;

	if (result == 0 && gained)
		result = scan_named_inode(&diff->b, gained->ino, &b);
	if (result == 0 && kind == DIFF_RENAMED)
		result = diff_compare(diff, &a, &b, true, &verdict);
	if (result == 0) {
		struct item *item = diff_add_item(diff, kind);
		item->ino_a = lost ? lost->ino : 0;
		item->ino_b = gained ? gained->ino : 0;
		item->attr_a = lost ? diff_keep_attr(scan_attr(&a)) : NULL;
		item->attr_b = gained ? diff_keep_attr(scan_attr(&b)) : NULL;
		item->content_changed = verdict.content;
		item->path = steal_ptr(named->path);
		item->old_path = kind == DIFF_RENAMED ? steal_ptr(lost->path) : NULL;
	}
	scan_inode_clear(&a);
	scan_inode_clear(&b);
	return result == -ENOENT ? 0 : result;
}

static int pair_moved(struct diff *diff)
{
	struct moved *lost = diff->lost.items, *gained = diff->gained.items;
	struct moved *lost_end = lost + diff->lost.count, *gained_end = gained + diff->gained.count;
	int result = 0;

	while ((lost < lost_end || gained < gained_end) && result == 0) {
		bool is_lost = lost < lost_end && (gained == gained_end || lost->ino <= gained->ino);
		bool is_gained = gained < gained_end && (lost == lost_end || gained->ino <= lost->ino);
		result = report_moved(diff, is_lost ? lost : NULL, is_gained ? gained : NULL);
		lost += is_lost;
		gained += is_gained;
	}
	return result;
}

/* Gives every item its path and puts them in order. */
static int settle_paths(struct diff *diff)
{
	struct paths *in_a = paths_new(&diff->a), *in_b = paths_new(&diff->b);
	int result = find_paths(diff, in_a, in_b);
	size_t kept = 0, count = diff->count;

	for (size_t i = 0; i < count && result == 0; i++) {
		struct item *item = &diff->items[i];
		bool removed = item->kind == DIFF_REMOVED;
		item->path = path_at(removed ? in_a : in_b, removed ? &item->a : &item->b);
	}
	if (result == 0) {
		path_moved(&diff->lost, in_a);
		path_moved(&diff->gained, in_b);
		result = pair_moved(diff);
	}
	for (size_t i = 0; i < diff->count && result == 0; i++) {
		if (diff->items[i].path) {
			struct item swap = diff->items[kept];
			diff->items[kept++] = diff->items[i];
			diff->items[i] = swap;
		}
	}
	if (result == 0 && kept > 0)
		qsort(diff->items, kept, sizeof(*diff->items), by_path);
	paths_free(in_a);
	paths_free(in_b);
	return result;
}

int diff_name_all(struct diff *diff)
{
	int result;

	if (diff->gained.count > 0)
		qsort(diff->gained.items, diff->gained.count, sizeof(*diff->gained.items), by_place);
	drop_moved_dirs(diff);
	result = name_changed(diff);
	return result < 0 ? result : settle_paths(diff);
}

/* --- telling --- */

static int find_ranges(struct diff *diff, const struct item *item, struct range_list *ranges)
{
	struct scan_inode a, b;
	bool differs;
	int result = diff_load_both(diff, item->ino_a, item->ino_b, &a, &b);

	if (result < 0)
		return result == -ENOENT ? 0 : result;
	result = content_differs(diff->chunks, &diff->a, &a, &diff->b, &b, ranges, &differs);
	scan_inode_clear(&a);
	scan_inode_clear(&b);
	return result;
}

int diff_tell(struct diff *diff, int (*each)(void *arg, const struct diff_entry *entry), void *arg)
{
	struct range_list ranges = {0};
	int result = 0;

	for (size_t i = 0; i < diff->count && diff->items[i].path && result == 0; i++) {
		const struct item *item = &diff->items[i];
		struct diff_entry entry = {
			.kind = item->kind,
			.path = item->path,
			.old_path = item->old_path,
			.a = item->attr_a,
			.b = item->attr_b,
			.content_changed = item->content_changed,
		};
		ranges.count = 0;
		if ((diff->flags & DIFF_CONTENT) && item->content_changed && S_ISREG(item->attr_b->mode))
			result = find_ranges(diff, item, &ranges);
		entry.ranges = ranges.items;
		entry.range_count = ranges.count;
		if (result == 0)
			result = each(arg, &entry);
	}
	free(ranges.items);
	return result;
}
