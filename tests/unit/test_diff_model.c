/*
 * Differences against a model: random operations on a dataset with snapshots, rollbacks and a clone; each pair of views is then compared
 * by lib/history/diff.c, by the touched index and by a full walk, with much memory and with little, and by what is written here: both trees
 * read whole, then the rules of diff.c's head applied to plain lists of paths.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/diff_store.h"
#include "tests/unit/random_changes.h"

/* --- the rules, on plain lists --- */

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static bool has_ino(const struct tree_list *list, uint64_t ino)
{
	for (int i = 0; i < list->count; i++)
		if (list->objects[i].attr.ino == ino)
			return true;
	return false;
}

/* The directory of B that is this directory of A's partner; -1. */
static int partner_dir(const struct tree_list *b, const struct object *dir, bool family)
{
	for (int i = 0; family && i < b->count; i++)
		if (b->objects[i].attr.ino == dir->attr.ino)
			return i;
	return dir->partner;
}

/* Parents come before children in both lists, except that a directory's partner by number may lie anywhere: so till nothing changes. */
static void find_partners(struct tree_list *a, struct tree_list *b, bool family)
{
	bool changed = true;

	a->objects[0].partner = b->objects[0].partner = 0;
	while (changed) {
		changed = false;
		for (int i = 1; i < a->count; i++) {
			struct object *object = &a->objects[i];
			int dir = object->partner < 0 ? partner_dir(b, &a->objects[object->parent], family) : -1;
			for (int k = 1; k < b->count && dir >= 0; k++) {
				struct object *other = &b->objects[k];
				if (other->parent != dir || strcmp(base_name(other->path), base_name(object->path)) != 0)
					continue;
				bool same = family && other->attr.ino == object->attr.ino;
				bool alike = (other->attr.mode & S_IFMT) == (object->attr.mode & S_IFMT) &&
					     !(family && (has_ino(b, object->attr.ino) || has_ino(a, other->attr.ino)));
				if (same || alike) {
					object->partner = k;
					other->partner = i;
					changed = true;
				}
			}
		}
	}
}

static bool same_buf(const struct buf *a, const struct buf *b)
{
	return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

static bool same_content(const struct object *a, const struct object *b)
{
	return same_buf(&a->content, &b->content) && a->attr.rdev == b->attr.rdev;
}

/* Whether a slot of the directories differs: by name or by what stands there. */
static bool entries_differ(const struct tree_list *a, int dir_a, const struct tree_list *b, int dir_b, bool family)
{
	int in_a = 0, in_b = 0;

	for (int i = 1; i < a->count; i++) {
		if (a->objects[i].parent != dir_a)
			continue;
		in_a++;
		int partner = a->objects[i].partner;
		if (partner < 0 || b->objects[partner].parent != dir_b || !family ||
		    a->objects[i].attr.ino != b->objects[partner].attr.ino)
			return true;
	}
	for (int i = 1; i < b->count; i++)
		in_b += b->objects[i].parent == dir_b;
	return in_a != in_b;
}

static void expect_same_slot(struct outcome *outcome, const struct tree_list *a, int i, const struct tree_list *b, int k, bool family)
{
	const struct object *in_a = &a->objects[i], *in_b = &b->objects[k];
	bool times = !S_ISDIR(in_a->attr.mode) || !entries_differ(a, i, b, k, family);
	bool same = in_a->attr.mode == in_b->attr.mode && in_a->attr.uid == in_b->attr.uid && in_a->attr.gid == in_b->attr.gid &&
		    same_buf(&in_a->xattrs, &in_b->xattrs);

	if (times)
		same = same && memcmp(&in_a->attr.mtime, &in_b->attr.mtime, sizeof(in_a->attr.mtime)) == 0;
	if (!same_content(in_a, in_b))
		array_add(outcome, xasprintf("M %s", in_b->path));
	else if (!same)
		array_add(outcome, xasprintf("m %s", in_b->path));
}

/* The path of the next lost or gained name of an inode, in the order of paths, and marks it as dealt with. */
static struct object *take_moved(struct tree_list *list, uint64_t ino)
{
	struct object *best = NULL;

	for (int i = 1; i < list->count; i++) {
		struct object *object = &list->objects[i];
		if (!object->lost || object->attr.ino != ino)
			continue;
		if (!best || strcmp(object->path, best->path) < 0)
			best = object;
	}
	if (best)
		best->lost = false;
	return best;
}

static void expect_moves(struct outcome *outcome, struct tree_list *a, struct tree_list *b, bool family)
{
	for (int i = 1; i < a->count; i++)
		a->objects[i].lost = a->objects[i].partner < 0;
	for (int i = 1; i < b->count; i++)
		b->objects[i].lost = b->objects[i].partner < 0;
	for (int i = 1; i < a->count; i++) {
		uint64_t ino = a->objects[i].attr.ino;
		while (a->objects[i].lost) {
			struct object *from = take_moved(a, ino), *to = family ? take_moved(b, ino) : NULL;
			if (to)
				array_add(outcome, xasprintf("R %s -> %s%s", from->path, to->path, same_content(from, to) ? "" : " M"));
			else
				array_add(outcome, xasprintf("- %s", from->path));
		}
	}
	for (int i = 1; i < b->count; i++)
		if (b->objects[i].lost)
			array_add(outcome, xasprintf("+ %s", b->objects[i].path));
}

static void expect(struct outcome *outcome, struct tree_list *a, struct tree_list *b, bool family)
{
	find_partners(a, b, family);
	for (int i = 0; i < a->count; i++)
		if (a->objects[i].partner >= 0)
			expect_same_slot(outcome, a, i, b, a->objects[i].partner, family);
	expect_moves(outcome, a, b, family);
}

static int compare_lines(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool same_outcome(const struct outcome *wanted, const struct outcome *got)
{
	bool same = wanted->count == got->count;

	for (size_t i = 0; same && i < wanted->count; i++)
		same = strcmp(wanted->items[i], got->items[i]) == 0;
	for (size_t i = 0; !same && i < MAX(wanted->count, got->count); i++)
		print_error("%-50s | %s\n", i < wanted->count ? wanted->items[i] : "", i < got->count ? got->items[i] : "");
	return same;
}

static void sort_lines(struct outcome *outcome)
{
	if (outcome->count > 0)
		qsort(outcome->items, outcome->count, sizeof(char *), compare_lines);
}

static void check_views(struct store *store, struct view *view_a, struct view *view_b, size_t memory)
{
	struct tree_list a, b;
	struct outcome wanted = {0};

	assert_int_equal(view_read_only(view_a) ? 0 : view_sync(view_a), 0);
	assert_int_equal(view_read_only(view_b) ? 0 : view_sync(view_b), 0);
	read_tree(&a, view_a);
	read_tree(&b, view_b);
	expect(&wanted, &a, &b, view_family(view_a) == view_family(view_b));
	sort_lines(&wanted);
	for (unsigned flags = 0; flags <= DIFF_FULL_WALK; flags += DIFF_FULL_WALK) {
		struct told told = {.a = &a, .b = &b};
		const struct diff_options options = {.flags = flags | DIFF_CONTENT, .memory = memory};
		assert_int_equal(diff_views(store, view_a, view_b, &options, tell, &told), 0);
		sort_lines(&told.outcome);
		if (!same_outcome(&wanted, &told.outcome))
			fail_msg("%s differs from the model", flags ? "the full walk" : "the touched index");
		clear_outcome(&told.outcome);
		free(told.last);
	}
	clear_outcome(&wanted);
	clear_tree(&a);
	clear_tree(&b);
}

static void check(struct store *store, const char *name_a, const char *name_b)
{
	struct view *a, *b;
	struct error err;

	assert_int_equal(store_view_by_name(store, name_a, &a, &err), 0);
	assert_int_equal(store_view_by_name(store, name_b, &b, &err), 0);
	check_views(store, a, b, 0);
	check_views(store, a, b, 1000);
	store_view_put(store, b);
	store_view_put(store, a);
}

static void play(uint64_t seed)
{
	static const char *const names[] = {"d@s0", "d@s1", "d@s2", "d@s3", "d", "c", "x"};
	struct place place;
	struct error err;

	place_init(&place);
	assert_int_equal(dataset_create(place.store, "d", 0755, 0, 0, 1, &err), 0);
	assert_int_equal(dataset_create(place.store, "x", 0755, 0, 0, 1, &err), 0);
	change_much(place.store, "x", &seed, 40);
	change_much(place.store, "d", &seed, 80);
	snapshot(place.store, "d", "s0");
	change_much(place.store, "d", &seed, 5);
	snapshot(place.store, "d", "s1");
	assert_int_equal(dataset_clone(place.store, "d", "s1", "c", &err), 0);
	change_much(place.store, "d", &seed, 40);
	snapshot(place.store, "d", "s2");
	assert_int_equal(dataset_rollback(place.store, "d", "s0", random_next(&seed) % 2 == 0, NULL, &err), 0);
	change_much(place.store, "d", &seed, 15);
	snapshot(place.store, "d", "s3");
	change_much(place.store, "c", &seed, 10);
	change_much(place.store, "d", &seed, 3);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		for (size_t k = 0; k < ARRAY_SIZE(names); k++)
			check(place.store, names[i], names[k]);
	place_clear(&place);
}

static void agrees_with_the_model(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 6; seed++)
		play(seed * 1000003);
}

/* Deeper than what keeps its place while the walk is below, with names before and behind each directory. */
static void make_deep(struct view *view, uint64_t dir, unsigned depth)
{
	struct create create = {.mode = S_IFDIR | 0755};
	struct attr attr;

	for (unsigned i = 0; i < depth; i++) {
		write_file(view, dir, "a", 0, "a", 1);
		write_file(view, dir, "z", 0, "z", 1);
		assert_int_equal(view_create(view, dir, "m", &create, &attr, NULL), 0);
		dir = attr.ino;
	}
}

static void change_deep(struct view *view, const char *top, unsigned every)
{
	struct attr attr;

	assert_int_equal(view_resolve(view, top, &attr), 0);
	for (unsigned i = 0; view_lookup(view, attr.ino, "m", &attr) == 0; i++) {
		if (i % every == 0 && view_unlink(view, attr.ino, "a") == 0)
			write_file(view, attr.ino, "n", 0, "new", 3);
		if (i % every == 1 && view_lookup(view, attr.ino, "z", &(struct attr){0}) == 0)
			write_file(view, attr.ino, "z", 0, "changed", 7);
	}
}

static void deep_trees_agree_with_the_model(void **state)
{
	struct place place;
	struct error err;
	struct view *view;
	struct attr attr;
	struct create create = {.mode = S_IFDIR | 0755};

	(void)state;
	place_init(&place);
	assert_int_equal(dataset_create(place.store, "d", 0755, 0, 0, 1, &err), 0);
	assert_int_equal(store_head(place.store, "d", &view), 0);
	assert_int_equal(view_create(view, ROOT_INO, "t", &create, &attr, NULL), 0);
	make_deep(view, attr.ino, 100);
	make_deep(view, ROOT_INO, 60);
	snapshot(place.store, "d", "s0");
	change_deep(view, "t", 3);
	change_deep(view, "", 7);
	snapshot(place.store, "d", "s1");
	assert_int_equal(view_rename(view, ROOT_INO, "t", ROOT_INO, "k", 0), 0);
	change_deep(view, "k", 2);
	store_view_put(place.store, view);
	check(place.store, "d@s0", "d@s1");
	check(place.store, "d@s0", "d");
	check(place.store, "d", "d@s0");
	check(place.store, "d@s1", "d");
	place_clear(&place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(agrees_with_the_model),
		cmocka_unit_test(deep_trees_agree_with_the_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
