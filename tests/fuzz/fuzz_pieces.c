/*
 * Fuzzes the pieces of trees of large directories: whatever is read as a list says the same when it is written and read again, and a tree that
 * can be cut is all of its pieces, each of which is a tree with as many nodes.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/repository/tree_pieces.h"
#include "tests/fuzz/target.h"

static void check(bool is_so)
{
	if (!is_so)
		abort();
}

static void try_list(const char *text, size_t size)
{
	struct tree_pieces pieces = {0}, again = {0};
	struct blob_id tree, same;
	AUTO_BUF list = BUF_INIT;

	if (tree_pieces_read(text, size, &tree, &pieces) < 0)
		return;
	tree_pieces_write(&pieces, &tree, &list);
	check(tree_pieces_read((char *)list.data, list.len, &same, &again) == 0);
	check(blob_id_equal(&tree, &same) && pieces.count == again.count);
	for (size_t i = 0; i < pieces.count; i++) {
		check(strcmp(pieces.items[i].first, again.items[i].first) == 0 && pieces.items[i].position == again.items[i].position);
		check(tree_pieces_named(&pieces, pieces.items[i].first) == i && tree_pieces_at(&pieces, pieces.items[i].position) == i);
	}
	tree_pieces_clear(&pieces);
	tree_pieces_clear(&again);
}

static int count(void *arg, struct node *node)
{
	(void)node;
	++*(uint64_t *)arg;
	return 0;
}

static void try_tree(const char *text, size_t size)
{
	struct tree_pieces pieces = {0};
	AUTO_BUF tree = BUF_INIT;
	size_t at = 0;

	if (tree_pieces_cut(text, size, &pieces) < 0)
		return;
	for (size_t i = 0; i < pieces.count; i++) {
		const struct tree_piece *piece = &pieces.items[i];
		uint64_t nodes = 0;

		check(piece->offset == at && piece->len > 0 && piece->len <= size - at);
		check(tree_piece_open(text + at, piece->len, &tree) == 0);
		/* What was cut is JSON; whether its nodes can be read is another question, and the same for the tree. */
		if (tree_read((char *)tree.data, tree.len, count, &nodes) == 0)
			check(nodes == piece->count);
		at += piece->len;
	}
	check(at == size);
	tree_pieces_clear(&pieces);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	AUTO_BUF tree = BUF_INIT;
	uint64_t nodes = 0;

	try_list(text, size);
	try_tree(text, size);
	if (tree_piece_open(text, size, &tree) == 0)
		(void)!tree_read((char *)tree.data, tree.len, count, &nodes);
	return 0;
}
