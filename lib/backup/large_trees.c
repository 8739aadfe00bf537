#include "lib/backup/large_trees.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "lib/base/escape.h"
#include "lib/repository/go_text.h"

/* --- writing --- */

static int write_pieces(struct blob_maker *maker, const struct tree_pieces *pieces, const struct buf *json, struct node *file)
{
	struct blob_id id;
	int r = 0;

	*file = (struct node){.name = xstrdup(LARGE_TREES_TREE), .mode = S_IFREG | 0444, .links = 1, .size = json->len};
	for (size_t i = 0; i < pieces->count && r == 0; i++) {
		r = blob_maker_bytes(maker, false, json->data + pieces->items[i].offset, pieces->items[i].len, &id);
		array_add(&file->content, id);
	}
	return r;
}

static int write_list(struct blob_maker *maker, const struct tree_pieces *pieces, const struct blob_id *tree, struct node *file)
{
	AUTO_BUF list = BUF_INIT;
	struct blob_id id;
	int r;

	tree_pieces_write(pieces, tree, &list);
	*file = (struct node){.name = xstrdup(LARGE_TREES_LIST), .mode = S_IFREG | 0444, .links = 1, .size = list.len};
	r = blob_maker_bytes(maker, false, list.data, list.len, &id);
	array_add(&file->content, id);
	return r;
}

static int write_dir(struct blob_maker *maker, const struct large_tree *large, struct blob_id *ret_id)
{
	AUTO_BUF json = BUF_INIT;

	tree_begin(&json);
	tree_add(&json, &large->list);
	tree_add(&json, &large->tree);
	tree_end(&json);
	return blob_maker_bytes(maker, true, json.data, json.len, ret_id);
}

static void add_entry(struct entry_list *list, const char *path, const struct blob_id *tree, const struct blob_id *dir)
{
	AUTO_FREE char *text = escape_text(path, ESCAPE_BYTES);
	AUTO_BUF json = BUF_INIT;
	char id[BLOB_ID_TEXT];

	buf_addf(&json, "{\"path\":");
	go_json_string(&json, text);
	blob_id_text(tree, id);
	buf_addf(&json, ",\"tree\":\"%s\"", id);
	blob_id_text(dir, id);
	buf_addf(&json, ",\"pieces\":\"%s\"}", id);
	entry_list_add(list, json.data, json.len);
}

int large_trees_add(struct entry_list *list, struct blob_maker *maker, const char *path, const struct blob_id *tree, const struct buf *json)
{
	struct tree_pieces pieces = {0};
	struct large_tree large = {0};
	struct blob_id dir;
	int r;

	/* What cannot be cut is read as a tree. */
	if (json->len < TREE_PIECES_FROM || tree_pieces_cut((char *)json->data, json->len, &pieces) < 0)
		return 0;
	r = write_pieces(maker, &pieces, json, &large.tree);
	if (r == 0)
		r = write_list(maker, &pieces, tree, &large.list);
	if (r == 0)
		r = write_dir(maker, &large, &dir);
	if (r == 0)
		add_entry(list, path, tree, &dir);
	large_tree_clear(&large);
	tree_pieces_clear(&pieces);
	return r;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct node *)a)->name, ((const struct node *)b)->name);
}

struct nodes {
	ARRAY_FIELDS(struct node);
};

static void add_node(struct nodes *nodes, const json_t *entry)
{
	const char *tree = json_string_value(json_object_get(entry, "tree")), *pieces = json_string_value(json_object_get(entry, "pieces"));
	struct node node = {.mode = S_IFDIR | 0555, .has_subtree = true};
	struct blob_id id;

	if (!tree || blob_id_parse(tree, &id) < 0 || !pieces || blob_id_parse(pieces, &node.subtree) < 0)
		return; /* of an earlier backup that somebody has changed */
	node.name = xstrdup(tree);
	array_add(nodes, node);
}

int large_trees_write(const struct entry_list *large, struct blob_maker *maker, struct node *dir)
{
	AUTO_BUF json = BUF_INIT, tree = BUF_INIT;
	struct nodes nodes = {0};
	json_t *entries, *entry;
	size_t i;
	int r = 0;

	entry_list_write(large, &json);
	entries = json_loadb((char *)json.data, json.len, 0, NULL);
	json_array_foreach(entries, i, entry)
		add_node(&nodes, entry);
	json_decref(entries);
	if (nodes.count > 0) {
		qsort(nodes.items, nodes.count, sizeof(*nodes.items), by_name);
		tree_begin(&tree);
		/* Two directories may have one tree. */
		for (i = 0; i < nodes.count; i++)
			if (i == 0 || strcmp(nodes.items[i].name, nodes.items[i - 1].name) != 0)
				tree_add(&tree, &nodes.items[i]);
		tree_end(&tree);
		*dir = (struct node){.mode = S_IFDIR | 0555, .has_subtree = true};
		r = blob_maker_bytes(maker, true, tree.data, tree.len, &dir->subtree);
	}
	for (i = 0; i < nodes.count; i++)
		node_clear(&nodes.items[i]);
	r = r < 0 ? r : nodes.count > 0;
	array_clear(&nodes);
	return r;
}

/* --- reading --- */

static int take_node(void *arg, struct node *node)
{
	struct large_tree *large = arg;
	struct node *to = strcmp(node->name, LARGE_TREES_LIST) == 0 ? &large->list : strcmp(node->name, LARGE_TREES_TREE) == 0 ? &large->tree : NULL;

	if (!to || to->name)
		return 0;
	*to = *node;
	*node = (struct node){0};
	return 0;
}

int large_tree_read(const char *json, size_t len, struct large_tree *ret_large)
{
	int r;

	*ret_large = (struct large_tree){0};
	r = tree_read(json, len, take_node, ret_large);
	if (r == 0 && (!ret_large->list.name || !ret_large->tree.name))
		r = -EBADMSG;
	return r;
}

void large_tree_clear(struct large_tree *large)
{
	node_clear(&large->list);
	node_clear(&large->tree);
}
