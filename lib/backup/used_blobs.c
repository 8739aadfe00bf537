#include "lib/backup/used_blobs.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "lib/base/array.h"
#include "lib/repository/blob_set.h"

const char USED_WRONG_LENGTH[] = "its content is not as long as the backup says";

struct used_blobs {
	const struct blob_index *index;
	uint8_t *bits; /* one for each place of the index; that of a blob's first copy stands for the blob */
	struct blob_set strangers;
	uint64_t count;
};

struct used_blobs *used_blobs_new(const struct blob_index *index)
{
	struct used_blobs *used = xcalloc(1, sizeof(*used));

	used->index = index;
	used->bits = xcalloc(blob_index_count(index) / 8 + 1, 1);
	return used;
}

void used_blobs_free(struct used_blobs *used)
{
	if (!used)
		return;
	blob_set_clear(&used->strangers);
	free(used->bits);
	free(used);
}

bool used_blobs_has(const struct used_blobs *used, const struct blob_id *id, bool is_tree)
{
	size_t number;

	if (!blob_index_number(used->index, id, is_tree, &number))
		return blob_set_has(&used->strangers, id, is_tree);
	return used->bits[number / 8] >> number % 8 & 1;
}

uint64_t used_blobs_count(const struct used_blobs *used)
{
	return used->count;
}

static bool set_bit(struct used_blobs *used, size_t number)
{
	const uint8_t bit = (uint8_t)(1U << number % 8);
	const bool was_set = used->bits[number / 8] & bit;

	used->bits[number / 8] |= bit;
	return !was_set;
}

bool used_blobs_put(struct used_blobs *used, const struct blob_id *id, bool is_tree)
{
	size_t number;
	bool is_new = blob_index_number(used->index, id, is_tree, &number) ? set_bit(used, number) : blob_set_put(&used->strangers, id, is_tree);

	used->count += is_new;
	return is_new;
}

/* --- the walk --- */

/*
 * A tree to be looked at. Of its path it has the name only: those who wait are the directories that lie in one on the way to where the walk is, the
 * deepest last, so that the path of who comes next begins as that of the tree that is read.
 */
struct step {
	struct blob_id tree;
	size_t path_len; /* of the directory that it lies in */
	char *name;      /* owned */
};

struct walk {
	const struct used_walk *options;
	const struct snapshot_file *snapshot;
	struct used_blobs *used;
	ARRAY(struct step) steps;
	struct buf path; /* of the tree that is read */
	char *last;      /* name of the node before, in the same tree; owned */
	bool is_unsorted; /* a name did not come after the one before */
	int told;        /* what problem() answered; not 0 ends the walk */
};

static int tell(struct walk *walk, const char *path, int code, const char *what, const struct blob_id *id, bool is_tree)
{
	char text[BLOB_ID_TEXT];
	AUTO_FREE char *full = NULL;
	struct used_problem problem = {.snapshot = walk->snapshot, .path = path, .code = code, .id = id, .is_tree = is_tree};

	blob_id_text(id, text);
	problem.what = full = xasprintf("%s %s", what, text);
	walk->told = walk->options->problem(walk->options->arg, &problem);
	return walk->told;
}

static int take_content(struct walk *walk, const struct node *node, const char *path)
{
	int r = 0;

	for (size_t i = 0; i < node->content.count && r == 0; i++) {
		const struct blob_id *id = &node->content.items[i];

		if (walk->options->content)
			walk->options->content(walk->options->arg, path, id);
		if (used_blobs_put(walk->used, id, false) && !blob_index_has(walk->used->index, id, false))
			r = tell(walk, path, -ENOENT, "no index names data blob", id, false);
	}
	return r;
}

/* The path of what lies in the directory whose path is so long. "": the top. */
static const char *go_to(struct walk *walk, size_t len, const char *name)
{
	walk->path.len = len;
	if (*name)
		buf_addf(&walk->path, "/%s", name);
	buf_add_u8(&walk->path, 0);
	walk->path.len--;
	return (char *)walk->path.data;
}

/* True also where it is not known, since no index names all of it. */
static bool has_its_length(const struct blob_index *index, const struct node *node)
{
	uint64_t size = 0;

	for (size_t i = 0; i < node->content.count; i++) {
		struct blob_place place;

		if (!blob_index_find(index, &node->content.items[i], false, 0, &place))
			return true;
		size += pack_blob_plain(&place.blob);
	}
	return size == node->size;
}

/* NULL: nothing. */
static const char *what_is_wrong(const struct blob_index *index, const struct node *node)
{
	if (!*node->name || strchr(node->name, '/') || strcmp(node->name, ".") == 0 || strcmp(node->name, "..") == 0)
		return "a name that nothing in a directory can have";
	if (S_ISDIR(node->mode) && !node->has_subtree)
		return "a directory without the list of what is in it";
	if (S_ISREG(node->mode) && !has_its_length(index, node))
		return USED_WRONG_LENGTH;
	return NULL;
}

static void tell_wrong(struct walk *walk, const char *name, const struct node *node, const char *what)
{
	const size_t len = walk->path.len;

	walk->options->wrong(walk->options->arg, walk->snapshot, go_to(walk, len, name), node, what);
	walk->path.len = len;
}

static void look_for_wrong(struct walk *walk, const struct node *node)
{
	const char *what = what_is_wrong(walk->used->index, node);

	if (what)
		tell_wrong(walk, node->name, node, what);
	walk->is_unsorted = walk->is_unsorted || (walk->last && strcmp(walk->last, node->name) >= 0);
	free(walk->last);
	walk->last = xstrdup(node->name);
}

static int keep_name(void *arg, struct node *node)
{
	struct snapshot_texts *names = arg;

	array_add(names, steal_ptr(node->name));
	return 0;
}

static int by_bytes(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Of a tree whose names are not in order: one of them may stand there twice. */
static void look_for_equal(struct walk *walk, const struct buf *json)
{
	struct snapshot_texts names = {0};

	if (tree_read((char *)json->data, json->len, keep_name, &names) == 0)
		qsort(names.items, names.count, sizeof(*names.items), by_bytes);
	for (size_t i = 1; i < names.count; i++)
		if (strcmp(names.items[i - 1], names.items[i]) == 0 && (i == 1 || strcmp(names.items[i - 2], names.items[i]) != 0))
			tell_wrong(walk, names.items[i], NULL, "several things in one directory have this name");
	for (size_t i = 0; i < names.count; i++)
		free(names.items[i]);
	array_clear(&names);
}

static int take_node(void *arg, struct node *node)
{
	struct walk *walk = arg;
	const size_t len = walk->path.len;
	int r;

	if (walk->options->wrong)
		look_for_wrong(walk, node);
	if (node->has_subtree && used_blobs_put(walk->used, &node->subtree, true))
		array_add(&walk->steps, (struct step){node->subtree, len, xstrdup(node->name)});
	if (node->content.count == 0)
		return 0;
	r = take_content(walk, node, go_to(walk, len, node->name));
	walk->path.len = len;
	return r;
}

static int look_at(struct walk *walk, const struct step *step)
{
	AUTO_BUF json = BUF_INIT;
	const char *what;
	int r = walk->options->tree(walk->options->arg);

	if (r != 0)
		return r;
	r = repository_read_blob(walk->options->reader, &step->tree, true, &json);
	(void)go_to(walk, step->path_len, step->name);
	if (r == 0) {
		walk->is_unsorted = false;
		r = tree_read((char *)json.data, json.len, take_node, walk);
		free(steal_ptr(walk->last));
		if (r == 0 && walk->is_unsorted)
			look_for_equal(walk, &json);
		if (r != -EBADMSG || walk->told != 0)
			return r;
	}
	if (r == -ENOENT)
		what = blob_index_has(walk->used->index, &step->tree, true) ? "the pack is not there that has tree blob" : "no index names tree blob";
	else
		what = r == -EBADMSG ? "this tree blob is damaged:" : "this tree blob cannot be read:";
	return tell(walk, go_to(walk, step->path_len, step->name), r, what, &step->tree, true);
}

int used_blobs_add(struct used_blobs *used, const struct used_walk *options, const struct snapshot_file *snapshot)
{
	struct walk walk = {.options = options, .snapshot = snapshot, .used = used, .path = BUF_INIT};
	int r = 0;

	if (used_blobs_put(used, &snapshot->tree, true))
		array_add(&walk.steps, (struct step){snapshot->tree, 0, xstrdup("")});
	while (walk.steps.count > 0) {
		struct step step = array_pop(&walk.steps);

		if (r == 0)
			r = look_at(&walk, &step);
		free(step.name);
	}
	array_clear(&walk.steps);
	buf_clear(&walk.path);
	return r;
}
