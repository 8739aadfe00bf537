/* For the tests of comparisons: trees read whole through view_*, and what diff_views says as lines of text. */
#ifndef CORPUSFS_TESTS_DIFF_STORE_H
#define CORPUSFS_TESTS_DIFF_STORE_H

#include "tests/unit/dataset_store.h"

#include "lib/base/array.h"
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

static UNUSED int add_object(void *arg, const char *name, uint64_t ino, uint8_t type)
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

static UNUSED void read_object(struct view *view, struct object *object)
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

static UNUSED void read_tree(struct tree_list *list, struct view *view)
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

static UNUSED void clear_tree(struct tree_list *list)
{
	for (int i = 0; i < list->count; i++) {
		buf_clear(&list->objects[i].content);
		buf_clear(&list->objects[i].xattrs);
	}
	free(list->objects);
}

/* Lines as diff.c's results are written here: "+ path". */
struct outcome {
	ARRAY_FIELDS(char *); /* owned */
};

static UNUSED void clear_outcome(struct outcome *outcome)
{
	for (size_t i = 0; i < outcome->count; i++)
		free(outcome->items[i]);
	array_clear(outcome);
}

/* --- what diff.c says --- */

struct told {
	struct outcome outcome;
	const struct tree_list *a, *b;
	char *last; /* path; owned */
};

/* What is in a directory comes right behind it. */
static UNUSED int compare_paths(const char *a, const char *b)
{
	for (; *a && *a == *b; a++, b++)
		;
	if (*a == *b || !*a || !*b)
		return (*a != 0) - (*b != 0);
	if (*a == '/' || *b == '/')
		return *a == '/' ? -1 : 1;
	return (unsigned char)*a < (unsigned char)*b ? -1 : 1;
}

static UNUSED void check_order(struct told *told, const struct diff_entry *entry)
{
	if (told->last && compare_paths(told->last, entry->path) > 0)
		fail_msg("%s is told before %s", told->last, entry->path);
	free(told->last);
	told->last = xstrdup(entry->path);
}

static UNUSED const struct object *by_ino(const struct tree_list *list, uint64_t ino)
{
	for (int i = 0; i < list->count; i++)
		if (list->objects[i].attr.ino == ino)
			return &list->objects[i];
	fail_msg("no such inode");
	return NULL;
}

/* Every differing byte is in a range, every range begins and ends with a differing byte. */
static UNUSED void check_ranges(const struct told *told, const struct diff_entry *entry)
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

static UNUSED int tell(void *arg, const struct diff_entry *entry)
{
	static const char letters[] = "+-MRm";
	struct told *told = arg;

	check_order(told, entry);
	if (entry->kind == DIFF_RENAMED)
		array_add(&told->outcome,
			  xasprintf("R %s -> %s%s", entry->old_path, entry->path, entry->content_changed ? " M" : ""));
	else
		array_add(&told->outcome, xasprintf("%c %s", letters[entry->kind], entry->path));
	assert_true((entry->a != NULL) == (entry->kind != DIFF_ADDED));
	assert_true((entry->b != NULL) == (entry->kind != DIFF_REMOVED));
	assert_true(entry->kind != DIFF_MODIFIED || entry->content_changed);
	if (entry->content_changed && S_ISREG(entry->b->mode))
		check_ranges(told, entry);
	else
		assert_int_equal(entry->range_count, 0);
	return 0;
}

static UNUSED void snapshot(struct store *store, const char *dataset, const char *name)
{
	struct snapshot_name target = {dataset, name};
	struct error err;

	assert_int_equal(snapshot_create(store, &target, 1, "", 0, &err), 0);
}

#endif
