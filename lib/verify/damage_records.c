#include "lib/verify/damage_records.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/store/catalog.h"
#include "lib/tree/records/paths.h"
#include "lib/tree/records/scan.h"

#define NAMES_MAX 100000 /* that are looked up in all views */

struct seen_name {
	uint32_t family;
	uint64_t dir, ino;
	char name[NAME_LEN_MAX + 1];
};

struct seen_view {
	char dataset[NAME_LEN_MAX + 1], snapshot[NAME_LEN_MAX + 1];
	struct scan scan;
};

struct names {
	const struct lost_records *lost;
	ARRAY(struct seen_name) names;
	ARRAY(struct seen_view) views;
	int (*each)(void *arg, const struct damage_name *name);
	void *arg;
	size_t left;
	bool all;
};

/* --- gathering --- */

static void add_view(struct names *names, struct store *store, const char *dataset, const char *snapshot, uint32_t family, const struct line *line)
{
	struct seen_view *view;

	if (!lost_records_of(names->lost, family))
		return;
	view = array_new(&names->views);
	snprintf(view->dataset, sizeof(view->dataset), "%s", dataset);
	snprintf(view->snapshot, sizeof(view->snapshot), "%s", snapshot);
	scan_of_line(&view->scan, store_tree(store), family, line);
}

static void add_views(struct names *names, struct store *store)
{
	mutex_take(&store->catalog_lock);
	for (struct dataset *dataset = store->datasets; dataset; dataset = dataset->by_name.next) {
		add_view(names, store, dataset->name, "", dataset->record.family, &dataset->record.line);
		for (struct snapshot *snapshot = dataset->snapshots; snapshot; snapshot = snapshot->by_name.next)
			add_view(names, store, dataset->name, snapshot->name, snapshot->record.family, &snapshot->record.line);
	}
	mutex_give(&store->catalog_lock);
}

static bool is_last(const struct names *names, const struct seen_name *name)
{
	const struct seen_name *last = names->names.count > 0 ? array_last(&names->names) : NULL;

	return last && last->family == name->family && last->dir == name->dir && last->ino == name->ino && strcmp(last->name, name->name) == 0;
}

/* Versions of one name follow each other. */
static int take_version(void *arg, const struct stored_version *version)
{
	const struct tree_key_parts *parts = &version->parts;
	struct names *names = arg;
	struct entry_record entry;
	struct seen_name name = {.family = parts->family, .dir = parts->ino};

	if (parts->kind != KEY_ENTRY || entry_record_decode(version->value, version->len, &entry) < 0 ||
	    !lost_records_has(names->lost, parts->family, entry.ino))
		return 0;
	name.ino = entry.ino;
	snprintf(name.name, sizeof(name.name), "%.*s", (int)parts->name_len, parts->name);
	if (names->names.count == NAMES_MAX)
		names->all = false;
	else if (!is_last(names, &name))
		array_add(&names->names, name);
	return 0;
}

/* --- telling --- */

static int tell(struct names *names, const struct seen_view *view, const char *path)
{
	if (names->left == 0) {
		names->all = false;
		return 0;
	}
	names->left--;
	return names->each(names->arg, &(struct damage_name){view->dataset, view->snapshot, path});
}

/* Where only content of small files is lost: this view sees none of it under the name. */
static bool is_whole(const struct lost_records *lost, const struct scan *scan, uint64_t ino)
{
	struct scan_inode inode = {0};
	bool whole = false;

	if (lost_records_has_layout(lost, scan->family, ino) || scan_inode(scan, ino, &inode) < 0)
		return false;
	if (!inode.record.is_inline) {
		whole = true;
	} else {
		const struct tree_key key = tree_key_at(tree_stem_content(scan->family, ino), inode.record.content);
		whole = !lost_records_has_content(lost, &key);
	}
	scan_inode_clear(&inode);
	return whole;
}

static int tell_name(struct names *names, const struct seen_view *view, const struct seen_name *name)
{
	AUTO_FREE char *path = NULL;
	struct entry_record entry;
	int result;

	if (view->scan.family != name->family)
		return 0;
	/* looking further would take long where there are many views */
	if (names->left == 0) {
		names->all = false;
		return 0;
	}
	result = scan_entry(&view->scan, name->dir, name->name, &entry);
	if (result < 0 || entry.ino != name->ino)
		return result == -ENOENT || result == -EIO || result == 0 ? 0 : result;
	if (is_whole(names->lost, &view->scan, entry.ino))
		return 0;
	if (paths_join(&view->scan, name->dir, name->name, &path) < 0)
		path = xasprintf("?/%s", name->name);
	return tell(names, view, path);
}

int damage_names_find(struct store *store, const struct lost_records *lost, size_t limit, int (*each)(void *arg, const struct damage_name *name),
		      void *arg, bool *ret_all)
{
	struct names names = {.lost = lost, .each = each, .arg = arg, .left = limit, .all = true};
	int result;

	add_views(&names, store);
	result = names.views.count > 0 ? lost_records_walk_rest(store, lost, take_version, &names) : 0;
	for (size_t i = 0; i < names.views.count && result == 0; i++) {
		const struct seen_view *view = &names.views.items[i];
		if (lost_records_has(lost, view->scan.family, ROOT_INO) && !is_whole(lost, &view->scan, ROOT_INO))
			result = tell(&names, view, "");
		for (size_t k = 0; k < names.names.count && result == 0; k++)
			result = tell_name(&names, view, &names.names.items[k]);
	}
	for (size_t i = 0; i < names.views.count; i++)
		scan_clear(&names.views.items[i].scan);
	array_clear(&names.views);
	array_clear(&names.names);
	*ret_all = names.all;
	return result;
}
