#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/backup/backup_diff.h"
#include "lib/backup/backup_find.h"
#include "lib/base/path.h"
#include "lib/history/diff.h"
#include "lib/ops/json.h"
#include "lib/ops/op_args.h"
#include "lib/ops/op_repository.h"
#include "lib/ops/op_tables.h"
#include "lib/ops/op_views.h"
#include "lib/store/snapshots.h"
#include "lib/store/unknown.h"

static const char *const kind_names[] = {"added", "removed", "modified", "renamed", "metadata"};

struct telling {
	struct op_context *context;
	const char *under; /* only what is at or below this path; "" all */
	bool content, counts_only;
	uint64_t counts[ARRAY_SIZE(kind_names)];
	uint64_t bytes_added, bytes_removed;
	char *deep; /* the directory below which there is what has too long a path; owned. NULL: none */
	uint64_t deep_count;
};

static json_t *ranges_to_json(const struct diff_entry *entry)
{
	json_t *list = json_array();

	for (size_t i = 0; i < entry->range_count; i++)
		json_array_append_new(list, json_pack("[I, I]", (json_int_t)entry->ranges[i].offset, (json_int_t)entry->ranges[i].length));
	return list;
}

static void add_attr(json_t *row, const char *key, const struct attr *attr)
{
	json_t *object;

	if (!attr)
		return;
	object = json_pack("{s:I, s:I, s:I, s:I}", "size", (json_int_t)attr->size, "mode", (json_int_t)attr->mode, "uid",
			   (json_int_t)attr->uid, "gid", (json_int_t)attr->gid);
	op_set_time(object, "mtime", attr->mtime);
	json_object_set_new(row, key, object);
}

static void count_entry(struct telling *telling, const struct diff_entry *entry)
{
	telling->counts[entry->kind]++;
	if (entry->content_changed || !entry->a || !entry->b) {
		telling->bytes_removed += entry->a && S_ISREG(entry->a->mode) ? entry->a->size : 0;
		telling->bytes_added += entry->b && S_ISREG(entry->b->mode) ? entry->b->size : 0;
	}
}

/* What lies too deep is told in one row for each directory above; such entries come one after the other. */
static int tell_deep(struct telling *telling)
{
	AUTO_FREE char *deep = steal_ptr(telling->deep);
	uint64_t count = telling->deep_count;

	telling->deep_count = 0;
	if (!deep)
		return 0;
	return op_row(telling->context,
		      json_pack("{s:s, s:o, s:I}", "kind", "below", "path", json_from_bytes(deep), "entries", (json_int_t)count));
}

static int tell_row(struct telling *telling, const struct diff_entry *entry)
{
	json_t *row = json_pack("{s:s, s:o, s:b}", "kind", kind_names[entry->kind], "path", json_from_bytes(entry->path), "content_changed",
				entry->content_changed);

	if (entry->old_path)
		json_object_set_new(row, "old_path", json_from_bytes(entry->old_path));
	if (entry->old_too_deep)
		json_object_set_new(row, "old_below", json_true());
	add_attr(row, "a", entry->a);
	add_attr(row, "b", entry->b);
	if (telling->content && entry->content_changed)
		json_object_set_new(row, "ranges", ranges_to_json(entry));
	return op_row(telling->context, row);
}

static int tell_entry(void *arg, const struct diff_entry *entry)
{
	struct telling *telling = arg;
	int result = 0;

	if (op_cancelled(telling->context))
		return -ECANCELED;
	if (!path_is_below(entry->path, telling->under) && !(entry->old_path && path_is_below(entry->old_path, telling->under)))
		return 0;
	count_entry(telling, entry);
	if (telling->counts_only)
		return 0;
	if (telling->deep && (!entry->too_deep || strcmp(telling->deep, entry->path) != 0))
		result = tell_deep(telling);
	if (result < 0)
		return result;
	if (!entry->too_deep)
		return tell_row(telling, entry);
	if (!telling->deep)
		telling->deep = xstrdup(entry->path);
	telling->deep_count++;
	return 0;
}

static int latest_name(void *arg, const struct snapshot_info *info)
{
	char *name = arg;

	memcpy(name, info->name, strlen(info->name) + 1);
	return 0;
}

/* Which views are meant when only one is named: a snapshot and its dataset's head, or a dataset's latest snapshot and its head. */
static int choose_sides(struct store *store, const char *given, char **ret_a, char **ret_b, struct error *err)
{
	const char *at = strchr(given, '@');
	char latest[NAME_LEN_MAX + 1] = "";
	int result;

	if (at) {
		*ret_a = xstrdup(given);
		*ret_b = xasprintf("%.*s", (int)(at - given), given);
		return 0;
	}
	result = snapshot_list(store, given, latest_name, latest);
	if (result < 0)
		return unknown_or_failed(store, given, NULL, result, err);
	if (!*latest)
		return error_set(err, -ENOENT, "dataset \"%s\" has no snapshot to compare with", given);
	*ret_a = xasprintf("%s@%s", given, latest);
	*ret_b = xstrdup(given);
	return 0;
}

/* A path that is mistyped differs in nothing, which must not look like an answer. */
static int check_path(struct view *a, const char *name_a, struct view *b, const char *name_b, const char *path, struct error *err)
{
	struct attr attr;
	int in_a = view_resolve(a, path, &attr), in_b = view_resolve(b, path, &attr);

	if (in_a == 0 || in_b == 0)
		return 0;
	if ((in_a == -ENOENT || in_a == -ENOTDIR) && (in_b == -ENOENT || in_b == -ENOTDIR))
		return error_set(err, -ENOENT, "neither %s nor %s has \"%s\"", name_a, name_b, path);
	return MIN(in_a, in_b);
}

static int compare(struct op_context *context, const char *name_a, const char *name_b, struct telling *telling, struct error *err)
{
	const struct diff_options options = {.flags = telling->content ? DIFF_CONTENT : 0, .cancelled = op_cancelled, .arg = context};
	struct view *a, *b;
	int result = op_open_view(context->store, name_a, &a, err);

	if (result < 0)
		return result;
	result = op_open_view(context->store, name_b, &b, err);
	if (result == 0) {
		result = check_path(a, name_a, b, name_b, telling->under, err);
		if (result == 0)
			result = diff_views(context->store, a, b, &options, tell_entry, telling);
		if (result == 0)
			result = tell_deep(telling);
		if (result == -ENOSPC) {
			error_set(err, result, "there is no room for temporary files");
			error_hint(err, "they are in $TMPDIR, or in /var/tmp");
		}
		store_view_put(context->store, b);
	}
	store_view_put(context->store, a);
	free(telling->deep);
	return result < 0 ? error_default(err, result, "%s and %s could not be compared", name_a, name_b) : 0;
}

static json_t *sums(const struct telling *telling, const char *a, const char *b)
{
	json_t *counts = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(kind_names); i++)
		json_object_set_new(counts, kind_names[i], json_integer((json_int_t)telling->counts[i]));
	return json_pack("{s:o, s:o, s:o, s:I, s:I}", "a", json_from_bytes(a), "b", json_from_bytes(b), "counts", counts, "bytes_added",
	                 (json_int_t)telling->bytes_added, "bytes_removed", (json_int_t)telling->bytes_removed);
}

/*
 * diff: {a: "DATASET[@NAME]", b?, path?, content?, stat?} -> {a, b, counts: {kind: n}, bytes_added, bytes_removed}; rows {kind:
 * added|removed|modified|renamed|metadata, path, old_path?, old_below?: old_path is only a directory above, content_changed, a?: {size,
 * mode, uid, gid, mtime}, b?, ranges?: [[offset, length]]} and {kind: below, path, entries}: so many lie too deep below the path to be
 * named. Without b: a snapshot against the head, a dataset's latest snapshot against its head. stat: no rows.
 */
static int diff_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	AUTO_FREE char *under = path_clean(op_arg_string_or(args, "path", ""));
	struct telling telling = {
		.context = context,
		.under = under,
		.content = op_arg_bool(args, "content"),
		.counts_only = op_arg_bool(args, "stat"),
	};
	const char *given_a, *given_b = op_arg_string_or(args, "b", NULL);
	AUTO_FREE char *a = NULL, *b = NULL;
	int result = op_arg_string(args, "a", &given_a, err);

	if (result == 0 && !given_b)
		result = choose_sides(context->store, given_a, &a, &b, err);
	else if (result == 0)
		a = xstrdup(given_a), b = xstrdup(given_b);
	if (result < 0)
		return result;
	result = compare(context, a, b, &telling, err);
	if (result == 0)
		*ret_result = sums(&telling, a, b);
	return result;
}

/* --- backups --- */

static struct attr attr_of(const struct node *node)
{
	return (struct attr){.size = node->size, .mode = node->mode, .uid = node->uid, .gid = node->gid, .mtime = node->mtime};
}

static int tell_change(void *arg, const struct backup_change *change)
{
	static const enum diff_kind kinds[] = {
		[BACKUP_ADDED] = DIFF_ADDED, [BACKUP_REMOVED] = DIFF_REMOVED, [BACKUP_MODIFIED] = DIFF_MODIFIED, [BACKUP_METADATA] = DIFF_METADATA};
	const struct attr a = change->a ? attr_of(change->a) : (struct attr){0}, b = change->b ? attr_of(change->b) : (struct attr){0};
	const struct diff_entry entry = {.kind = kinds[change->kind], .path = change->path, .a = change->a ? &a : NULL, .b = change->b ? &b : NULL,
	                                 .content_changed = change->content_changed};

	return tell_entry(arg, &entry);
}

static bool telling_cancelled(void *arg)
{
	return op_cancelled(((struct telling *)arg)->context);
}

static int compare_backups(struct telling *telling, struct backup_diff_options *options, const char *name_a, const char *name_b, struct error *err)
{
	struct snapshot_file a = {0}, b = {0};
	int r = backup_find(options->repository, name_a, &a, NULL, err);

	if (r == 0)
		r = backup_find(options->repository, name_b, &b, NULL, err);
	if (r == 0)
		r = repository_load_index(options->repository, false, err);
	if (r == 0) {
		options->a = &a;
		options->b = &b;
		options->cancelled = telling_cancelled;
		options->each = tell_change;
		options->arg = telling;
		r = backup_diff(options, err);
	}
	snapshot_file_clear(&b);
	snapshot_file_clear(&a);
	return r;
}

/* backup.diff: {password, a: "BACKUP", b, path?, stat?} and a descriptor -> as diff; nothing is renamed, and there are no ranges */
static int backup_diff_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	AUTO_FREE char *under = path_clean(op_arg_string_or(args, "path", ""));
	struct telling telling = {.context = context, .under = "", .counts_only = op_arg_bool(args, "stat")};
	struct backup_diff_options options = {.path = under};
	const char *a, *b;
	int r = op_arg_string(args, "a", &a, err);

	if (r == 0)
		r = op_arg_string(args, "b", &b, err);
	if (r == 0)
		r = op_repository_open(context, args, &options.repository, err);
	if (r == 0)
		r = compare_backups(&telling, &options, a, b, err);
	repository_close(options.repository);
	if (r == 0)
		*ret_result = sums(&telling, a, b);
	return r;
}

const struct op diff_ops[] = {
	{"diff", "what differs between two datasets or snapshots", OP_READER, "entries", diff_op},
	{"backup.diff", "what differs between two backups", OP_READER, "entries", backup_diff_op},
	{NULL},
};
