#include "lib/browse/browse_inside.h"

#include <errno.h>
#include <string.h>

#define PATH_MAX_LEN 32768 /* so that what is pinned can be listed */

struct pinning {
	struct browse *browse;
	struct pin_entries entries;
	struct pin pin;
	ARRAY(struct browse_wanted) above; /* the directories above the path, in which it is looked up */
};

static void add_entry(struct pinning *pinning, const struct blob_id *id, uint32_t length)
{
	array_add(&pinning->entries, (struct pin_entry){segment_key(id), length});
}

/* -ENOENT: no index names it. */
static int add_blob(void *arg, const struct blob_id *id, bool is_tree)
{
	struct pinning *pinning = arg;
	struct blob_source *source = pinning->browse->source;
	uint64_t len;
	int r = source->length(source, id, is_tree, &len);

	if (r == 0 && len >= SEGMENT_TREE)
		r = -EFBIG;
	if (r == 0)
		add_entry(pinning, id, (uint32_t)len | (is_tree ? SEGMENT_TREE : 0));
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

/* What a directory is read from, and the content of its files. */
static int add_dir(struct pinning *pinning, const struct tree_of *tree)
{
	struct browse *browse = pinning->browse;
	struct browse_wanted wanted = {.tree = tree->tree, .backup = tree->backup, .lists = true};
	struct in_dir in = {0};
	int r = browse_parts_blobs(browse, &wanted, add_blob, pinning);

	while (r == 0 && !in.is_last) {
		r = browse_part_use(browse, &wanted, true, &in);
		if (r < 0)
			break;
		if (in.cache == browse->parts)
			r = add_blob(pinning, &in.blob, false);
		for (size_t i = 0; i < browse_dir_count(in.dir) && r == 0; i++)
			r = add_file(pinning, in.dir, i);
		wanted.position = in.first + browse_dir_count(in.dir);
		browse_dir_done(&in);
	}
	return r;
}

static int add_found(void *arg, const struct browse_entry *entry)
{
	struct pinning *pinning = arg;
	struct tree_of tree;
	struct in_node in;
	uint64_t id = entry->id;
	int r = S_ISDIR(entry->stat.st_mode) ? browse_real_node(pinning->browse, true, &id) : 0;

	if (S_ISDIR(entry->stat.st_mode)) {
		if (r == 0)
			r = browse_tree_of(pinning->browse, id, &tree);
		return r == 0 ? add_dir(pinning, &tree) : r;
	}
	/* Of a directory, files come with it. */
	if (pinning->entries.count > 0)
		return 0;
	r = browse_node_use(pinning->browse, id, true, &in);
	if (r < 0)
		return r == -ESTALE ? 0 : r;
	r = add_file(pinning, in.dir.dir, in.position);
	browse_node_done(&in);
	return r;
}

/* Adds a name in front of the path. */
static int add_name(struct pinning *pinning, uint64_t id)
{
	AUTO_FREE char *below = pinning->pin.path;
	struct in_node in;
	int r = browse_node_use(pinning->browse, id, true, &in);

	pinning->pin.path = NULL;
	if (r < 0)
		return r;
	pinning->pin.path = xasprintf("/%s%s", in.node->name, below);
	browse_node_done(&in);
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
			r = add_name(pinning, id);
		if (r == 0) {
			array_add(&pinning->above, (struct browse_wanted){.tree = place.tree, .backup = place.backup, .position = place.position});
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

/* Gives what the path is looked up in. */
static int each_above(struct pinning *pinning, int (*each)(void *arg, const struct blob_id *id, bool is_tree), void *arg)
{
	struct browse *browse = pinning->browse;
	struct in_dir in;
	int r = 0;

	for (size_t i = 0; i < pinning->above.count && r == 0; i++) {
		r = browse_parts_blobs(browse, &pinning->above.items[i], each, arg);
		if (r == 0)
			r = browse_part_use(browse, &pinning->above.items[i], true, &in);
		if (r < 0)
			break;
		if (in.cache == browse->parts)
			r = each(arg, &in.blob, false);
		browse_dir_done(&in);
	}
	return r;
}

/* What of it is in memory only comes to the disk. */
static int bring_blob(void *arg, const struct blob_id *id, bool is_tree)
{
	return browse_bring_blob(arg, id, is_tree);
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
	return r == 0 ? each_above(pinning, add_blob, pinning) : r;
}

int browse_pin(struct browse *browse, uint64_t id)
{
	struct pinning pinning = {.browse = browse};
	int r = browse->options.disk ? collect(&pinning, id) : -EOPNOTSUPP;

	if (r == 0)
		r = disk_cache_pin(browse->options.disk, &pinning.pin, &pinning.entries);
	if (r == 0)
		r = each_above(&pinning, bring_blob, browse);
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
