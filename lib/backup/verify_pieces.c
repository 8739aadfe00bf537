#include "lib/backup/verify_pieces.h"

#include <errno.h>

#include "lib/backup/large_trees.h"

/* What of one tree was looked at. */
struct looking {
	struct digest *digest;
	struct tree_pieces pieces;
	const struct tree_piece *piece; /* that is read */
	uint64_t count;                 /* of its nodes, so far */
	char *last;                     /* name of the node before, owned */
};

static int take_node(void *arg, struct node *node)
{
	struct looking *looking = arg;

	if ((looking->count == 0 && strcmp(node->name, looking->piece->first) != 0) || (looking->last && strcmp(looking->last, node->name) >= 0))
		return -EBADMSG;
	looking->count++;
	free(looking->last);
	looking->last = steal_ptr(node->name);
	return 0;
}

static int look_at_piece(struct verify_pieces *verify, struct looking *looking, const struct blob_id *id)
{
	AUTO_BUF plain = BUF_INIT, tree = BUF_INIT;
	int r = repository_read_blob(verify->reader, id, false, &plain);

	if (r < 0)
		return r;
	digest_update(looking->digest, plain.data, plain.len);
	looking->count = 0;
	r = tree_piece_open((char *)plain.data, plain.len, &tree);
	if (r == 0)
		r = tree_read((char *)tree.data, tree.len, take_node, looking);
	return r == 0 && looking->count != looking->piece->count ? -EBADMSG : r;
}

static int look_at_pieces(struct verify_pieces *verify, const struct large_tree *large, const struct blob_id *tree)
{
	struct looking looking = {.digest = digest_new()};
	AUTO_BUF list = BUF_INIT;
	struct blob_id id;
	int r = backup_info_content(verify->reader, &large->list, &list);

	if (r == 0)
		r = tree_pieces_read((char *)list.data, list.len, &id, &looking.pieces);
	if (r == 0 && (!blob_id_equal(&id, tree) || looking.pieces.count != large->tree.content.count))
		r = -EBADMSG;
	for (size_t i = 0; r == 0 && i < looking.pieces.count; i++) {
		looking.piece = &looking.pieces.items[i];
		r = look_at_piece(verify, &looking, &large->tree.content.items[i]);
	}
	digest_final(looking.digest, id.bytes);
	if (r == 0 && !blob_id_equal(&id, tree))
		r = -EBADMSG;
	digest_free(looking.digest);
	tree_pieces_clear(&looking.pieces);
	free(looking.last);
	return r;
}

static int look_at_tree(struct verify_pieces *verify, const struct node *dir)
{
	struct large_tree large = {0};
	AUTO_BUF json = BUF_INIT;
	struct blob_id tree;
	int r = dir->has_subtree && blob_id_parse(dir->name, &tree) == 0 ? repository_read_blob(verify->reader, &dir->subtree, true, &json) : -EBADMSG;

	if (r == 0)
		r = large_tree_read((char *)json.data, json.len, &large);
	if (r == 0)
		r = look_at_pieces(verify, &large, &tree);
	large_tree_clear(&large);
	return r;
}

/* As what the directory is said to be, and what is in it. */
static bool is_seen(struct verify_pieces *verify, const struct node *dir)
{
	AUTO_BUF both = BUF_INIT;
	struct blob_id id;

	buf_add(&both, dir->subtree.bytes, BLOB_ID_LEN);
	buf_add(&both, dir->name, strlen(dir->name));
	id = blob_id_of(both.data, both.len);
	return !blob_set_put(&verify->seen, &id, true);
}

static int look_at_node(void *arg, struct node *dir)
{
	struct verify_pieces *verify = arg;
	AUTO_FREE char *path = xasprintf("/%s/%s/%s", BACKUP_INFO_DIR, LARGE_TREES_DIR, dir->name);
	int r;

	if (is_seen(verify, dir))
		return 0;
	r = verify->tree(verify->arg);
	if (r != 0)
		return r;
	r = look_at_tree(verify, dir);
	/* Of a later version: who does not know it does not use it. */
	if (r < 0 && r != -ENOTSUP)
		verify->problem(verify->arg, path, r, "the pieces of a large directory are missing, damaged or not those of its tree: mounts read the whole tree "
		                                      "instead");
	return 0;
}

int verify_pieces_of(struct verify_pieces *verify, const struct snapshot_file *snapshot)
{
	struct node info = {0}, trees = {0};
	AUTO_BUF json = BUF_INIT;
	int r = snapshot_file_has_tag(snapshot, "corpusfs") ? backup_info_find(verify->reader, &snapshot->tree, BACKUP_INFO_DIR, &info) : -ENOENT;

	if (r == 0)
		r = info.has_subtree ? backup_info_find(verify->reader, &info.subtree, LARGE_TREES_DIR, &trees) : -ENOENT;
	if (r == 0)
		r = trees.has_subtree ? repository_read_blob(verify->reader, &trees.subtree, true, &json) : -ENOENT;
	/* What is wrong so far was found with all other trees. */
	r = r < 0 ? 0 : tree_read((char *)json.data, json.len, look_at_node, verify);
	node_clear(&info);
	node_clear(&trees);
	return r == -EBADMSG ? 0 : r;
}

void verify_pieces_clear(struct verify_pieces *verify)
{
	blob_set_clear(&verify->seen);
}
