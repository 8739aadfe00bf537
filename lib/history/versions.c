#include "lib/history/versions.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/history/paths.h"
#include "lib/store/snapshots.h"

/* A view of the dataset, and what it holds. */
struct holder {
	char *snapshot; /* NULL: the head */
	double taken;
	bool skipped; /* destroyed meanwhile */
	uint64_t ino; /* at the path; 0: nothing */
};

struct row {
	struct file_version version;
	uint64_t ino, epoch;
	char *path;
	size_t cap;
};

struct listing {
	struct store *store;
	const char *dataset, *path;
	struct holder *holders;
	size_t holder_count, holder_cap;
	struct row *rows;
	size_t row_count, row_cap;
	uint64_t *inos; /* that stood at the path some time */
	size_t ino_count, ino_cap;
};

static void add_holder(struct listing *listing, const char *snapshot, double taken)
{
	if (listing->holder_count == listing->holder_cap) {
		listing->holder_cap = MAX(listing->holder_cap * 2, 16U);
		listing->holders = xrealloc(listing->holders, listing->holder_cap * sizeof(*listing->holders));
	}
	listing->holders[listing->holder_count++] = (struct holder){.snapshot = snapshot ? xstrdup(snapshot) : NULL, .taken = taken};
}

static int note_snapshot(void *arg, const struct snapshot_info *info)
{
	add_holder(arg, info->name, (double)info->taken.tv_sec + (double)info->taken.tv_nsec / 1e9);
	return 0;
}

static void add_ino(struct listing *listing, uint64_t ino)
{
	for (size_t i = 0; i < listing->ino_count; i++)
		if (listing->inos[i] == ino)
			return;
	if (listing->ino_count == listing->ino_cap) {
		listing->ino_cap = MAX(listing->ino_cap * 2, 16U);
		listing->inos = xrealloc(listing->inos, listing->ino_cap * sizeof(*listing->inos));
	}
	listing->inos[listing->ino_count++] = ino;
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

	for (size_t i = 0; i < listing->row_count && !row; i++) {
		struct row *other = &listing->rows[i];
		if (other->ino == ino && other->epoch == epoch && (!path || strcmp(path, other->path) == 0))
			row = other;
	}
	if (!row) {
		if (listing->row_count == listing->row_cap) {
			listing->row_cap = MAX(listing->row_cap * 2, 16U);
			listing->rows = xrealloc(listing->rows, listing->row_cap * sizeof(*listing->rows));
		}
		row = &listing->rows[listing->row_count++];
		*row = (struct row){.ino = ino, .epoch = epoch, .path = path ? xstrdup(path) : NULL};
		if (inode)
			row->version.attr = scan_attr(inode);
	}
	if (!holder->snapshot) {
		row->version.in_head = true;
		return;
	}
	if (row->version.snapshot_count == row->cap) {
		row->cap = MAX(row->cap * 2, 8U);
		row->version.snapshots = xrealloc(row->version.snapshots, row->cap * sizeof(char *));
	}
	if (row->version.snapshot_count == 0)
		row->version.first_taken = holder->taken;
	row->version.last_taken = holder->taken;
	row->version.snapshots[row->version.snapshot_count++] = holder->snapshot;
}

struct place_found {
	uint64_t dir;
	char *name;
};

static void keep_place(void *arg, uint64_t ino, uint64_t dir, const char *name)
{
	struct place_found *found = arg;

	(void)ino;
	if (found->name)
		return;
	found->dir = dir;
	found->name = xstrdup(name);
}

/* Where an inode stands that is not where it once stood. *ret_path NULL: nowhere to be found. */
static int find_elsewhere(const struct scan *scan, const struct scan_inode *inode, char **ret_path)
{
	struct wanted_file wanted = {.ino = inode->ino, .hint = inode->record.parent, .nlink = inode->record.nlink};
	struct paths *paths = paths_new(scan);
	struct place_found found = {0};
	const char *path;
	int result = 0;

	*ret_path = NULL;
	if (S_ISDIR(inode->record.mode)) {
		paths_want(paths, inode->ino);
	} else {
		result = paths_find_names(scan, &wanted, 1, keep_place, &found);
		if (found.name)
			paths_want(paths, found.dir);
	}
	if (result == 0)
		result = paths_resolve(paths);
	if (result == 0 && S_ISDIR(inode->record.mode)) {
		path = paths_of(paths, inode->ino);
		*ret_path = path ? xstrdup(path) : NULL;
	} else if (result == 0 && found.name) {
		*ret_path = paths_join(paths, found.dir, found.name);
	}
	free(found.name);
	paths_free(paths);
	return result;
}

static int add_elsewhere(struct listing *listing, const struct holder *holder, const struct scan *scan, uint64_t ino, bool *found)
{
	struct scan_inode inode;
	AUTO_FREE char *path = NULL;
	int result = scan_named_inode(scan, ino, &inode);

	if (result < 0)
		return result == -ENOENT ? 0 : result;
	result = find_elsewhere(scan, &inode, &path);
	if (result == 0 && path) {
		add_row(listing, holder, &inode, path);
		*found = true;
	}
	scan_inode_clear(&inode);
	return result;
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
	for (size_t i = 0; i < listing->ino_count && result == 0; i++)
		if (listing->inos[i] != holder->ino)
			result = add_elsewhere(listing, holder, &scan, listing->inos[i], &found);
	if (result == 0 && !found)
		add_row(listing, holder, NULL, NULL);
	scan_clear(&scan);
	store_view_put(listing->store, view);
	return result;
}

static void listing_clear(struct listing *listing)
{
	for (size_t i = 0; i < listing->holder_count; i++)
		free(listing->holders[i].snapshot);
	for (size_t i = 0; i < listing->row_count; i++) {
		free(listing->rows[i].path);
		free(listing->rows[i].version.snapshots);
	}
	free(listing->holders);
	free(listing->rows);
	free(listing->inos);
}

static char *clean_path(const char *path)
{
	AUTO_FREE char *copy = xstrdup(path);
	AUTO_BUF clean = BUF_INIT;
	char *rest = copy, *name;

	buf_addf(&clean, "%s", "");
	while ((name = strsep(&rest, "/")) != NULL)
		if (*name)
			buf_addf(&clean, "%s%s", clean.len > 0 ? "/" : "", name);
	return xstrdup((const char *)clean.data);
}

int versions_list(struct store *store, const char *dataset, const char *path,
		  int (*each)(void *arg, const struct file_version *version), void *arg, struct error *err)
{
	AUTO_FREE char *clean = clean_path(path);
	struct listing listing = {.store = store, .dataset = dataset, .path = clean};
	int result = snapshot_list(store, dataset, note_snapshot, &listing);

	if (result == -ENOENT)
		error_set(err, result, "there is no dataset \"%s\"", dataset);
	add_holder(&listing, NULL, 0);
	for (size_t i = 0; i < listing.holder_count && result == 0; i++)
		result = look(&listing, &listing.holders[i]);
	for (size_t i = 0; i < listing.holder_count && result == 0 && listing.ino_count > 0; i++)
		if (!listing.holders[i].skipped)
			result = add_versions(&listing, &listing.holders[i]);
	if (result == 0 && listing.ino_count == 0)
		result = error_set(err, -ENOENT, "neither dataset \"%s\" nor a snapshot of it has \"%s\"", dataset, clean);
	for (size_t i = 0; i < listing.row_count && result == 0; i++) {
		listing.rows[i].version.path = listing.rows[i].path;
		result = each(arg, &listing.rows[i].version);
	}
	listing_clear(&listing);
	return result < 0 ? error_default(err, result, "the versions of \"%s\"", path) : result;
}
