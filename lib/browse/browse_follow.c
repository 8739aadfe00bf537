/*
 * The root becomes that of another version of the dataset, at one instant, under readers whose kernel keeps names and attributes for ever.
 *
 * Nodes have numbers of their own in each version, as they stand in other directories: so whatever somebody holds, an open file or a directory that he
 * stands in, goes on in its version, and nothing that is kept of it becomes wrong. Only what the root is, and which names are in it, changes; so only of
 * the root something kept must be dropped. It cannot be dropped at once, name by name, but it need not be:
 *
 *   F1  From the first step on (`moves`) nobody may keep what he is told of the root: he is still told of the old version, and must ask again.
 *   F2  Then all that somebody may have kept is dropped, name by name. Who uses a name that was dropped asks, and is told of the old version; who uses
 *       one that was not yet has it from the old version, too.
 *   F3  When nobody keeps anything any more, the root becomes that of the new version. This is the instant: before it everybody sees the old version,
 *       from then on everybody asks, and sees the new one.
 *
 * Which names are to be dropped is known from the nodes in the old root: a node is taken before it is decided whether its name may be kept
 * (browse_name_passes), so one that may be kept is among the nodes when F2 looks at them. An answer that was made before F1 and comes later holds the
 * kernel's lock of the root, for which who drops a name waits. A name that is not there has no node, so nobody may ever keep that; and the list of the root
 * is not kept either. Who has the root open reads the list of the version in which he opened it.
 *
 * Directory and names of the new root are in memory before F1, so that nothing of this waits for the place.
 */
#include "lib/browse/browse_inside.h"

#include <errno.h>
#include <string.h>

#include "lib/base/fault.h"

/* --- what it takes before --- */

static int find_backup(struct browse *browse, const char *name, size_t *ret_number, struct error *err)
{
	struct snapshot_files fresh = {0};
	struct snapshot_file snapshot;
	int r;

	for (size_t i = 0; i < browse_list_count(browse->list); i++)
		if (strcmp(browse_list_get(browse->list, i)->snapshot.name, name) == 0) {
			*ret_number = i;
			return 0;
		}
	r = snapshot_file_read(browse->repository, name, &snapshot, err);
	if (r < 0)
		return r;
	array_add(&fresh, snapshot);
	browse_list_add(browse->list, &fresh);
	*ret_number = browse_list_count(browse->list) - 1;
	return 0;
}

/* A cache with copies of the repository may have told of fewer files, while the place was away for it. */
static int read_index(struct browse *browse, const struct object_names *files, struct error *err)
{
	int r = browse_wait_index(browse, false);

	if (r < 0)
		return error_set(err, -EAGAIN, "the index of the repository is not read yet");
	r = blob_source_refresh(browse->place, err);
	for (size_t i = 0; i < files->count && r == 0; i++)
		if (!object_names_have_id(&browse->repository->index_files, &files->items[i]))
			r = error_set(err, -EAGAIN, "the index of the repository is not read yet");
	return r;
}

struct next {
	size_t number; /* of the backup */
	uint64_t root;
	struct in_dir dir;
};

static int prepare(struct browse *browse, const struct browse_moving *moving, struct next *ret_next, struct error *err)
{
	struct tree_of tree;
	int r = read_index(browse, moving->index_files, err);

	if (r == 0)
		r = find_backup(browse, moving->backup, &ret_next->number, err);
	if (r < 0)
		return r;
	r = browse_root_of(browse, ret_next->number, true, &ret_next->root);
	if (r == 0)
		r = browse_tree_of(browse, ret_next->root, &tree);
	if (r == 0)
		r = browse_dir_use(browse, &tree.tree, true, &ret_next->dir);
	return error_default(err, r, "its root cannot be read");
}

/* --- the move --- */

/* F2. Names that nobody may keep any more may be among them. */
static int drop_names(struct browse *browse, uint64_t root, struct cached *in_root, const struct browse_moving *moving)
{
	struct browse_positions positions = {0};
	int r = 0;

	if (in_root)
		browse_nodes_in(browse->nodes, root, &positions);
	for (size_t i = 0; i < positions.count && r == 0; i++) {
		if (i == positions.count / 2)
			r = fault_point("follow-between-names");
		if (r == 0)
			r = moving->drop(moving->arg, browse_dir_node(cached_value(in_root), positions.items[i])->name);
	}
	array_clear(&positions);
	return r == 0 ? moving->drop(moving->arg, NULL) : r;
}

/* F1 */
static struct cached *begin(struct browse *browse, uint64_t *ret_root)
{
	struct cached *in_root;

	pthread_mutex_lock(&browse->mutex);
	browse->moves = true;
	*ret_root = browse->root;
	in_root = browse->in_root;
	pthread_mutex_unlock(&browse->mutex);
	return in_root;
}

/* F3, unless something could not be dropped. */
static void end(struct browse *browse, const struct next *next, bool is_dropped)
{
	struct cached *let_go = next->dir.cached;

	pthread_mutex_lock(&browse->mutex);
	if (is_dropped) {
		let_go = browse->in_root;
		browse->in_root = next->dir.cached;
		browse->shown = (uint32_t)next->number;
		browse->root = next->root;
	}
	browse->moves = false;
	pthread_mutex_unlock(&browse->mutex);
	shared_cache_put(browse->dirs, let_go);
}

int browse_move(struct browse *browse, const struct browse_moving *moving, struct error *err)
{
	struct cached *in_root;
	struct next next = {0};
	uint64_t root;
	int r = prepare(browse, moving, &next, err);

	if (r < 0)
		return r;
	in_root = begin(browse, &root);
	r = drop_names(browse, root, in_root, moving);
	end(browse, &next, r == 0);
	if (r < 0)
		return error_set(err, r, "the kernel cannot be told: %s", error_text(r));
	/* Of the root, access control lists may have been kept in between. */
	(void)!moving->drop(moving->arg, NULL);
	return 0;
}
