/* Trees of large directories in pieces: what they hold, that a small change is small in them, and lists that lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include <errno.h>

#include "lib/repository/tree_pieces.h"

#define NODES 20000

/* Names as they come in data sets, and some that need escapes. */
static void name_node(unsigned number, char name[64])
{
	(void)snprintf(name, 64, "%06u%s", number * 10, number % 100 == 7 ? " \"\\\xff" : number % 100 == 8 ? " \xc3\xa4" : ".jpg");
}

static void add_node(struct buf *tree, const char *name, uint64_t size)
{
	const struct blob_id content = blob_id_of(&size, sizeof(size));
	struct node node = {.name = xstrdup(name), .mode = S_IFREG | 0644, .links = 1, .size = size, .inode = size};

	array_add(&node.content, content);
	tree_add(tree, &node);
	node_clear(&node);
}

/* Of NODES nodes; `changed` has another size, and `gone` is not there. */
static void make_tree(struct buf *tree, unsigned changed, unsigned gone)
{
	char name[64];

	tree_begin(tree);
	for (unsigned i = 0; i < NODES; i++) {
		name_node(i, name);
		if (i != gone)
			add_node(tree, name, i + (i == changed ? 1000000 : 0));
	}
	tree_end(tree);
}

struct counted {
	uint64_t count;
	const char *first;
};

static int count_node(void *arg, struct node *node)
{
	struct counted *counted = arg;

	if (counted->count++ == 0)
		assert_string_equal(node->name, counted->first);
	return 0;
}

static void all_pieces_together_are_the_tree(void **state)
{
	AUTO_BUF tree = BUF_INIT, whole = BUF_INIT, one = BUF_INIT;
	struct tree_pieces pieces = {0};
	uint64_t position = 0;

	(void)state;
	make_tree(&tree, NODES, NODES);
	assert_int_equal(tree_pieces_cut((char *)tree.data, tree.len, &pieces), 0);
	assert_in_range(pieces.count, tree.len / (512 << 10), tree.len / (128 << 10));
	assert_int_equal(tree_pieces_nodes(&pieces), NODES);
	for (size_t i = 0; i < pieces.count; i++) {
		const struct tree_piece *piece = &pieces.items[i];
		struct counted counted = {.first = piece->first};

		assert_int_equal(piece->position, position);
		assert_int_equal(piece->offset, whole.len);
		assert_true(piece->len <= (1U << 20) + 1024);
		buf_add(&whole, tree.data + piece->offset, piece->len);
		assert_int_equal(tree_piece_open((char *)tree.data + piece->offset, piece->len, &one), 0);
		assert_int_equal(tree_read((char *)one.data, one.len, count_node, &counted), 0);
		assert_int_equal(counted.count, piece->count);
		position += piece->count;
	}
	assert_int_equal(whole.len, tree.len);
	assert_memory_equal(whole.data, tree.data, tree.len);
	tree_pieces_clear(&pieces);
}

static bool has_piece(const struct tree_pieces *pieces, const struct buf *tree, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < pieces->count; i++)
		if (pieces->items[i].len == len && memcmp(tree->data + pieces->items[i].offset, data, len) == 0)
			return true;
	return false;
}

static void a_small_change_leaves_most_pieces_as_they_are(void **state)
{
	AUTO_BUF before = BUF_INIT;
	struct tree_pieces old = {0};

	(void)state;
	make_tree(&before, NODES, NODES);
	assert_int_equal(tree_pieces_cut((char *)before.data, before.len, &old), 0);
	for (unsigned at = 100; at < NODES; at += NODES / 7) {
		AUTO_BUF after = BUF_INIT;
		struct tree_pieces fresh = {0};
		size_t others = 0;

		make_tree(&after, at, at + 500);
		assert_int_equal(tree_pieces_cut((char *)after.data, after.len, &fresh), 0);
		for (size_t i = 0; i < fresh.count; i++)
			others += !has_piece(&old, &before, after.data + fresh.items[i].offset, fresh.items[i].len);
		assert_in_range(others, 1, 6);
		tree_pieces_clear(&fresh);
	}
	tree_pieces_clear(&old);
}

static void each_name_and_position_is_in_its_piece(void **state)
{
	AUTO_BUF tree = BUF_INIT, list = BUF_INIT;
	struct tree_pieces cut = {0}, pieces = {0};
	struct blob_id id, found;

	(void)state;
	make_tree(&tree, NODES, NODES);
	id = blob_id_of(tree.data, tree.len);
	assert_int_equal(tree_pieces_cut((char *)tree.data, tree.len, &cut), 0);
	tree_pieces_write(&cut, &id, &list);
	assert_int_equal(tree_pieces_read((char *)list.data, list.len, &found, &pieces), 0);
	assert_true(blob_id_equal(&id, &found));
	assert_int_equal(pieces.count, cut.count);
	for (unsigned i = 0; i < NODES; i++) {
		const struct tree_piece *piece = &pieces.items[tree_pieces_at(&pieces, i)];
		char name[64], behind[80];

		name_node(i, name);
		assert_in_range(i, piece->position, piece->position + piece->count - 1);
		assert_int_equal(tree_pieces_named(&pieces, name), piece - pieces.items);
		(void)snprintf(behind, sizeof(behind), "%sx", name);
		assert_int_equal(tree_pieces_named(&pieces, behind), piece - pieces.items);
	}
	assert_int_equal(tree_pieces_named(&pieces, ""), 0);
	assert_int_equal(tree_pieces_named(&pieces, "x"), pieces.count - 1);
	assert_int_equal(tree_pieces_at(&pieces, NODES + 5), pieces.count - 1);
	tree_pieces_clear(&cut);
	tree_pieces_clear(&pieces);
}

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static int read_list(const char *list)
{
	struct tree_pieces pieces = {0};
	struct blob_id tree;
	int r = tree_pieces_read(list, strlen(list), &tree, &pieces);

	tree_pieces_clear(&pieces);
	return r;
}

static void lists_that_are_none_are_refused(void **state)
{
	static const char *const bad[] = {
		"", "[]", "{}", "{\"version\":1,\"tree\":\"" ID "\"}", "{\"version\":1,\"tree\":\"" ID "\",\"pieces\":[]}",
		"{\"version\":1,\"tree\":\"01\",\"pieces\":[{\"first\":\"a\",\"count\":1}]}", "{\"version\":1,\"pieces\":[{\"first\":\"a\",\"count\":1}]}",
		"{\"version\":1,\"tree\":\"" ID "\",\"pieces\":[{\"first\":\"a\",\"count\":0}]}",
		"{\"version\":1,\"tree\":\"" ID "\",\"pieces\":[{\"first\":\"a\",\"count\":-1}]}",
		"{\"version\":1,\"tree\":\"" ID "\",\"pieces\":[{\"first\":\"a\"}]}",
		"{\"version\":1,\"tree\":\"" ID "\",\"pieces\":[{\"count\":1}]}",
		"{\"version\":1,\"tree\":\"" ID "\",\"pieces\":[{\"first\":\"a\\\\q\",\"count\":1}]}", "{\"version\":1,\"tree\":\"" ID "\",\"pieces\":[1]}",
		"{\"version\":1,\"tree\":\"" ID "\",\"pieces\":[{\"first\":\"b\",\"count\":1},{\"first\":\"a\",\"count\":1}]}",
		"{\"version\":1,\"tree\":\"" ID "\",\"pieces\":[{\"first\":\"a\",\"count\":1},{\"first\":\"a\",\"count\":1}]}",
		"{\"version\":1,\"tree\":\"" ID "\",\"pieces\":[{\"first\":\"a\",\"count\":4294967296},{\"first\":\"b\",\"count\":1}]}",
		"{\"tree\":\"" ID "\",\"pieces\":[{\"first\":\"a\",\"count\":1}]}",
	};

	(void)state;
	assert_int_equal(read_list("{\"version\":1,\"tree\":\"" ID "\",\"pieces\":[{\"first\":\"a\",\"count\":1},{\"first\":\"b\",\"count\":2}]}"), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (read_list(bad[i]) != -EBADMSG)
			fail_msg("%s", bad[i]);
	assert_int_equal(read_list("{\"version\":2,\"more\":0}"), -ENOTSUP);
}

static int cut(const char *tree)
{
	struct tree_pieces pieces = {0};
	int r = tree_pieces_cut(tree, strlen(tree), &pieces);

	tree_pieces_clear(&pieces);
	return r;
}

static void trees_that_are_formed_otherwise_are_not_cut(void **state)
{
	static const char *const bad[] = {
		"", "{\"nodes\":[]}\n", "{\"nodes\":null}\n", "{\"nodes\": [{\"name\":\"a\"}]}\n", "{\"nodes\":[{\"name\":\"a\"}]}", "{\"nodes\":[ {\"name\":\"a\"}]}\n",
		"{\"nodes\":[{\"name\":\"a\"}, {\"name\":\"b\"}]}\n", "{\"nodes\":[{\"name\":\"b\"},{\"name\":\"a\"}]}\n",
		"{\"nodes\":[{\"name\":\"a\"},{\"name\":\"a\"}]}\n", "{\"nodes\":[{\"type\":\"file\"}]}\n", "{\"nodes\":[{\"name\":\"a\"}],\"x\":[{}]}\n",
	};

	(void)state;
	assert_int_equal(cut("{\"nodes\":[{\"name\":\"a\"},{\"name\":\"a\\\\n\"},{\"name\":\"b\"}]}\n"), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (cut(bad[i]) != -EBADMSG)
			fail_msg("%s", bad[i]);
}

static void what_is_no_piece_is_refused(void **state)
{
	static const char *const bad[] = {"", ",", "]}\n", "{\"nodes\":[", "{\"nodes\":[]}\n", "{\"nodes\":[,", "{\"name\":\"a\"}"};
	AUTO_BUF tree = BUF_INIT;

	(void)state;
	assert_int_equal(tree_piece_open("{\"name\":\"a\"},", 13, &tree), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (tree_piece_open(bad[i], strlen(bad[i]), &tree) != -EBADMSG)
			fail_msg("%s", bad[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_pieces_together_are_the_tree),
		cmocka_unit_test(a_small_change_leaves_most_pieces_as_they_are),
		cmocka_unit_test(each_name_and_position_is_in_its_piece),
		cmocka_unit_test(lists_that_are_none_are_refused),
		cmocka_unit_test(trees_that_are_formed_otherwise_are_not_cut),
		cmocka_unit_test(what_is_no_piece_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
