#include "lib/browse/browse_inside.h"

#include <errno.h>
#include <string.h>

int browse_readlink(struct browse *browse, uint64_t id, bool may_wait, struct buf *ret_target)
{
	struct in_node in;
	size_t number;
	int r = 0;

	if (id < BROWSE_NODES_FIRST) {
		if (!browse_is_link(browse, id, &number))
			return -EINVAL;
		buf_addf(ret_target, "%sids/%s", id >= LATESTS ? "" : "../", browse_list_get(browse->list, number)->name);
		buf_add_u8(ret_target, 0);
		return 0;
	}
	r = browse_node_use(browse, id, may_wait, &in);
	if (r < 0)
		return r;
	if (S_ISLNK(in.node->mode))
		buf_add(ret_target, in.node->target, strlen(in.node->target) + 1);
	else
		r = -EINVAL;
	browse_node_done(&in);
	return r;
}

/* --- directories --- */

int browse_tree_of(struct browse *browse, uint64_t id, struct tree_of *ret_tree)
{
	struct browse_place place;
	size_t number;
	int r;

	if (browse_is_backup(browse, id, &number)) {
		*ret_tree = (struct tree_of){browse_list_get(browse->list, number)->snapshot.tree, browse_backup_ino(browse, number), (uint32_t)number};
		return 0;
	}
	r = browse_nodes_get(browse->nodes, id, &place);
	if (r == 0 && !place.is_dir)
		r = -ENOTDIR;
	if (r == 0)
		*ret_tree = (struct tree_of){place.subtree, place.ino, place.backup};
	return r;
}

/* What stands at the position of a directory; `take`: as a node. */
static struct browse_entry entry_of(struct browse *browse, uint64_t parent, const struct tree_of *tree, const struct node *node, size_t position, bool take)
{
	struct browse_place place = {.tree = tree->tree, .position = position, .backup = tree->backup, .is_dir = S_ISDIR(node->mode) && node->has_subtree,
	                             .subtree = node->subtree, .ino = browse_node_ino(browse, tree->backup, tree->ino, node, position)};

	return (struct browse_entry){.id = take ? browse_nodes_take(browse->nodes, parent, &place) : 0, .stat = browse_stat_of(node, place.ino)};
}

static int lookup_in_tree(struct browse *browse, uint64_t parent, const char *name, bool may_wait, struct browse_entry *ret_entry)
{
	struct browse_wanted wanted = {.name = name};
	struct tree_of tree;
	struct in_dir in;
	size_t position;
	int r = browse_tree_of(browse, parent, &tree);

	if (r < 0)
		return r;
	wanted.tree = tree.tree;
	wanted.backup = tree.backup;
	wanted.whole = browse_is_root(browse, parent);
	r = browse_part_use(browse, &wanted, may_wait, &in);
	if (r < 0)
		return r;
	r = browse_dir_find(in.dir, name, &position);
	if (r == 0)
		*ret_entry = entry_of(browse, parent, &tree, browse_dir_node(in.dir, position), in.first + position, true);
	ret_entry->is_passing = browse_name_passes(browse, parent, &tree.tree, r == 0);
	browse_dir_done(&in);
	return r;
}

/* The member number `at` of a directory that is made up: its number, and its name. */
static bool made_up_member(const struct browse *browse, uint64_t dir, uint64_t at, uint64_t *ret_id, const char **ret_name)
{
	static const struct {
		uint64_t id;
		const char *name;
	} top[] = {{IDS, "ids"}, {LATESTS, "latest"}, {TIMES, "times"}};

	if (dir == BROWSE_ROOT && at < ARRAY_SIZE(top)) {
		/* Each that was the latest once has a number of its own, so that nobody takes one for another. */
		*ret_id = top[at].id + (top[at].id == LATESTS ? browse_list_newest(browse->list) : 0);
		*ret_name = top[at].name;
		return true;
	}
	if ((dir != IDS && dir != TIMES) || at >= browse_list_count(browse->list))
		return false;
	*ret_id = (dir == IDS ? BACKUPS : LINKS) + at;
	*ret_name = dir == IDS ? browse_list_get(browse->list, at)->name : browse_list_get(browse->list, at)->time;
	return true;
}

static int lookup_made_up(struct browse *browse, uint64_t parent, const char *name, struct browse_entry *ret_entry)
{
	const char *found;
	size_t number = 0;

	browse_look_again(browse);
	if (parent != BROWSE_ROOT && parent != IDS && parent != TIMES)
		return parent > TIMES ? -ENOTDIR : -ESTALE;
	if (parent == BROWSE_ROOT)
		while (made_up_member(browse, parent, number, &ret_entry->id, &found) && strcmp(found, name) != 0)
			number++;
	else if (browse_list_find(browse->list, name, parent == TIMES, &number) < 0)
		return -ENOENT;
	if (!made_up_member(browse, parent, number, &ret_entry->id, &found))
		return -ENOENT;
	/* Without backups, nothing is the latest. */
	return browse_stat_made_up(browse, ret_entry->id, &ret_entry->stat) < 0 ? -ENOENT : 0;
}

static bool is_in_tree(const struct browse *browse, uint64_t id)
{
	size_t number;

	return id >= BROWSE_NODES_FIRST || browse_is_backup(browse, id, &number);
}

int browse_lookup(struct browse *browse, uint64_t parent, const char *name, bool may_wait, struct browse_entry *ret_entry)
{
	int r = browse_real_node(browse, may_wait, &parent);

	*ret_entry = (struct browse_entry){0};
	if (r < 0)
		return r;
	return is_in_tree(browse, parent) ? lookup_in_tree(browse, parent, name, may_wait, ret_entry) : lookup_made_up(browse, parent, name, ret_entry);
}

void browse_forget(struct browse *browse, uint64_t id, uint64_t lookups)
{
	if (id >= BROWSE_NODES_FIRST)
		browse_nodes_forget(browse->nodes, id, lookups);
}

static int list_made_up(struct browse *browse, const struct browse_listing *what)
{
	struct browse_entry entry;
	const char *name;
	int r = 0;

	browse_look_again(browse);
	if (what->id < BROWSE_ROOT || what->id > TIMES)
		return -ENOTDIR;
	for (uint64_t at = what->from; r == 0 && made_up_member(browse, what->id, at, &entry.id, &name); at++)
		if (browse_stat_made_up(browse, entry.id, &entry.stat) == 0)
			r = what->each(what->arg, name, at + 1, &entry);
	return MIN(r, 0);
}

/* What is in a part from position `at` on, which is moved on. Not 0: `each` has ended it. */
static int list_part(struct browse *browse, const struct browse_listing *what, const struct tree_of *tree, const struct in_dir *in, uint64_t *at)
{
	int r = 0;

	for (const struct node *node; r == 0 && (node = browse_dir_node(in->dir, *at - in->first)); ++*at) {
		struct browse_entry entry = entry_of(browse, what->id, tree, node, *at, what->take);

		entry.is_passing = browse_name_passes(browse, what->id, &tree->tree, true);
		r = what->each(what->arg, node->name, *at + 1, &entry);
		if (r != 0 && what->take)
			browse_forget(browse, entry.id, 1);
	}
	return r;
}

static int list_tree(struct browse *browse, const struct browse_listing *what, bool may_wait)
{
	struct browse_wanted wanted = {.lists = true};
	uint64_t at = what->from;
	bool is_last = false;
	struct tree_of tree;
	struct in_dir in;
	int r = browse_tree_of(browse, what->id, &tree);

	while (r == 0 && !is_last) {
		wanted.tree = tree.tree;
		wanted.backup = tree.backup;
		wanted.position = at;
		wanted.whole = browse_is_root(browse, what->id);
		r = browse_part_use(browse, &wanted, may_wait, &in);
		/* Who has got names comes back for the others. */
		if (r < 0)
			return at == what->from ? r : 0;
		r = list_part(browse, what, &tree, &in, &at);
		is_last = in.is_last;
		browse_dir_done(&in);
	}
	return MIN(r, 0);
}

int browse_list(struct browse *browse, const struct browse_listing *what, bool may_wait)
{
	struct browse_listing real = *what;
	int r = browse_real_node(browse, may_wait, &real.id);

	if (r < 0)
		return r;
	return is_in_tree(browse, real.id) ? list_tree(browse, &real, may_wait) : list_made_up(browse, what);
}
