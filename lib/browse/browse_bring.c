#include "lib/browse/browse_inside.h"

#include <errno.h>
#include <stdatomic.h>

#define STEP_BYTES (24ULL << 20)
#define STEP_BLOBS 4096
#define PIECE_BYTES (4ULL << 20) /* what one thread fetches at a time */

struct bringing {
	struct browse *browse;
	ARRAY(struct blob_id) ids;
	bool *is_here;
	ARRAY(size_t) pieces; /* the first blob of each, and the end */
	uint64_t bytes, in_piece;
	atomic_uint_fast64_t failed;
	atomic_int away;
};

static void add_blob(struct bringing *bringing, const struct blob_id *id, uint64_t len)
{
	if (bringing->pieces.count == 0 || bringing->in_piece + len > PIECE_BYTES) {
		array_add(&bringing->pieces, bringing->ids.count);
		bringing->in_piece = 0;
	}
	array_add(&bringing->ids, *id);
	bringing->in_piece += len;
	bringing->bytes += len;
}

static bool is_full(const struct bringing *bringing)
{
	return bringing->bytes >= STEP_BYTES || bringing->ids.count >= STEP_BLOBS;
}

/* Adds blobs of the file that has this position in `dir`, from where the step is, and moves the step behind them. True: to its end. */
static bool add_file(struct bringing *bringing, struct browse_dir *dir, size_t position, struct browse_step *step)
{
	const struct node *node = browse_dir_node(dir, position);
	const struct browse_layout *layout;
	size_t blob;

	if (!S_ISREG(node->mode))
		return true;
	layout = browse_dir_layout(dir, position, bringing->browse->source);
	for (blob = browse_blob_at(layout, step->offset); blob + 1 < layout->count && !is_full(bringing); blob++)
		add_blob(bringing, &node->content.items[blob], layout->begins[blob + 1] - layout->begins[blob]);
	step->offset = layout->begins[blob];
	if (blob + 1 < layout->count)
		return false;
	/* One of which the length is not known. */
	if (blob < node->content.count) {
		(void)browse_failed(bringing->browse, &node->content.items[blob], node->name, -ENOENT);
		atomic_fetch_add(&bringing->failed, 1);
	}
	return true;
}

/* Collects what the step has in a part of the directory, up to position `end` of it, and moves it on. */
static void collect(struct bringing *bringing, const struct in_dir *in, uint64_t end, struct browse_step *step, uint64_t *files)
{
	const struct node *node;

	while (step->position < end && !is_full(bringing) && (node = browse_dir_node(in->dir, step->position - in->first)) &&
	       add_file(bringing, in->dir, step->position - in->first, step)) {
		*files += S_ISREG(node->mode);
		step->position++;
		step->offset = 0;
	}
}

struct piece {
	struct bringing *bringing;
	size_t first;
};

static void note_here(void *arg, size_t number, int result, const void *data, size_t len)
{
	const struct piece *piece = arg;

	(void)data;
	(void)len;
	piece->bringing->is_here[piece->first + number] = result == 0;
	if (result < 0)
		atomic_store(&piece->bringing->away, result);
}

/* What did not come together: another copy, or what is wrong. */
static void bring_alone(struct bringing *bringing, const struct blob_id *id)
{
	struct browse *browse = bringing->browse;
	AUTO_BUF plain = BUF_INIT;
	int r = browse->source->get(browse->source, id, false, &plain);

	if (r < 0 && r != -ENOENT && r != -EBADMSG)
		atomic_store(&bringing->away, r);
	else if (r < 0)
		atomic_fetch_add(&bringing->failed, 1);
	if (r < 0)
		(void)browse_failed(browse, id, "what is brought", r);
}

static void bring_piece(void *arg, size_t number)
{
	struct bringing *bringing = arg;
	struct piece piece = {bringing, bringing->pieces.items[number]};
	const size_t end = bringing->pieces.items[number + 1];
	struct blob_source *source = bringing->browse->source;

	if (atomic_load(&bringing->away) == 0)
		source->get_many(source, &bringing->ids.items[piece.first], end - piece.first, note_here, &piece);
	for (size_t i = piece.first; i < end && atomic_load(&bringing->away) == 0; i++)
		if (!bringing->is_here[i])
			bring_alone(bringing, &bringing->ids.items[i]);
}

int browse_bring_blob(struct browse *browse, const struct blob_id *id, bool is_tree)
{
	AUTO_BUF plain = BUF_INIT;
	int r;

	if (disk_cache_has(browse->options.disk, id, is_tree))
		return 0;
	r = browse->source->get(browse->source, id, is_tree, &plain);
	return r < 0 ? browse_failed(browse, id, "a directory", r) : 0;
}

static int bring_blob(void *arg, const struct blob_id *id, bool is_tree)
{
	return browse_bring_blob(arg, id, is_tree);
}

/* The directory that the step goes through, and before which position its files end. Directories that are made up have none. */
static int find_dir(struct browse *browse, struct browse_step *step, struct browse_wanted *ret_dir, uint64_t *ret_end)
{
	struct browse_place place;
	struct tree_of tree;
	uint64_t id = step->id;
	size_t number;
	int r = browse_real_node(browse, true, &id);

	*ret_dir = (struct browse_wanted){.lists = true};
	*ret_end = UINT64_MAX;
	if (r == 0 && id < BROWSE_NODES_FIRST && !browse_is_backup(browse, id, &number)) {
		*ret_end = 0;
		return 0;
	}
	if (r == 0)
		r = browse_tree_of(browse, id, &tree);
	if (r == 0) {
		ret_dir->tree = tree.tree;
		ret_dir->backup = tree.backup;
		/* It may be in memory only. */
		return step->position == 0 ? browse_parts_blobs(browse, ret_dir, bring_blob, browse) : 0;
	}
	if (r != -ENOTDIR || browse_nodes_get(browse->nodes, id, &place) < 0)
		return r;
	*ret_dir = (struct browse_wanted){.tree = place.tree, .backup = place.backup};
	step->position = place.position;
	*ret_end = place.position + 1;
	return 0;
}

/* The next part of the directory, which is brought, too, and of it what the step has. */
static int bring_part(struct bringing *bringing, struct browse_wanted *dir, uint64_t end, struct browse_step *step, uint64_t *files)
{
	struct in_dir in;
	int r;

	dir->position = step->position;
	r = browse_part_use(bringing->browse, dir, true, &in);
	if (r < 0)
		return r;
	if (dir->lists && in.cache == bringing->browse->parts)
		r = browse_bring_blob(bringing->browse, &in.blob, false);
	end = in.is_last ? MIN(end, in.first + browse_dir_count(in.dir)) : end;
	if (r == 0)
		collect(bringing, &in, end, step, files);
	step->at_end = step->position >= end;
	browse_dir_done(&in);
	return r;
}

int browse_bring(struct browse *browse, struct browse_step *step, struct browse_brought *ret_brought)
{
	struct bringing bringing = {.browse = browse};
	struct browse_wanted dir = {.lists = true};
	uint64_t end = 0, files = 0;
	int r = browse->options.disk ? browse_wait_index(browse, true) : -EOPNOTSUPP;

	if (r == 0)
		r = find_dir(browse, step, &dir, &end);
	if (r == 0)
		step->at_end = step->position >= end;
	while (r == 0 && !step->at_end && !is_full(&bringing))
		r = bring_part(&bringing, &dir, end, step, &files);
	if (r < 0) {
		array_clear(&bringing.ids);
		array_clear(&bringing.pieces);
		return r;
	}
	*ret_brought = (struct browse_brought){.files = files, .bytes = bringing.bytes};
	if (bringing.ids.count > 0) {
		array_add(&bringing.pieces, bringing.ids.count);
		bringing.is_here = xcalloc(bringing.ids.count, sizeof(bool));
		pool_run(browse->pool, bring_piece, &bringing, bringing.pieces.count - 1);
	}
	ret_brought->failed = atomic_load(&bringing.failed);
	r = atomic_load(&bringing.away) ? -EIO : 0;
	free(bringing.is_here);
	array_clear(&bringing.ids);
	array_clear(&bringing.pieces);
	return r;
}
