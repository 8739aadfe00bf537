/*
 * Differences against a model: random operations on a dataset with snapshots, rollbacks and a clone; each pair of views is then compared
 * by lib/history/diff.c, by the touched index and by a full walk, and by what is written here: both trees read whole through view_*,
 * then the rules of diff.c's head applied to plain lists of paths.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/dataset_store.h"

#include "lib/history/diff.h"

#define OBJECTS_MAX 4000
#define PATH_LEN_MAX 600

/* --- a tree read whole --- */

struct object {
	char path[PATH_LEN_MAX];
	struct attr attr;
	int parent;          /* index of its directory; the root's is -1 */
	int partner;         /* index on the other side of what stands in the same slot, or -1 */
	struct buf content;  /* of files; target of symlinks */
	struct buf xattrs;
	bool lost;           /* or gained */
};

struct tree_list {
	struct object *objects;
	int count;
	struct view *view;
};

static int add_object(void *arg, const char *name, uint64_t ino, uint8_t type)
{
	struct tree_list *list = arg;
	struct object *object = &list->objects[list->count];

	(void)type;
	assert_true(list->count < OBJECTS_MAX);
	*object = (struct object){.partner = -1, .attr.ino = ino};
	snprintf(object->path, sizeof(object->path), "%s", name);
	list->count++;
	return 0;
}

static void read_object(struct view *view, struct object *object)
{
	AUTO_BUF names = BUF_INIT;

	assert_int_equal(view_getattr(view, object->attr.ino, &object->attr), 0);
	assert_int_equal(view_xattr_list(view, object->attr.ino, &names), 0);
	for (size_t at = 0; at < names.len; at += strlen((char *)names.data + at) + 1) {
		AUTO_BUF value = BUF_INIT;
		assert_int_equal(view_xattr_get(view, object->attr.ino, (char *)names.data + at, &value), 0);
		buf_add(&object->xattrs, names.data + at, strlen((char *)names.data + at) + 1);
		buf_add(&object->xattrs, value.data, value.len);
	}
	if (S_ISREG(object->attr.mode)) {
		struct inode *inode;
		assert_int_equal(inode_open(view, object->attr.ino, &inode), 0);
		buf_reserve(&object->content, object->attr.size + 1);
		assert_int_equal(inode_read(inode, 0, object->attr.size, object->content.data), object->attr.size);
		object->content.len = object->attr.size;
		inode_close(inode);
	} else if (S_ISLNK(object->attr.mode)) {
		assert_int_equal(view_readlink(view, object->attr.ino, &object->content), 0);
	}
}

static void read_tree(struct tree_list *list, struct view *view)
{
	*list = (struct tree_list){.objects = xcalloc(OBJECTS_MAX, sizeof(*list->objects)), .view = view, .count = 1};
	list->objects[0] = (struct object){.parent = -1, .partner = -1, .attr.ino = ROOT_INO};
	for (int i = 0; i < list->count; i++) {
		int first = list->count;
		read_object(view, &list->objects[i]);
		if (!S_ISDIR(list->objects[i].attr.mode))
			continue;
		assert_int_equal(view_list(view, list->objects[i].attr.ino, "", add_object, list), 0);
		for (int k = first; k < list->count; k++) {
			AUTO_FREE char *path = xasprintf("%s%s%s", list->objects[i].path, i ? "/" : "", list->objects[k].path);
			list->objects[k].parent = i;
			snprintf(list->objects[k].path, PATH_LEN_MAX, "%s", path);
		}
	}
}

static void clear_tree(struct tree_list *list)
{
	for (int i = 0; i < list->count; i++) {
		buf_clear(&list->objects[i].content);
		buf_clear(&list->objects[i].xattrs);
	}
	free(list->objects);
}

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

struct outcome {
	char **lines;
	size_t count, cap;
};

static void add_line(struct outcome *outcome, char *line)
{
	if (outcome->count == outcome->cap) {
		outcome->cap = MAX(outcome->cap * 2, 256U);
		outcome->lines = xrealloc(outcome->lines, outcome->cap * sizeof(char *));
	}
	outcome->lines[outcome->count++] = line;
}

static void clear_outcome(struct outcome *outcome)
{
	for (size_t i = 0; i < outcome->count; i++)
		free(outcome->lines[i]);
	free(outcome->lines);
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
		add_line(outcome, xasprintf("M %s", in_b->path));
	else if (!same)
		add_line(outcome, xasprintf("m %s", in_b->path));
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
				add_line(outcome, xasprintf("R %s -> %s%s", from->path, to->path, same_content(from, to) ? "" : " M"));
			else
				add_line(outcome, xasprintf("- %s", from->path));
		}
	}
	for (int i = 1; i < b->count; i++)
		if (b->objects[i].lost)
			add_line(outcome, xasprintf("+ %s", b->objects[i].path));
}

static void expect(struct outcome *outcome, struct tree_list *a, struct tree_list *b, bool family)
{
	find_partners(a, b, family);
	for (int i = 0; i < a->count; i++)
		if (a->objects[i].partner >= 0)
			expect_same_slot(outcome, a, i, b, a->objects[i].partner, family);
	expect_moves(outcome, a, b, family);
}

/* --- what diff.c says --- */

struct told {
	struct outcome outcome;
	const struct tree_list *a, *b;
};

static const struct object *by_ino(const struct tree_list *list, uint64_t ino)
{
	for (int i = 0; i < list->count; i++)
		if (list->objects[i].attr.ino == ino)
			return &list->objects[i];
	fail_msg("no such inode");
	return NULL;
}

/* Every differing byte is in a range, every range begins and ends with a differing byte. */
static void check_ranges(const struct told *told, const struct diff_entry *entry)
{
	const struct buf *a = &by_ino(told->a, entry->a->ino)->content;
	const struct buf *b = &by_ino(told->b, entry->b->ino)->content;
	uint64_t at = 0;

	for (size_t i = 0; i <= entry->range_count; i++) {
		uint64_t first = i < entry->range_count ? entry->ranges[i].offset : MIN(a->len, b->len);
		for (; at < first; at++)
			assert_int_equal(a->data[at], b->data[at]);
		if (i == entry->range_count)
			break;
		uint64_t last = first + entry->ranges[i].length - 1;
		assert_true(entry->ranges[i].length > 0 && last < b->len);
		assert_true(first >= a->len || a->data[first] != b->data[first]);
		assert_true(last >= a->len || a->data[last] != b->data[last]);
		at = last + 1;
	}
	assert_true(at >= MIN(a->len, b->len) && (b->len <= a->len || at == b->len));
}

static int tell(void *arg, const struct diff_entry *entry)
{
	static const char letters[] = "+-MRm";
	struct told *told = arg;

	if (entry->kind == DIFF_RENAMED)
		add_line(&told->outcome,
			 xasprintf("R %s -> %s%s", entry->old_path, entry->path, entry->content_changed ? " M" : ""));
	else
		add_line(&told->outcome, xasprintf("%c %s", letters[entry->kind], entry->path));
	assert_true((entry->a != NULL) == (entry->kind != DIFF_ADDED));
	assert_true((entry->b != NULL) == (entry->kind != DIFF_REMOVED));
	assert_true(entry->kind != DIFF_MODIFIED || entry->content_changed);
	if (entry->content_changed && S_ISREG(entry->b->mode))
		check_ranges(told, entry);
	else
		assert_int_equal(entry->range_count, 0);
	return 0;
}

static int compare_lines(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool same_outcome(const struct outcome *wanted, const struct outcome *got)
{
	bool same = wanted->count == got->count;

	for (size_t i = 0; same && i < wanted->count; i++)
		same = strcmp(wanted->lines[i], got->lines[i]) == 0;
	for (size_t i = 0; !same && i < MAX(wanted->count, got->count); i++)
		print_error("%-50s | %s\n", i < wanted->count ? wanted->lines[i] : "", i < got->count ? got->lines[i] : "");
	return same;
}

static void sort_lines(struct outcome *outcome)
{
	if (outcome->count > 0)
		qsort(outcome->lines, outcome->count, sizeof(char *), compare_lines);
}

static void check_views(struct store *store, struct view *view_a, struct view *view_b)
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
		assert_int_equal(diff_views(store, view_a, view_b, flags | DIFF_CONTENT, tell, &told), 0);
		sort_lines(&told.outcome);
		if (!same_outcome(&wanted, &told.outcome))
			fail_msg("%s differs from the model", flags ? "the full walk" : "the touched index");
		clear_outcome(&told.outcome);
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
	check_views(store, a, b);
	store_view_put(store, b);
	store_view_put(store, a);
}

/* --- doing things --- */

static uint64_t random_next(uint64_t *state)
{
	*state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
	return *state >> 33;
}

static void write_some(struct view *view, uint64_t ino, uint64_t *seed)
{
	uint8_t data[30000];
	struct inode *inode;
	uint64_t offset = random_next(seed) % 3 ? 0 : random_next(seed) % 40000;
	size_t len = 1 + random_next(seed) % (random_next(seed) % 2 ? 100 : sizeof(data));
	uint64_t pattern = random_next(seed) % 4;

	for (size_t i = 0; i < len; i++)
		data[i] = pattern == 0 ? 0 : (uint8_t)(i * (pattern + 2) + i / 4096);
	assert_int_equal(inode_open(view, ino, &inode), 0);
	assert_int_equal(inode_write(inode, offset, data, len, 0), 0);
	inode_close(inode);
}

struct pick {
	uint64_t dir, ino;
	char name[NAME_LEN_MAX + 1];
	uint8_t type;
	uint64_t *seed;
	unsigned seen;
};

static int pick_entry(void *arg, const char *name, uint64_t ino, uint8_t type)
{
	struct pick *pick = arg;

	if (random_next(pick->seed) % ++pick->seen == 0) {
		pick->ino = ino;
		pick->type = type;
		snprintf(pick->name, sizeof(pick->name), "%s", name);
	}
	return 0;
}

/* A random name somewhere in the tree; false: an empty directory was met. */
static bool pick_name(struct view *view, uint64_t *seed, struct pick *ret_pick)
{
	uint64_t dir = ROOT_INO;

	for (;;) {
		*ret_pick = (struct pick){.dir = dir, .seed = seed};
		assert_int_equal(view_list(view, dir, "", pick_entry, ret_pick), 0);
		if (ret_pick->seen == 0)
			return false;
		if (ret_pick->type != DT_DIR || random_next(seed) % 3 == 0)
			return true;
		dir = ret_pick->ino;
	}
}

static uint64_t pick_dir(struct view *view, uint64_t *seed)
{
	struct pick pick;

	if (random_next(seed) % 4 == 0 || !pick_name(view, seed, &pick))
		return ROOT_INO;
	return pick.type == DT_DIR ? pick.ino : pick.dir;
}

static void create_some(struct view *view, uint64_t *seed, const char *name)
{
	static const uint32_t types[] = {S_IFREG, S_IFREG, S_IFREG, S_IFDIR, S_IFDIR, S_IFLNK, S_IFIFO};
	struct create create = {.mode = types[random_next(seed) % ARRAY_SIZE(types)] | 0644};
	struct attr attr;

	create.target = S_ISLNK(create.mode) ? (random_next(seed) % 2 ? "one" : "two") : NULL;
	int result = view_create(view, pick_dir(view, seed), name, &create, &attr, NULL);
	if (result == 0 && S_ISREG(create.mode))
		write_some(view, attr.ino, seed);
	assert_true(result == 0 || result == -EEXIST);
}

static void set_some(struct view *view, uint64_t *seed, uint64_t ino)
{
	struct setattr change = {.mask = SET_MODE, .mode = random_next(seed) % 2 ? 0600 : 0755};
	struct attr attr;

	switch (random_next(seed) % 3) {
	case 0: assert_int_equal(view_setattr(view, ino, &change, &attr), 0); break;
	case 1: assert_int_equal(view_xattr_set(view, ino, "user.a", "1234", random_next(seed) % 4, 0), 0); break;
	default:
		change = (struct setattr){.mask = SET_MTIME, .mtime = {1000 + (time_t)(random_next(seed) % 3), 5}};
		assert_int_equal(view_setattr(view, ino, &change, &attr), 0);
	}
}

/* One random change; names come from a small pool, so that they are used again. */
static void change_something(struct view *view, uint64_t *seed)
{
	struct pick pick, other;
	struct attr attr;
	char name[16];
	int result = 0;

	snprintf(name, sizeof(name), "n%u", (unsigned)(random_next(seed) % 12));
	if (random_next(seed) % 3 == 0 || !pick_name(view, seed, &pick)) {
		create_some(view, seed, name);
		return;
	}
	switch (random_next(seed) % 8) {
	case 0:
	case 1:
		if (pick.type == DT_REG)
			write_some(view, pick.ino, seed);
		break;
	case 2: result = pick.type == DT_DIR ? view_rmdir(view, pick.dir, pick.name) : view_unlink(view, pick.dir, pick.name); break;
	case 3:
	case 4: result = view_rename(view, pick.dir, pick.name, pick_dir(view, seed), name, 0); break;
	case 5:
		if (pick.type != DT_DIR)
			result = view_link(view, pick.ino, pick_dir(view, seed), name, &attr);
		break;
	case 6: set_some(view, seed, pick.ino); break;
	default:
		if (pick_name(view, seed, &other))
			result = view_rename(view, pick.dir, pick.name, other.dir, other.name, 2 /* RENAME_EXCHANGE */);
	}
	if (result != 0 && result != -ENOTEMPTY && result != -EEXIST && result != -EINVAL && result != -EISDIR && result != -ENOTDIR)
		fail_msg("an operation failed: %s", strerror(-result));
}

static void change_much(struct store *store, const char *dataset, uint64_t *seed, unsigned count)
{
	struct view *view;

	assert_int_equal(store_head(store, dataset, &view), 0);
	for (unsigned i = 0; i < count; i++)
		change_something(view, seed);
	store_view_put(store, view);
}

static void snapshot(struct store *store, const char *dataset, const char *name)
{
	struct snapshot_name target = {dataset, name};
	struct error err;

	assert_int_equal(snapshot_create(store, &target, 1, "", 0, &err), 0);
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

/* --- what people expect, in words --- */

struct scene {
	struct place place;
	struct view *head;
};

static void scene_make(struct scene *scene)
{
	struct error err;

	place_init(&scene->place);
	assert_int_equal(dataset_create(scene->place.store, "d", 0755, 0, 0, 1, &err), 0);
	assert_int_equal(store_head(scene->place.store, "d", &scene->head), 0);
}

static void scene_clear(struct scene *scene)
{
	store_view_put(scene->place.store, scene->head);
	place_clear(&scene->place);
}

static uint64_t make(struct scene *scene, uint64_t dir, const char *name, uint32_t mode, const char *text)
{
	struct create create = {.mode = mode};
	struct inode *inode;
	struct attr attr;

	assert_int_equal(view_create(scene->head, dir, name, &create, &attr, &inode), 0);
	if (text)
		assert_int_equal(inode_write(inode, 0, text, strlen(text), 0), 0);
	inode_close(inode);
	return attr.ino;
}

static void expect_lines(struct scene *scene, const char *const *lines)
{
	struct tree_list a, b;
	struct view *before;
	struct told told = {.a = &a, .b = &b};
	size_t count = 0;

	assert_int_equal(store_snapshot(scene->place.store, "d", "s", &before), 0);
	assert_int_equal(view_sync(scene->head), 0);
	read_tree(&a, before);
	read_tree(&b, scene->head);
	assert_int_equal(diff_views(scene->place.store, before, scene->head, DIFF_CONTENT, tell, &told), 0);
	for (; lines[count]; count++)
		assert_string_equal(count < told.outcome.count ? told.outcome.lines[count] : "nothing", lines[count]);
	assert_int_equal(told.outcome.count, count);
	clear_outcome(&told.outcome);
	clear_tree(&a);
	clear_tree(&b);
	store_view_put(scene->place.store, before);
}

static void a_renamed_directory_is_one_line(void **state)
{
	struct scene scene;
	uint64_t dir;

	(void)state;
	scene_make(&scene);
	dir = make(&scene, ROOT_INO, "old", S_IFDIR | 0755, NULL);
	make(&scene, dir, "a", S_IFREG | 0644, "a");
	make(&scene, dir, "b", S_IFREG | 0644, "b");
	snapshot(scene.place.store, "d", "s");
	assert_int_equal(view_rename(scene.head, ROOT_INO, "old", ROOT_INO, "new", 0), 0);
	expect_lines(&scene, (const char *const[]){"R old -> new", NULL});
	make(&scene, dir, "c", S_IFREG | 0644, "c");
	expect_lines(&scene, (const char *const[]){"R old -> new", "+ new/c", NULL});
	scene_clear(&scene);
}

static void a_file_replaced_by_rename_is_modified(void **state)
{
	struct scene scene;

	(void)state;
	scene_make(&scene);
	make(&scene, ROOT_INO, "f", S_IFREG | 0644, "before");
	snapshot(scene.place.store, "d", "s");
	make(&scene, ROOT_INO, "f.tmp", S_IFREG | 0644, "after");
	assert_int_equal(view_rename(scene.head, ROOT_INO, "f.tmp", ROOT_INO, "f", 0), 0);
	expect_lines(&scene, (const char *const[]){"M f", NULL});
	scene_clear(&scene);
}

static void the_same_bytes_written_again_are_metadata(void **state)
{
	struct scene scene;
	struct inode *inode;
	uint64_t ino;

	(void)state;
	scene_make(&scene);
	ino = make(&scene, ROOT_INO, "f", S_IFREG | 0644, "same");
	snapshot(scene.place.store, "d", "s");
	assert_int_equal(inode_open(scene.head, ino, &inode), 0);
	assert_int_equal(inode_write(inode, 0, "same", 4, 0), 0);
	inode_close(inode);
	expect_lines(&scene, (const char *const[]){"m f", NULL});
	scene_clear(&scene);
}

static void every_name_of_a_changed_file_is_told(void **state)
{
	struct scene scene;
	struct inode *inode;
	struct attr attr;
	uint64_t ino, dir;

	(void)state;
	scene_make(&scene);
	dir = make(&scene, ROOT_INO, "sub", S_IFDIR | 0755, NULL);
	ino = make(&scene, ROOT_INO, "f", S_IFREG | 0644, "before");
	assert_int_equal(view_link(scene.head, ino, dir, "g", &attr), 0);
	snapshot(scene.place.store, "d", "s");
	assert_int_equal(inode_open(scene.head, ino, &inode), 0);
	assert_int_equal(inode_write(inode, 0, "after", 5, 0), 0);
	inode_close(inode);
	expect_lines(&scene, (const char *const[]){"M f", "M sub/g", NULL});
	scene_clear(&scene);
}

static void what_is_in_a_removed_directory_is_told(void **state)
{
	struct scene scene;
	uint64_t dir;

	(void)state;
	scene_make(&scene);
	dir = make(&scene, ROOT_INO, "sub", S_IFDIR | 0755, NULL);
	make(&scene, dir, "a", S_IFREG | 0644, "a");
	make(&scene, dir, "kept", S_IFREG | 0644, "k");
	make(&scene, ROOT_INO, "sub.x", S_IFREG | 0644, "x");
	snapshot(scene.place.store, "d", "s");
	assert_int_equal(view_unlink(scene.head, dir, "a"), 0);
	assert_int_equal(view_rename(scene.head, dir, "kept", ROOT_INO, "kept", 0), 0);
	assert_int_equal(view_rmdir(scene.head, ROOT_INO, "sub"), 0);
	assert_int_equal(view_unlink(scene.head, ROOT_INO, "sub.x"), 0);
	expect_lines(&scene, (const char *const[]){"R sub/kept -> kept", "- sub", "- sub/a", "- sub.x", NULL});
	scene_clear(&scene);
}

static int stop_at_once(void *arg, const struct diff_entry *entry)
{
	(void)entry;
	(*(int *)arg)++;
	return 7;
}

static void stops_when_told(void **state)
{
	struct scene scene;
	struct view *before;
	int calls = 0;

	(void)state;
	scene_make(&scene);
	snapshot(scene.place.store, "d", "s");
	make(&scene, ROOT_INO, "a", S_IFREG | 0644, "a");
	make(&scene, ROOT_INO, "b", S_IFREG | 0644, "a");
	assert_int_equal(store_snapshot(scene.place.store, "d", "s", &before), 0);
	assert_int_equal(diff_views(scene.place.store, before, scene.head, 0, stop_at_once, &calls), 7);
	assert_int_equal(calls, 1);
	store_view_put(scene.place.store, before);
	scene_clear(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_renamed_directory_is_one_line),
		cmocka_unit_test(a_file_replaced_by_rename_is_modified),
		cmocka_unit_test(the_same_bytes_written_again_are_metadata),
		cmocka_unit_test(every_name_of_a_changed_file_is_told),
		cmocka_unit_test(what_is_in_a_removed_directory_is_told),
		cmocka_unit_test(stops_when_told),
		cmocka_unit_test(agrees_with_the_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
