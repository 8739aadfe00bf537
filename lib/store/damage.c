#include "lib/store/damage.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "lib/tree/records/paths.h"

/* Caller frees both. A head that was replaced has no name any more. */
static void name_view(struct store *store, uint32_t number, char **ret_dataset, char **ret_snapshot)
{
	struct dataset *dataset;
	struct snapshot *snapshot;

	mutex_take(&store->catalog_lock);
	dataset = catalog_dataset_by_view(store, number);
	snapshot = dataset ? NULL : catalog_snapshot_by_view(store, number);
	*ret_dataset = xstrdup(dataset ? dataset->name : snapshot ? snapshot->dataset->name : "");
	*ret_snapshot = xstrdup(snapshot ? snapshot->name : "");
	mutex_give(&store->catalog_lock);
}

/* One of its paths, "" if it has none. */
static char *path_of(struct view *view, uint64_t ino)
{
	struct scan_inode inode = {0};
	struct scan scan;
	char *path = NULL;
	int result;

	scan_of_view(&scan, view);
	result = scan_inode(&scan, ino, &inode);
	/* Damaged: where its name is does not stand there, so it is searched for. */
	if (result < 0 && result != -ENOENT) {
		inode = (struct scan_inode){.ino = ino, .record = {.mode = S_IFREG, .parent = ROOT_INO}};
		result = 0;
	}
	if (result == 0)
		result = paths_find(&scan, &inode, &path);
	scan_inode_clear(&inode);
	scan_clear(&scan);
	return result == 0 ? path : xstrdup("");
}

void store_tell_damage(void *arg, struct view *view, uint64_t ino, uint64_t offset, uint64_t chunk)
{
	struct store *store = arg;
	AUTO_FREE char *dataset = NULL, *snapshot = NULL, *path = path_of(view, ino);

	name_view(store, view_number(view), &dataset, &snapshot);
	store->met_damage(store->met_damage_arg, &(struct store_damage){dataset, snapshot, path, offset, chunk});
}

char *store_file_path(struct store *store, uint32_t view_number, uint64_t ino)
{
	AUTO_FREE char *dataset = NULL, *snapshot = NULL, *path = NULL;
	struct view *view;

	if (store_view_by_number(store, view_number, &view) < 0)
		return NULL;
	path = path_of(view, ino);
	name_view(store, view_number, &dataset, &snapshot);
	store_view_put(store, view);
	return *path && *dataset ? xasprintf("%s/%s", dataset, path) : NULL;
}

char *store_file_name(struct store *store, uint32_t view_number, uint64_t ino)
{
	AUTO_FREE char *dataset = NULL, *snapshot = NULL;
	char *path = store_file_path(store, view_number, ino);

	if (path)
		return path;
	name_view(store, view_number, &dataset, &snapshot);
	return *dataset ? xasprintf("a file of %s without a name, inode %llu", dataset, (unsigned long long)ino)
	                : xasprintf("inode %llu of what was rolled back", (unsigned long long)ino);
}
