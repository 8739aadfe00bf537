#include "lib/browse/browse_pieces.h"

#include <errno.h>

static int read_list(struct blob_source *source, browse_get_fn get, struct browse_pieces *pieces)
{
	const struct node *file = &pieces->files.list;
	AUTO_BUF list = BUF_INIT, plain = BUF_INIT;
	int r = 0;

	for (size_t i = 0; i < file->content.count && r == 0; i++) {
		r = get(source, &file->content.items[i], false, &plain);
		if (r == 0 && list.len + plain.len > BLOB_BYTES_MAX)
			r = -EBADMSG;
		if (r == 0)
			buf_add(&list, plain.data, plain.len);
	}
	if (r == 0)
		r = tree_pieces_read((char *)list.data, list.len, &pieces->tree, &pieces->list);
	return r == 0 && pieces->list.count != pieces->files.tree.content.count ? -EBADMSG : r;
}

int browse_pieces_new(struct blob_source *source, browse_get_fn get, const struct blob_id *dir, struct browse_pieces **ret_pieces, size_t *ret_cost)
{
	struct browse_pieces *pieces = xcalloc(1, sizeof(*pieces));
	AUTO_BUF json = BUF_INIT;
	int r = get(source, dir, true, &json);

	if (r == 0)
		r = large_tree_read((char *)json.data, json.len, &pieces->files);
	if (r == 0)
		r = read_list(source, get, pieces);
	if (r < 0) {
		browse_pieces_free(pieces);
		return r;
	}
	*ret_cost = sizeof(*pieces);
	for (size_t i = 0; i < pieces->list.count; i++)
		*ret_cost += sizeof(struct tree_piece) + strlen(pieces->list.items[i].first) + 1 + BLOB_ID_LEN;
	*ret_pieces = pieces;
	return 0;
}

void browse_pieces_free(struct browse_pieces *pieces)
{
	if (!pieces)
		return;
	tree_pieces_clear(&pieces->list);
	large_tree_clear(&pieces->files);
	free(pieces);
}

int browse_piece_new(const void *data, size_t len, struct browse_dir **ret_dir, size_t *ret_cost)
{
	AUTO_BUF json = BUF_INIT;
	int r = tree_piece_open(data, len, &json);

	return r < 0 ? r : browse_dir_new((char *)json.data, json.len, ret_dir, ret_cost);
}

bool browse_pieces_have(const struct browse_pieces *pieces, size_t number, const struct browse_dir *piece)
{
	const struct tree_piece *wanted = &pieces->list.items[number];

	return browse_dir_count(piece) == wanted->count && strcmp(browse_dir_node(piece, 0)->name, wanted->first) == 0;
}
