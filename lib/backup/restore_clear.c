#include "lib/backup/restore_clear.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

/* A directory to look at. */
struct pair {
	uint64_t ino;
	struct blob_id tree;
};

struct entry {
	char *name;
	uint64_t ino;
	uint8_t type;
};

struct entries {
	ARRAY_FIELDS(struct entry);
};

/* A directory of the backup, by names. */
struct wanted {
	ARRAY_FIELDS(struct node);
};

struct clearing {
	struct store *store;
	struct view *view;
	struct repository_reader *reader;
	ARRAY(struct pair) pairs;
};

static int add_entry(void *arg, const char *name, uint64_t ino, uint8_t type)
{
	struct entries *entries = arg;

	array_add(entries, (struct entry){xstrdup(name), ino, type});
	return 0;
}

static void clear_entries(struct entries *entries)
{
	for (size_t i = 0; i < entries->count; i++)
		free(entries->items[i].name);
	array_clear(entries);
}

static int remove_name(struct clearing *clearing, uint64_t dir, const char *name, bool is_dir)
{
	int r = is_dir ? view_rmdir(clearing->view, dir, name) : view_unlink(clearing->view, dir, name);

	if (r == 0)
		store_entry_changed(clearing->store, view_number(clearing->view), dir, name);
	return r == -ENOENT ? 0 : r;
}

/* Directories that are emptied, the deepest last. */
struct way_step {
	uint64_t parent, ino;
	char *name;
};

struct way {
	ARRAY_FIELDS(struct way_step);
};

/* Empties the directory that is last on the way of all but directories. 1: it has one, which is on the way now. */
static int empty_last(struct clearing *clearing, struct way *way)
{
	const uint64_t dir = array_last(way)->ino;
	struct entries entries = {0};
	int r = view_list(clearing->view, dir, "", add_entry, &entries);

	for (size_t i = 0; i < entries.count && r == 0; i++) {
		if (entries.items[i].type == DT_DIR) {
			array_add(way, (struct way_step){dir, entries.items[i].ino, steal_ptr(entries.items[i].name)});
			r = 1;
		} else {
			r = remove_name(clearing, dir, entries.items[i].name, false);
		}
	}
	clear_entries(&entries);
	return r;
}

static int remove_tree(struct clearing *clearing, uint64_t parent, const struct entry *entry)
{
	struct way way = {0};
	int r = 0;

	if (entry->type != DT_DIR)
		return remove_name(clearing, parent, entry->name, false);
	array_add(&way, (struct way_step){parent, entry->ino, xstrdup(entry->name)});
	while (way.count > 0 && r >= 0) {
		struct way_step last;

		r = empty_last(clearing, &way);
		if (r != 0)
			continue;
		last = array_pop(&way);
		r = remove_name(clearing, last.parent, last.name, true);
		free(last.name);
	}
	for (size_t i = 0; i < way.count; i++)
		free(way.items[i].name);
	array_clear(&way);
	return r;
}

/* --- what stays --- */

static int keep_node(void *arg, struct node *node)
{
	struct wanted *wanted = arg;

	array_add(wanted, *node);
	*node = (struct node){0};
	return 0;
}

static int by_name(const void *a, const void *b)
{
	const struct node *one = a, *other = b;

	return strcmp(one->name, other->name);
}

static int load_wanted(struct clearing *clearing, const struct blob_id *tree, struct wanted *wanted)
{
	AUTO_BUF json = BUF_INIT;
	int r = repository_read_blob(clearing->reader, tree, true, &json);

	if (r == 0)
		r = tree_read((char *)json.data, json.len, keep_node, wanted);
	if (r == 0 && wanted->count > 0)
		qsort(wanted->items, wanted->count, sizeof(*wanted->items), by_name);
	return r;
}

static int look_at(struct clearing *clearing, uint64_t dir, const struct wanted *wanted, const struct entry *entry)
{
	const struct node key = {.name = entry->name};
	const struct node *found = wanted->count == 0 ? NULL : bsearch(&key, wanted->items, wanted->count, sizeof(*wanted->items), by_name);

	if (!found || S_ISDIR(found->mode) != (entry->type == DT_DIR))
		return remove_tree(clearing, dir, entry);
	if (entry->type == DT_DIR && found->has_subtree)
		array_add(&clearing->pairs, (struct pair){entry->ino, found->subtree});
	return 0;
}

static int clear_directory(struct clearing *clearing, struct pair pair)
{
	struct wanted wanted = {0};
	struct entries entries = {0};
	int r = load_wanted(clearing, &pair.tree, &wanted);

	if (r == 0)
		r = view_list(clearing->view, pair.ino, "", add_entry, &entries);
	for (size_t i = 0; i < entries.count && r == 0; i++)
		r = look_at(clearing, pair.ino, &wanted, &entries.items[i]);
	clear_entries(&entries);
	for (size_t i = 0; i < wanted.count; i++)
		node_clear(&wanted.items[i]);
	array_clear(&wanted);
	return r;
}

int restore_clear(struct store *store, const char *dataset, struct repository *repository, const struct node *top, struct error *err)
{
	struct clearing clearing = {.store = store};
	int r = top->has_subtree ? store_head(store, dataset, &clearing.view) : -ENOTDIR;

	if (r < 0)
		return error_set(err, r, "%s: %s", dataset, r == -ENOTDIR ? "what is wanted of the backup is not a directory" : error_text(r));
	clearing.reader = repository_reader_new(repository);
	array_add(&clearing.pairs, (struct pair){ROOT_INO, top->subtree});
	while (clearing.pairs.count > 0 && r == 0)
		r = clear_directory(&clearing, array_pop(&clearing.pairs));
	array_clear(&clearing.pairs);
	repository_reader_free(clearing.reader);
	store_view_put(store, clearing.view);
	return r < 0 ? error_set(err, r, "what the backup has not could not be removed from %s: %s", dataset, error_text(r)) : 0;
}
