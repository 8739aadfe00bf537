#include "lib/repository/tree_pieces.h"

#include <errno.h>

#include <jansson.h>

#include "lib/repository/go_text.h"
#include "lib/repository/node_text.h"

#define VERSION 1

#define PIECE_MIN (64U << 10)
#define PIECE_BEYOND (192U << 10) /* that is how much it has beyond the least, on average */
#define PIECE_MAX (1U << 20)
#define NODES_MAX (1ULL << 32) /* of a tree: none is that long */

static const char begin[] = "{\"nodes\":[", end[] = "]}\n";
#define BEGIN_LEN (sizeof(begin) - 1)
#define END_LEN (sizeof(end) - 1)

void tree_pieces_clear(struct tree_pieces *pieces)
{
	for (size_t i = 0; i < pieces->count; i++)
		free(pieces->items[i].first);
	array_clear(pieces);
}

/* --- cutting --- */

struct cutting {
	const char *tree;
	struct tree_pieces *pieces;
	struct json_text last; /* the name of the node before */
};

/* FNV-1a, and the finaliser of SplitMix64: every bit of it depends on every byte. */
static uint32_t hash(const struct json_text *name)
{
	uint64_t x = 0xcbf29ce484222325ULL;

	for (size_t i = 0; i < name->len; i++)
		x = (x ^ (uint8_t)name->text[i]) * 0x100000001b3ULL;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
	return (uint32_t)(x >> 32);
}

/* Whether a piece may begin with the node: the longer it is, the more likely. */
static bool is_edge(const struct node_text *node)
{
	return (uint64_t)hash(&node->name) * PIECE_BEYOND < (uint64_t)node->len << 32;
}

static bool is_after(const struct json_text *name, const struct json_text *last)
{
	AUTO_FREE char *a = NULL, *b = NULL;

	if (!name->has_escapes && !last->has_escapes)
		return bytes_compare(last->text, last->len, name->text, name->len) < 0;
	return json_text_name(last, &a) == 0 && json_text_name(name, &b) == 0 && strcmp(a, b) < 0;
}

static int begin_piece(struct cutting *cutting, const struct node_text *node, size_t offset)
{
	struct tree_piece piece = {.offset = offset, .position = tree_pieces_nodes(cutting->pieces)};
	int r = json_text_name(&node->name, &piece.first);

	if (r == 0)
		array_add(cutting->pieces, piece);
	return r;
}

static int take_node(void *arg, const struct node_text *node)
{
	struct cutting *cutting = arg;
	struct tree_pieces *pieces = cutting->pieces;
	const size_t offset = (size_t)(node->text - cutting->tree);
	struct tree_piece *piece = pieces->count > 0 ? array_last(pieces) : NULL;
	int r = 0;

	if (node->text[-1] != (piece ? ',' : '[') || (piece && !is_after(&node->name, &cutting->last)))
		return -EBADMSG;
	if (!piece) {
		r = begin_piece(cutting, node, 0);
	} else if (offset - piece->offset >= PIECE_MAX || (offset - piece->offset >= PIECE_MIN && is_edge(node))) {
		piece->len = offset - piece->offset;
		r = begin_piece(cutting, node, offset);
	}
	if (r < 0)
		return r;
	array_last(pieces)->count++;
	cutting->last = node->name;
	return 0;
}

int tree_pieces_cut(const char *tree, size_t len, struct tree_pieces *ret_pieces)
{
	struct tree_pieces pieces = {0};
	struct cutting cutting = {.tree = tree, .pieces = &pieces};
	int r = -EBADMSG;

	if (len >= BEGIN_LEN + END_LEN && memcmp(tree, begin, BEGIN_LEN) == 0 && memcmp(tree + len - END_LEN, end, END_LEN) == 0)
		r = node_texts_each(tree, len, take_node, &cutting);
	if (r == 0 && pieces.count == 0)
		r = -EBADMSG;
	if (r < 0) {
		tree_pieces_clear(&pieces);
		return r;
	}
	array_last(&pieces)->len = len - array_last(&pieces)->offset;
	*ret_pieces = pieces;
	return 0;
}

/* --- the list --- */

void tree_pieces_write(const struct tree_pieces *pieces, const struct blob_id *tree, struct buf *list)
{
	char id[BLOB_ID_TEXT];

	blob_id_text(tree, id);
	buf_addf(list, "{\"version\":%d,\"tree\":\"%s\",\"pieces\":[", VERSION, id);
	for (size_t i = 0; i < pieces->count; i++) {
		AUTO_BUF name = BUF_INIT;

		go_quote(&name, pieces->items[i].first);
		buf_addf(list, "%s{\"first\":", i == 0 ? "" : ",");
		go_json_string(list, (char *)name.data);
		buf_addf(list, ",\"count\":%llu}", (unsigned long long)pieces->items[i].count);
	}
	buf_addf(list, "]}\n");
}

static int read_piece(const json_t *entry, struct tree_pieces *pieces)
{
	const char *name = json_string_value(json_object_get(entry, "first"));
	const json_int_t count = json_integer_value(json_object_get(entry, "count"));
	struct tree_piece piece = {.position = tree_pieces_nodes(pieces), .count = (uint64_t)count};
	int r = name && count > 0 && piece.count <= NODES_MAX - piece.position ? go_unquote(name, &piece.first) : -EBADMSG;

	if (r == 0 && pieces->count > 0 && strcmp(array_last(pieces)->first, piece.first) >= 0)
		r = -EBADMSG;
	if (r < 0)
		free(piece.first);
	else
		array_add(pieces, piece);
	return r;
}

static int read_list(const json_t *list, struct blob_id *ret_tree, struct tree_pieces *pieces)
{
	const char *id = json_string_value(json_object_get(list, "tree"));
	const json_t *entries = json_object_get(list, "pieces"), *entry;
	int r = id ? blob_id_parse(id, ret_tree) : -EBADMSG;
	size_t i;

	if (!json_is_integer(json_object_get(list, "version")))
		return -EBADMSG;
	if (json_integer_value(json_object_get(list, "version")) != VERSION)
		return -ENOTSUP;
	json_array_foreach(entries, i, entry) {
		if (r < 0)
			break;
		r = read_piece(entry, pieces);
	}
	return r < 0 || pieces->count == 0 ? -EBADMSG : 0;
}

int tree_pieces_read(const char *list, size_t len, struct blob_id *ret_tree, struct tree_pieces *ret_pieces)
{
	struct tree_pieces pieces = {0};
	json_t *json = json_loadb(list, len, 0, NULL);
	struct blob_id tree;
	int r = json ? read_list(json, &tree, &pieces) : -EBADMSG;

	json_decref(json);
	if (r < 0) {
		tree_pieces_clear(&pieces);
		return r;
	}
	*ret_tree = tree;
	*ret_pieces = pieces;
	return 0;
}

/* --- looking --- */

size_t tree_pieces_named(const struct tree_pieces *pieces, const char *name)
{
	size_t low = 0, high = pieces->count - 1;

	while (low < high) {
		const size_t middle = high - (high - low) / 2;

		if (strcmp(pieces->items[middle].first, name) <= 0)
			low = middle;
		else
			high = middle - 1;
	}
	return low;
}

size_t tree_pieces_at(const struct tree_pieces *pieces, uint64_t position)
{
	size_t low = 0, high = pieces->count - 1;

	while (low < high) {
		const size_t middle = high - (high - low) / 2;

		if (pieces->items[middle].position <= position)
			low = middle;
		else
			high = middle - 1;
	}
	return low;
}

int tree_piece_open(const char *piece, size_t len, struct buf *ret_tree)
{
	const char *at = piece;
	size_t left = len;

	if (left >= BEGIN_LEN && memcmp(at, begin, BEGIN_LEN) == 0) {
		at += BEGIN_LEN;
		left -= BEGIN_LEN;
	}
	if (left > END_LEN && memcmp(at + left - END_LEN, end, END_LEN) == 0)
		left -= END_LEN;
	else if (left > 1 && at[left - 1] == ',')
		left--;
	else
		return -EBADMSG;
	buf_reset(ret_tree);
	buf_add(ret_tree, begin, BEGIN_LEN);
	buf_add(ret_tree, at, left);
	buf_add(ret_tree, end, END_LEN);
	return 0;
}
