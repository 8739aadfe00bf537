#include "lib/backup/used_blobs.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "lib/base/array.h"

#define FIRST_SLOTS 4096U

/* A hash table by open addressing; ids are as good as random. */
struct used_blobs {
	struct slot {
		struct blob_id id;
		uint8_t state; /* 0: free, 1: data, 2: tree */
	} *slots;
	uint64_t slot_count, count;
};

struct used_blobs *used_blobs_new(void)
{
	struct used_blobs *used = xcalloc(1, sizeof(*used));

	used->slot_count = FIRST_SLOTS;
	used->slots = xcalloc(used->slot_count, sizeof(*used->slots));
	return used;
}

void used_blobs_free(struct used_blobs *used)
{
	if (!used)
		return;
	free(used->slots);
	free(used);
}

static struct slot *find(const struct used_blobs *used, const struct blob_id *id, bool is_tree)
{
	uint64_t at;

	memcpy(&at, id->bytes, sizeof(at));
	for (at &= used->slot_count - 1; used->slots[at].state; at = (at + 1) & (used->slot_count - 1))
		if (used->slots[at].state == 1 + is_tree && blob_id_equal(&used->slots[at].id, id))
			break;
	return &used->slots[at];
}

bool used_blobs_has(const struct used_blobs *used, const struct blob_id *id, bool is_tree)
{
	return find(used, id, is_tree)->state != 0;
}

uint64_t used_blobs_count(const struct used_blobs *used)
{
	return used->count;
}

static void grow(struct used_blobs *used)
{
	struct used_blobs bigger = {.slot_count = used->slot_count * 2};

	bigger.slots = xcalloc(bigger.slot_count, sizeof(*bigger.slots));
	for (uint64_t i = 0; i < used->slot_count; i++)
		if (used->slots[i].state)
			*find(&bigger, &used->slots[i].id, used->slots[i].state == 2) = used->slots[i];
	free(used->slots);
	used->slots = bigger.slots;
	used->slot_count = bigger.slot_count;
}

bool used_blobs_put(struct used_blobs *used, const struct blob_id *id, bool is_tree)
{
	struct slot *slot = find(used, id, is_tree);

	if (slot->state)
		return false;
	*slot = (struct slot){*id, (uint8_t)(1 + is_tree)};
	if (++used->count > used->slot_count / 2)
		grow(used);
	return true;
}

/* --- the walk --- */

/* A tree to be looked at. */
struct step {
	struct blob_id tree;
	char *path; /* owned */
};

struct walk {
	const struct used_walk *options;
	const struct blob_index *index;
	const struct snapshot_file *snapshot;
	struct used_blobs *used;
	ARRAY(struct step) steps;
	const char *path; /* of the tree that is read */
};

static int tell(struct walk *walk, const char *path, int code, const char *what, const struct blob_id *id, bool is_tree)
{
	char text[BLOB_ID_TEXT];
	AUTO_FREE char *full = NULL;
	struct used_problem problem = {.snapshot = walk->snapshot, .path = path, .code = code, .id = id, .is_tree = is_tree};

	blob_id_text(id, text);
	problem.what = full = xasprintf("%s %s", what, text);
	return walk->options->problem(walk->options->arg, &problem);
}

static int take_content(struct walk *walk, const struct node *node, const char *path)
{
	int r = 0;

	for (size_t i = 0; i < node->content.count && r == 0; i++) {
		const struct blob_id *id = &node->content.items[i];

		if (walk->options->content)
			walk->options->content(walk->options->arg, path, id);
		if (used_blobs_put(walk->used, id, false) && !blob_index_has(walk->index, id, false))
			r = tell(walk, path, -ENOENT, "no index names data blob", id, false);
	}
	return r;
}

static int take_node(void *arg, struct node *node)
{
	struct walk *walk = arg;
	AUTO_FREE char *path = xasprintf("%s/%s", walk->path, node->name);

	if (node->has_subtree && used_blobs_put(walk->used, &node->subtree, true))
		array_add(&walk->steps, (struct step){node->subtree, xstrdup(path)});
	return take_content(walk, node, path);
}

static int look_at(struct walk *walk, const struct step *step)
{
	AUTO_BUF json = BUF_INIT;
	int r = walk->options->tree(walk->options->arg);

	if (r != 0)
		return r;
	r = repository_read_blob(walk->options->reader, &step->tree, true, &json);
	walk->path = step->path;
	if (r == 0) {
		r = tree_read((char *)json.data, json.len, take_node, walk);
		if (r != -EBADMSG)
			return r;
	}
	return tell(walk, step->path, r, r == -ENOENT ? "no index names tree blob" : "this tree blob is damaged:", &step->tree, true);
}

int used_blobs_add(struct used_blobs *used, const struct used_walk *options, const struct blob_index *index, const struct snapshot_file *snapshot)
{
	struct walk walk = {.options = options, .index = index, .snapshot = snapshot, .used = used};
	int r = 0;

	if (used_blobs_put(used, &snapshot->tree, true))
		array_add(&walk.steps, (struct step){snapshot->tree, xstrdup("")});
	while (walk.steps.count > 0) {
		struct step step = array_pop(&walk.steps);

		if (r == 0)
			r = look_at(&walk, &step);
		free(step.path);
	}
	array_clear(&walk.steps);
	return r;
}
