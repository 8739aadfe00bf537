#include "lib/backup/backup_diff.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/backup/restore_source.h"

enum { A, B, BOTH };

/* One directory in both backups, or in one of them: its nodes by name, and how far we are. */
struct level {
	struct listing {
		ARRAY(struct node) nodes;
		size_t at;
	} lists[BOTH];
	size_t path_len; /* of the path that leads here */
};

struct comparison {
	const struct backup_diff_options *options;
	struct repository_reader *reader;
	ARRAY(struct level) levels;
	struct buf path;
	struct error *err;
};

static void set_path(struct comparison *comparison, size_t len, const char *name)
{
	comparison->path.len = len;
	if (len > 0)
		buf_add_u8(&comparison->path, '/');
	buf_add(&comparison->path, name, strlen(name) + 1);
	comparison->path.len--;
}

static int unreadable(const struct comparison *comparison, int code, const char *what)
{
	const bool bad = code == -ENOENT || code == -EBADMSG;

	return error_set(comparison->err, code == -ENOENT ? -EBADMSG : code, "%s of \"%s\" %s", what, (char *)comparison->path.data,
	                 bad ? "is missing or damaged in the repository" : strerror(-code));
}

/* --- directories --- */

static int keep_node(void *arg, struct node *node)
{
	struct listing *listing = arg;

	array_add(&listing->nodes, *node);
	*node = (struct node){0};
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct node *)a)->name, ((const struct node *)b)->name);
}

static int read_tree(const struct comparison *comparison, const struct node *directory, struct listing *listing)
{
	AUTO_BUF json = BUF_INIT;
	int r = repository_read_blob(comparison->reader, &directory->subtree, true, &json);

	if (r == 0)
		r = tree_read((char *)json.data, json.len, keep_node, listing);
	/* They should be in order; not every program that writes trees is known. */
	if (r == 0 && listing->nodes.count > 0)
		qsort(listing->nodes.items, listing->nodes.count, sizeof(*listing->nodes.items), by_name);
	return r;
}

static void clear_level(struct level *level)
{
	for (size_t i = 0; i < BOTH; i++) {
		for (size_t k = 0; k < level->lists[i].nodes.count; k++)
			node_clear(&level->lists[i].nodes.items[k]);
		array_clear(&level->lists[i].nodes);
	}
}

/* Goes into a directory that is there in both (and not the same), or in one. */
static int enter(struct comparison *comparison, const struct node *a, const struct node *b)
{
	const struct node *const nodes[] = {a, b};
	struct level level = {.path_len = comparison->path.len};
	int r = 0;

	for (size_t i = 0; i < BOTH && r == 0; i++)
		if (nodes[i] && nodes[i]->has_subtree)
			r = read_tree(comparison, nodes[i], &level.lists[i]);
	if (r < 0) {
		clear_level(&level);
		return unreadable(comparison, r, "the list of directory");
	}
	array_add(&comparison->levels, level);
	return 0;
}

static bool same_tree(const struct node *a, const struct node *b)
{
	return a->has_subtree == b->has_subtree && (!a->has_subtree || blob_id_equal(&a->subtree, &b->subtree));
}

/* --- files --- */

/* The bytes of a file from one of its blobs on. */
struct reading {
	const struct node *node;
	size_t blob; /* the next one */
	struct buf plain;
	size_t at; /* in it */
};

/* 1: there are bytes; 0: the end. */
static int fill(const struct comparison *comparison, struct reading *reading)
{
	while (reading->at == reading->plain.len) {
		if (reading->blob == reading->node->content.count)
			return 0;
		buf_reset(&reading->plain);
		reading->at = 0;
		int r = repository_read_blob(comparison->reader, &reading->node->content.items[reading->blob++], false, &reading->plain);
		if (r < 0)
			return r;
	}
	return 1;
}

/* 1: the same bytes; 0: not. */
static int compare_bytes(const struct comparison *comparison, struct reading *a, struct reading *b)
{
	for (;;) {
		const int in_a = fill(comparison, a), in_b = in_a < 0 ? 0 : fill(comparison, b);

		if (in_a < 0 || in_b < 0)
			return MIN(in_a, in_b);
		if (comparison->options->cancelled(comparison->options->arg))
			return -ECANCELED;
		if (!in_a || !in_b)
			return in_a == in_b;
		const size_t len = MIN(a->plain.len - a->at, b->plain.len - b->at);
		if (memcmp(a->plain.data + a->at, b->plain.data + b->at, len) != 0)
			return 0;
		a->at += len;
		b->at += len;
	}
}

/* 1: both files have the same bytes; 0: not. What both cut in the same way from the beginning is not read. */
static int same_content(const struct comparison *comparison, const struct node *a, const struct node *b)
{
	struct reading in_a = {.node = a}, in_b = {.node = b};
	int r;

	if (a->size != b->size)
		return 0;
	while (in_a.blob < a->content.count && in_a.blob < b->content.count &&
	       blob_id_equal(&a->content.items[in_a.blob], &b->content.items[in_a.blob]))
		in_a.blob++;
	in_b.blob = in_a.blob;
	r = compare_bytes(comparison, &in_a, &in_b);
	buf_clear(&in_a.plain);
	buf_clear(&in_b.plain);
	return r < 0 && r != -ECANCELED ? unreadable(comparison, r, "a part") : r;
}

static bool same_xattrs(const struct node *a, const struct node *b)
{
	if (a->xattrs.count != b->xattrs.count)
		return false;
	for (size_t i = 0; i < a->xattrs.count; i++) {
		const struct node_xattr *mine = &a->xattrs.items[i];
		size_t k = 0;

		while (k < b->xattrs.count && strcmp(b->xattrs.items[k].name, mine->name) != 0)
			k++;
		if (k == b->xattrs.count || b->xattrs.items[k].len != mine->len ||
		    (mine->len > 0 && memcmp(b->xattrs.items[k].value, mine->value, mine->len) != 0))
			return false;
	}
	return true;
}

static bool same_metadata(const struct node *a, const struct node *b)
{
	const bool time_counts = !S_ISDIR(a->mode) || same_tree(a, b);

	return a->mode == b->mode && a->uid == b->uid && a->gid == b->gid && a->rdev == b->rdev &&
	       (!time_counts || (a->mtime.tv_sec == b->mtime.tv_sec && a->mtime.tv_nsec == b->mtime.tv_nsec)) && same_xattrs(a, b);
}

/* --- one name --- */

static int tell(const struct comparison *comparison, enum backup_change_kind kind, const struct node *a, const struct node *b, bool content)
{
	const struct backup_change change = {kind, (char *)comparison->path.data, a, b, content};

	return comparison->options->each(comparison->options->arg, &change);
}

/* What is there in one of them only. */
static int in_one(struct comparison *comparison, enum backup_change_kind kind, const struct node *node)
{
	const struct node *a = kind == BACKUP_REMOVED ? node : NULL, *b = kind == BACKUP_REMOVED ? NULL : node;
	int r = tell(comparison, kind, a, b, false);

	return r == 0 && S_ISDIR(node->mode) ? enter(comparison, a, b) : r;
}

static int in_both(struct comparison *comparison, const struct node *a, const struct node *b)
{
	int same = 1;

	if (S_ISREG(a->mode))
		same = same_content(comparison, a, b);
	else if (S_ISLNK(a->mode))
		same = strcmp(a->target ? a->target : "", b->target ? b->target : "") == 0;
	if (same < 0)
		return same;
	if (!same || !same_metadata(a, b))
		same = tell(comparison, same ? BACKUP_METADATA : BACKUP_MODIFIED, a, b, !same);
	else
		same = 0;
	return same == 0 && S_ISDIR(a->mode) && !same_tree(a, b) ? enter(comparison, a, b) : same;
}

static int step(struct comparison *comparison, struct level *level)
{
	struct listing *lists = level->lists;
	struct node *a = lists[A].at < lists[A].nodes.count ? &lists[A].nodes.items[lists[A].at] : NULL;
	struct node *b = lists[B].at < lists[B].nodes.count ? &lists[B].nodes.items[lists[B].at] : NULL;
	const int order = !a ? 1 : !b ? -1 : strcmp(a->name, b->name);

	set_path(comparison, level->path_len, order <= 0 ? a->name : b->name);
	if (comparison->options->cancelled(comparison->options->arg))
		return -ECANCELED;
	if (order == 0 && (a->mode & S_IFMT) == (b->mode & S_IFMT)) {
		lists[A].at++;
		lists[B].at++;
		return in_both(comparison, a, b);
	}
	/* Of another type: first what was, then what is, for the next step finds it alone or before what comes behind it. */
	lists[order <= 0 ? A : B].at++;
	return in_one(comparison, order <= 0 ? BACKUP_REMOVED : BACKUP_ADDED, order <= 0 ? a : b);
}

static int walk(struct comparison *comparison)
{
	int r = 0;

	while (comparison->levels.count > 0) {
		struct level *level = array_last(&comparison->levels);

		if (r == 0 && (level->lists[A].at < level->lists[A].nodes.count || level->lists[B].at < level->lists[B].nodes.count)) {
			r = step(comparison, level);
			continue;
		}
		clear_level(level);
		comparison->levels.count--;
	}
	return r;
}

static int compare_tops(struct comparison *comparison, const struct node *a, const struct node *b)
{
	int r;

	set_path(comparison, 0, comparison->options->path);
	if (a && b && (a->mode & S_IFMT) == (b->mode & S_IFMT))
		return in_both(comparison, a, b);
	r = a ? in_one(comparison, BACKUP_REMOVED, a) : 0;
	if (r == 0)
		r = walk(comparison);
	set_path(comparison, 0, comparison->options->path);
	return r == 0 && b ? in_one(comparison, BACKUP_ADDED, b) : r;
}

/* Where what was backed up stands in the tree of another program's backup: below the path that it was named by. */
static char *path_in(const struct snapshot_file *snapshot, const char *path)
{
	if (snapshot_file_has_tag(snapshot, "corpusfs") || snapshot->paths.count != 1)
		return xstrdup(path);
	return xasprintf("%s/%s", snapshot->paths.items[0], path);
}

/* NULL, and 0: it does not have the path. */
static int open_backup(const struct backup_diff_options *options, const struct snapshot_file *snapshot, struct restore_source **ret_source, struct error *err)
{
	AUTO_FREE char *path = path_in(snapshot, options->path);
	const struct restore_source_options of = {.repository = options->repository, .snapshot = snapshot, .path = path};
	int r = restore_source_new(&of, ret_source, err);

	if (r < 0)
		*ret_source = NULL;
	return r == -ENOENT && *options->path ? 0 : r;
}

int backup_diff(const struct backup_diff_options *options, struct error *err)
{
	struct comparison comparison = {.options = options, .reader = repository_reader_new(options->repository), .err = err};
	struct restore_source *a = NULL, *b = NULL;
	int r = open_backup(options, options->a, &a, err);

	if (r == 0)
		r = open_backup(options, options->b, &b, err);
	if (r == 0 && !a && !b)
		r = error_set(err, -ENOENT, "neither backup %.8s nor %.8s has \"%s\"", options->a->name, options->b->name, options->path);
	if (r == 0)
		r = compare_tops(&comparison, a ? restore_source_top(a) : NULL, b ? restore_source_top(b) : NULL);
	if (r == 0)
		r = walk(&comparison);
	while (comparison.levels.count > 0)
		clear_level(&comparison.levels.items[--comparison.levels.count]);
	array_clear(&comparison.levels);
	buf_clear(&comparison.path);
	restore_source_free(a);
	restore_source_free(b);
	repository_reader_free(comparison.reader);
	return r;
}
