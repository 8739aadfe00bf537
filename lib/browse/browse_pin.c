#include "lib/browse/browse_inside.h"

#include <errno.h>
#include <string.h>

#define PATH_MAX_LEN 32768 /* so that what is pinned can be listed */

struct pinning {
	struct browse *browse;
	struct pin_entries entries;
	struct pin pin;
	ARRAY(struct blob_id) above; /* the trees above the path, in which it is looked up */
};

static void add_entry(struct pinning *pinning, const struct blob_id *id, uint32_t length)
{
	array_add(&pinning->entries, (struct pin_entry){segment_key(id), length});
}

/* -ENOENT: no index names it. */
static int add_tree(struct pinning *pinning, const struct blob_id *id)
{
	struct blob_source *source = pinning->browse->source;
	uint64_t len;
	int r = source->length(source, id, true, &len);

	if (r == 0 && len >= SEGMENT_TREE)
		r = -EFBIG;
	if (r == 0)
		add_entry(pinning, id, (uint32_t)len | SEGMENT_TREE);
	return r < 0 ? browse_failed(pinning->browse, id, "a directory", r) : 0;
}

static int add_file(struct pinning *pinning, struct browse_dir *dir, size_t position)
{
	const struct node *node = browse_dir_node(dir, position);
	const struct browse_layout *layout;

	if (!S_ISREG(node->mode))
		return 0;
	layout = browse_dir_layout(dir, position, pinning->browse->source);
	if (layout->count - 1 < node->content.count)
		return browse_failed(pinning->browse, &node->content.items[layout->count - 1], node->name, -ENOENT);
	for (size_t i = 0; i < node->content.count; i++) {
		const uint64_t len = layout->begins[i + 1] - layout->begins[i];

		if (len >= SEGMENT_TREE)
			return -EFBIG;
		add_entry(pinning, &node->content.items[i], (uint32_t)len);
	}
	pinning->pin.files++;
	pinning->pin.bytes += layout->begins[layout->count - 1];
	return 0;
}

/* A directory's tree, and the content of its files. */
static int add_dir(struct pinning *pinning, const struct blob_id *tree)
{
	struct in_dir in;
	int r = add_tree(pinning, tree);

	if (r == 0)
		r = browse_dir_use(pinning->browse, tree, true, &in);
	if (r < 0)
		return r;
	for (size_t i = 0; i < browse_dir_count(in.dir) && r == 0; i++)
		r = add_file(pinning, in.dir, i);
	browse_dir_done(pinning->browse, &in);
	return r;
}

static int add_found(void *arg, const struct browse_entry *entry)
{
	struct pinning *pinning = arg;
	struct tree_of tree;
	struct browse_place place;
	struct in_dir in;
	uint64_t id = entry->id;
	int r = S_ISDIR(entry->stat.st_mode) ? browse_real_node(pinning->browse, true, &id) : 0;

	if (S_ISDIR(entry->stat.st_mode)) {
		if (r == 0)
			r = browse_tree_of(pinning->browse, id, &tree);
		return r == 0 ? add_dir(pinning, &tree.tree) : r;
	}
	/* Of a directory, files come with it. */
	if (pinning->entries.count > 0 || browse_nodes_get(pinning->browse->nodes, id, &place) < 0)
		return 0;
	r = browse_dir_use(pinning->browse, &place.tree, true, &in);
	if (r < 0)
		return r;
	r = add_file(pinning, in.dir, place.position);
	browse_dir_done(pinning->browse, &in);
	return r;
}

/* Adds a name in front of the path. */
static int add_name(struct pinning *pinning, const struct browse_place *place)
{
	AUTO_FREE char *below = pinning->pin.path;
	struct in_dir in;
	int r = browse_dir_use(pinning->browse, &place->tree, true, &in);

	pinning->pin.path = NULL;
	if (r < 0)
		return r;
	pinning->pin.path = xasprintf("/%s%s", browse_dir_node(in.dir, place->position)->name, below);
	browse_dir_done(pinning->browse, &in);
	return 0;
}

/* What a node is called: in which backup, and its path there. */
static int name_node(struct pinning *pinning, uint64_t id)
{
	struct browse *browse = pinning->browse;
	struct browse_place place;
	size_t number;
	int r = browse_real_node(browse, true, &id);

	pinning->pin.path = xstrdup("");
	while (r == 0 && id >= BROWSE_NODES_FIRST) {
		r = browse_nodes_get(browse->nodes, id, &place);
		if (r == 0)
			r = add_name(pinning, &place);
		if (r == 0) {
			array_add(&pinning->above, place.tree);
			id = place.parent;
		}
	}
	/* Lists of backups have nothing that could stay. */
	if (r == 0 && !browse_is_backup(browse, id, &number))
		r = -EINVAL;
	if (r < 0)
		return r;
	if (!*pinning->pin.path) {
		free(pinning->pin.path);
		pinning->pin.path = xstrdup("/");
	}
	if (strlen(pinning->pin.path) > PATH_MAX_LEN)
		return -ENAMETOOLONG;
	return blob_id_parse(browse_list_get(browse->list, number)->snapshot.name, &pinning->pin.backup);
}

static void clear(struct pinning *pinning)
{
	array_clear(&pinning->entries);
	array_clear(&pinning->above);
	free(pinning->pin.path);
}

/* What of the trees above is in memory only comes to the disk. */
static int bring_above(struct pinning *pinning)
{
	int r = 0;

	for (size_t i = 0; i < pinning->above.count && r == 0; i++)
		r = browse_bring_tree(pinning->browse, &pinning->above.items[i]);
	return r;
}

static int collect(struct pinning *pinning, uint64_t id)
{
	struct browse_entry entry = {.id = id};
	int r = browse_wait_index(pinning->browse, true);

	if (r == 0)
		r = name_node(pinning, id);
	if (r == 0)
		r = browse_getattr(pinning->browse, id, true, &entry);
	if (r == 0)
		r = browse_walk(pinning->browse, &entry, add_found, pinning);
	for (size_t i = 0; i < pinning->above.count && r == 0; i++)
		r = add_tree(pinning, &pinning->above.items[i]);
	return r;
}

int browse_pin(struct browse *browse, uint64_t id)
{
	struct pinning pinning = {.browse = browse};
	int r = browse->options.disk ? collect(&pinning, id) : -EOPNOTSUPP;

	if (r == 0)
		r = disk_cache_pin(browse->options.disk, &pinning.pin, &pinning.entries);
	if (r == 0)
		r = bring_above(&pinning);
	clear(&pinning);
	return r;
}

int browse_unpin(struct browse *browse, uint64_t id)
{
	struct pinning pinning = {.browse = browse};
	int r = browse->options.disk ? name_node(&pinning, id) : -EOPNOTSUPP;

	if (r == 0)
		r = disk_cache_unpin(browse->options.disk, &pinning.pin);
	clear(&pinning);
	return r;
}

int browse_unpin_all(struct browse *browse)
{
	return browse->options.disk ? disk_cache_unpin(browse->options.disk, NULL) : -EOPNOTSUPP;
}

int browse_pin_missing(struct browse *browse, uint64_t id, uint64_t *ret_bytes)
{
	struct pinning pinning = {.browse = browse};
	int r = browse->options.disk ? name_node(&pinning, id) : -EOPNOTSUPP;

	if (r == 0)
		r = disk_cache_missing(browse->options.disk, &pinning.pin, ret_bytes);
	clear(&pinning);
	return r;
}

void browse_pins(struct browse *browse, struct pins *ret_pins)
{
	if (browse->options.disk)
		disk_cache_pins(browse->options.disk, ret_pins);
}
