/*
 * A directory is read whole, or, if it is large and its backup has pieces of it, only in the part that is asked for. Positions are the same in both
 * ways, so nobody sees which it was.
 */
#include "lib/browse/browse_inside.h"

#include <errno.h>
#include <string.h>

#define TOGETHER_MAX 16U

/* Of what belongs to the pieces and cannot be had. 0: it is told, and the directory's tree is read instead. */
static int give_up(struct browse *browse, const struct blob_id *id, int code)
{
	/* -EIO: also of a pack that was cut short. */
	if (code == -EAGAIN || code == -ENOMEM || code == -ECANCELED || (code != -EIO && objects_is_away(code)))
		return code;
	if (code != -ENOTSUP)
		(void)browse_failed(browse, id, "the pieces of a large directory, which is read whole instead", code);
	return 0;
}

static int use_cached(struct browse *browse, struct shared_cache *cache, const struct blob_id *id, bool may_wait, struct cached **ret_cached)
{
	int r = shared_cache_find(cache, id, ret_cached);

	if (r == -EAGAIN && may_wait)
		r = shared_cache_get(cache, id, ret_cached);
	return r < 0 ? give_up(browse, id, r) : 1;
}

/* 1: whether the tree may have pieces that are worth to be looked for. */
static int is_large(struct browse *browse, const struct blob_id *tree, bool may_wait)
{
	struct disk_cache *disk = browse->options.disk;
	uint64_t len;
	int r;

	if (shared_cache_has(browse->dirs, tree))
		return 0;
	r = browse_wait_index(browse, false);
	if (r < 0 && disk && disk_cache_has(disk, tree, true))
		return 0;
	if (r < 0)
		r = browse_wait_index(browse, may_wait);
	if (r < 0)
		return r;
	return browse->source->length(browse->source, tree, true, &len) == 0 && len >= TREE_PIECES_FROM;
}

/* Goes down one name. 1: it is there, and *id is its tree. */
static int go_down(struct browse *browse, struct blob_id *id, const char *name, bool may_wait)
{
	const struct node *node;
	struct in_dir in;
	size_t position;
	int r = browse_dir_get(browse, id, may_wait, &in);

	if (r < 0)
		return give_up(browse, id, r);
	node = browse_dir_find(in.dir, name, &position) == 0 ? browse_dir_node(in.dir, position) : NULL;
	r = node && node->has_subtree;
	if (r == 1)
		*id = node->subtree;
	browse_dir_done(&in);
	return r;
}

/* The directories above the pieces, and theirs at last. 1: they are there. */
static int find_pieces(struct browse *browse, const struct browse_wanted *wanted, bool may_wait, struct blob_id way[PIECES_WAY])
{
	const struct snapshot_file *snapshot = &browse_list_get(browse->list, wanted->backup)->snapshot;
	char name[BLOB_ID_TEXT];
	const char *const names[PIECES_WAY] = {BACKUP_INFO_DIR, LARGE_TREES_DIR, name};
	struct blob_id at = snapshot->tree;
	int r = snapshot_file_has_tag(snapshot, "corpusfs");

	blob_id_text(&wanted->tree, name);
	for (size_t i = 0; i < PIECES_WAY && r == 1; i++) {
		r = go_down(browse, &at, names[i], may_wait);
		way[i] = at;
	}
	return r;
}

/* 1: the list of the directory's pieces is in use. */
static int use_pieces(struct browse *browse, const struct browse_wanted *wanted, bool may_wait, struct cached **ret_cached)
{
	struct blob_id way[PIECES_WAY];
	const struct browse_pieces *pieces;
	int r = wanted->whole ? 0 : is_large(browse, &wanted->tree, may_wait);

	if (r == 1)
		r = find_pieces(browse, wanted, may_wait, way);
	if (r == 1)
		r = use_cached(browse, browse->pieces, &way[PIECES_WAY - 1], may_wait, ret_cached);
	if (r != 1)
		return r;
	pieces = cached_value(*ret_cached);
	if (blob_id_equal(&pieces->tree, &wanted->tree))
		return 1;
	shared_cache_put(browse->pieces, *ret_cached);
	return give_up(browse, &way[PIECES_WAY - 1], -EBADMSG);
}

/* --- several pieces at once --- */

struct together {
	struct browse *browse;
	struct blob_id ids[TOGETHER_MAX];
	struct cached *claimed[TOGETHER_MAX]; /* NULL: it is made */
	size_t count;
};

static void take_fetched(void *arg, size_t number, int result, const void *data, size_t len)
{
	struct together *together = arg;
	struct browse_dir *dir = NULL;
	size_t cost = 0;
	const int r = result < 0 ? result : browse_piece_new(data, len, &dir, &cost);

	/* Who waits for one that could not be had asks for it alone. */
	shared_cache_made(together->browse->parts, together->claimed[number], r < 0 ? -EAGAIN : 0, dir, cost);
	together->claimed[number] = NULL;
}

/* Who lists a directory soon needs what follows: the farther he is, the more, so that who wants the first names only gets little. */
static void fetch_together(struct browse *browse, const struct browse_pieces *pieces, size_t number)
{
	const size_t end = MIN(number + MIN(number + 1, TOGETHER_MAX), pieces->list.count);
	struct together together = {.browse = browse};

	for (; number < end; number++) {
		const struct blob_id *id = &pieces->files.tree.content.items[number];

		if (shared_cache_claim(browse->parts, id, &together.claimed[together.count]))
			together.ids[together.count++] = *id;
	}
	if (together.count > 0)
		browse->source->get_many(browse->source, together.ids, together.count, take_fetched, &together);
	for (size_t i = 0; i < together.count; i++)
		if (together.claimed[i])
			shared_cache_made(browse->parts, together.claimed[i], -EAGAIN, NULL, 0);
}

/* --- parts --- */

/* 1: the piece is in use. */
static int use_piece(struct browse *browse, const struct browse_pieces *pieces, const struct browse_wanted *wanted, bool may_wait, struct in_dir *ret_dir)
{
	const size_t number = wanted->name ? tree_pieces_named(&pieces->list, wanted->name) : tree_pieces_at(&pieces->list, wanted->position);
	const struct blob_id *id = &pieces->files.tree.content.items[number];
	struct in_dir in = {.cache = browse->parts, .blob = *id, .first = pieces->list.items[number].position, .is_last = number + 1 == pieces->list.count};
	int r;

	if (wanted->lists && may_wait && !shared_cache_has(browse->parts, id))
		fetch_together(browse, pieces, number);
	r = use_cached(browse, browse->parts, id, may_wait, &in.cached);
	if (r != 1)
		return r;
	in.dir = cached_value(in.cached);
	if (!browse_pieces_have(pieces, number, in.dir)) {
		browse_dir_done(&in);
		return give_up(browse, id, -EBADMSG);
	}
	*ret_dir = in;
	return 1;
}

int browse_part_use(struct browse *browse, const struct browse_wanted *wanted, bool may_wait, struct in_dir *ret_dir)
{
	struct disk_cache *disk = browse->options.disk;
	struct cached *cached;
	int r = use_pieces(browse, wanted, may_wait, &cached);

	if (r == 1) {
		r = use_piece(browse, cached_value(cached), wanted, may_wait, ret_dir);
		shared_cache_put(browse->pieces, cached);
	}
	if (r == 1)
		return 0;
	if (r == -EAGAIN || (r == -EIO && browse_wait_index(browse, false) < 0))
		return r;
	/* Its place was waited for, and says no to all. */
	if (r < 0 && !(disk && disk_cache_has(disk, &wanted->tree, true)))
		return browse_failed(browse, &wanted->tree, "a directory", r);
	return browse_dir_use(browse, &wanted->tree, may_wait, ret_dir);
}

int browse_parts_blobs(struct browse *browse, const struct browse_wanted *wanted, int (*each)(void *arg, const struct blob_id *id, bool is_tree), void *arg)
{
	struct blob_id way[PIECES_WAY];
	const struct browse_pieces *pieces;
	struct cached *cached;
	int r = use_pieces(browse, wanted, true, &cached);

	if (r < 0)
		return browse_failed(browse, &wanted->tree, "a directory", r);
	if (r == 0)
		return each(arg, &wanted->tree, true);
	pieces = cached_value(cached);
	r = find_pieces(browse, wanted, true, way) == 1 ? 0 : -EIO;
	for (size_t i = 0; i < PIECES_WAY && r == 0; i++)
		r = each(arg, &way[i], true);
	for (size_t i = 0; i < pieces->files.list.content.count && r == 0; i++)
		r = each(arg, &pieces->files.list.content.items[i], false);
	shared_cache_put(browse->pieces, cached);
	return r;
}

/* --- nodes --- */

int browse_node_use(struct browse *browse, uint64_t id, bool may_wait, struct in_node *ret_node)
{
	struct in_node in;
	int r = browse_nodes_get(browse->nodes, id, &in.place);

	if (r == 0) {
		const struct browse_wanted wanted = {.tree = in.place.tree, .backup = in.place.backup, .position = in.place.position};

		r = browse_part_use(browse, &wanted, may_wait, &in.dir);
	}
	if (r < 0)
		return r;
	in.position = in.place.position - in.dir.first;
	in.node = browse_dir_node(in.dir.dir, in.position);
	if (!in.node) {
		browse_dir_done(&in.dir);
		return browse_failed(browse, &in.place.tree, "a directory", -EBADMSG);
	}
	*ret_node = in;
	return 0;
}

void browse_node_done(struct in_node *node)
{
	browse_dir_done(&node->dir);
}
