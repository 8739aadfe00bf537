#include "lib/history/versions.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/path.h"
#include "lib/store/snapshots.h"
#include "lib/store/unknown.h"
#include "lib/tree/records/paths.h"

/* A view of the dataset, and what it holds. */
struct holder {
	char *snapshot; /* NULL: the head */
	struct timespec taken;
	bool skipped; /* destroyed meanwhile */
	uint64_t ino; /* at the path; 0: nothing */
};

struct row {
	struct file_version version;
	uint64_t ino, epoch;
	char *path;
	ARRAY(const char *) snapshots;
};

struct listing {
	struct store *store;
	const char *dataset, *path;
	ARRAY(struct holder) holders;
	ARRAY(struct row) rows;
	ARRAY(uint64_t) inos; /* that stood at the path some time */
};

static void add_holder(struct listing *listing, const char *snapshot, struct timespec taken)
{
	array_add(&listing->holders, (struct holder){.snapshot = xstrdup_or_null(snapshot), .taken = taken});
}

static int note_snapshot(void *arg, const struct snapshot_info *info)
{
	add_holder(arg, info->name, info->taken);
	return 0;
}

static void add_ino(struct listing *listing, uint64_t ino)
{
	for (size_t i = 0; i < listing->inos.count; i++)
		if (listing->inos.items[i] == ino)
			return;
	array_add(&listing->inos, ino);
}

/* 0 also when there is nothing: then *ret_ino is 0. */
static int resolve(const struct scan *scan, const char *path, uint64_t *ret_ino)
{
	AUTO_FREE char *copy = xstrdup(path);
	struct entry_record entry = {.ino = ROOT_INO};
	char *rest = copy, *name;

	while ((name = strsep(&rest, "/")) != NULL) {
		int result = *name ? scan_entry(scan, entry.ino, name, &entry) : 0;
		if (result == -ENOENT) {
			*ret_ino = 0;
			return 0;
		}
		if (result < 0)
			return result;
	}
	*ret_ino = entry.ino;
	return 0;
}

static int open_holder(struct listing *listing, struct holder *holder, struct view **ret_view, struct scan *scan)
{
	int result = holder->snapshot ? store_snapshot(listing->store, listing->dataset, holder->snapshot, ret_view)
				      : store_head(listing->store, listing->dataset, ret_view);

	if (result == 0)
		scan_of_view(scan, *ret_view);
	holder->skipped = result == -ENOENT;
	return holder->skipped ? 0 : result;
}

static int look(struct listing *listing, struct holder *holder)
{
	struct view *view;
	struct scan scan;
	int result = open_holder(listing, holder, &view, &scan);

	if (result < 0 || holder->skipped)
		return result;
	result = resolve(&scan, listing->path, &holder->ino);
	if (result == 0 && holder->ino != 0)
		add_ino(listing, holder->ino);
	scan_clear(&scan);
	store_view_put(listing->store, view);
	return result;
}

static void add_row(struct listing *listing, const struct holder *holder, const struct scan_inode *inode, const char *path)
{
	uint64_t ino = inode ? inode->ino : 0, epoch = inode ? inode->epoch : 0;
	struct row *row = NULL;

	for (size_t i = 0; i < listing->rows.count && !row; i++) {
		struct row *other = &listing->rows.items[i];
		if (other->ino == ino && other->epoch == epoch && (!path || strcmp(path, other->path) == 0))
			row = other;
	}
	if (!row) {
		row = array_new(&listing->rows);
		*row = (struct row){.ino = ino, .epoch = epoch, .path = xstrdup_or_null(path)};
		if (inode)
			row->version.attr = scan_attr(inode);
	}
	if (!holder->snapshot) {
		row->version.in_head = true;
		return;
	}
	if (row->snapshots.count == 0)
		row->version.first_taken = holder->taken;
	row->version.last_taken = holder->taken;
	array_add(&row->snapshots, holder->snapshot);
}

/* An inode that once stood at the path, and stands elsewhere in this view. */
static int add_elsewhere(struct listing *listing, const struct holder *holder, const struct scan *scan, uint64_t ino, bool *found)
{
	struct scan_inode inode;
	AUTO_FREE char *path = NULL;
	int result = scan_named_inode(scan, ino, &inode);

	if (result < 0)
		return result == -ENOENT ? 0 : result;
	result = paths_find(scan, &inode, &path);
	if (result == 0) {
		add_row(listing, holder, &inode, path);
		*found = true;
	}
	scan_inode_clear(&inode);
	return result == -ENOENT ? 0 : result;
}

static int add_versions(struct listing *listing, struct holder *holder)
{
	struct view *view;
	struct scan scan;
	struct scan_inode inode;
	bool found = holder->ino != 0;
	int result = open_holder(listing, holder, &view, &scan);

	if (result < 0 || holder->skipped)
		return result;
	if (found) {
		result = scan_named_inode(&scan, holder->ino, &inode);
		if (result == 0) {
			add_row(listing, holder, &inode, listing->path);
			scan_inode_clear(&inode);
		}
	}
	for (size_t i = 0; i < listing->inos.count && result == 0; i++)
		if (listing->inos.items[i] != holder->ino)
			result = add_elsewhere(listing, holder, &scan, listing->inos.items[i], &found);
	if (result == 0 && !found)
		add_row(listing, holder, NULL, NULL);
	scan_clear(&scan);
	store_view_put(listing->store, view);
	return result;
}

static void listing_clear(struct listing *listing)
{
	for (size_t i = 0; i < listing->holders.count; i++)
		free(listing->holders.items[i].snapshot);
	for (size_t i = 0; i < listing->rows.count; i++) {
		free(listing->rows.items[i].path);
		array_clear(&listing->rows.items[i].snapshots);
	}
	array_clear(&listing->holders);
	array_clear(&listing->rows);
	array_clear(&listing->inos);
}

int versions_list(struct store *store, const char *dataset, const char *path,
		  int (*each)(void *arg, const struct file_version *version), void *arg, struct error *err)
{
	AUTO_FREE char *clean = path_clean(path);
	struct listing listing = {.store = store, .dataset = dataset, .path = clean};
	int result = snapshot_list(store, dataset, note_snapshot, &listing);

	if (result == -ENOENT)
		unknown_dataset(store, dataset, err);
	add_holder(&listing, NULL, (struct timespec){0});
	for (size_t i = 0; i < listing.holders.count && result == 0; i++)
		result = look(&listing, &listing.holders.items[i]);
	for (size_t i = 0; i < listing.holders.count && result == 0 && listing.inos.count > 0; i++)
		if (!listing.holders.items[i].skipped)
			result = add_versions(&listing, &listing.holders.items[i]);
	if (result == 0 && listing.inos.count == 0)
		result = error_set(err, -ENOENT, "neither dataset \"%s\" nor a snapshot of it has \"%s\"", dataset, clean);
	for (size_t i = 0; i < listing.rows.count && result == 0; i++) {
		struct row *row = &listing.rows.items[i];
		row->version.path = row->path;
		row->version.snapshots = row->snapshots.items;
		row->version.snapshot_count = row->snapshots.count;
		result = each(arg, &row->version);
	}
	listing_clear(&listing);
	return result < 0 ? error_default(err, result, "the versions of \"%s\"", path) : result;
}
