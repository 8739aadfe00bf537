#include <errno.h>
#include <string.h>

#include "lib/history/restore.h"
#include "lib/history/usage.h"
#include "lib/history/versions.h"
#include "lib/ops/json.h"
#include "lib/ops/op_args.h"
#include "lib/ops/op_tables.h"
#include "lib/ops/op_views.h"

/* --- versions --- */

static int tell_version(void *arg, const struct file_version *version)
{
	json_t *snapshots = json_array(), *row;

	for (size_t i = 0; i < version->snapshot_count; i++)
		json_array_append_new(snapshots, json_from_bytes(version->snapshots[i]));
	row = json_pack("{s:b, s:b, s:o}", "deleted", version->path == NULL, "head", version->in_head, "snapshots", snapshots);
	op_set_time(row, "first_taken", version->first_taken);
	op_set_time(row, "last_taken", version->last_taken);
	if (version->path) {
		json_object_set_new(row, "path", json_from_bytes(version->path));
		json_object_set_new(row, "inode", json_integer((json_int_t)version->attr.ino));
		json_object_set_new(row, "size", json_integer((json_int_t)version->attr.size));
		json_object_set_new(row, "mode", json_integer((json_int_t)version->attr.mode));
		op_set_time(row, "mtime", version->attr.mtime);
	}
	return op_row(arg, row);
}

/*
 * versions: {dataset, path}; rows {deleted, head, snapshots: [name], first_taken, last_taken, path?, inode?, size?, mode?, mtime?}, in the
 * order in which they first appear; deleted ones have no path.
 */
static int versions_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	const char *dataset, *path;
	struct view *head;
	int result = op_arg_string(args, "dataset", &dataset, err);

	if (result == 0)
		result = op_arg_string(args, "path", &path, err);
	if (result == 0)
		result = op_open_view(context->store, dataset, &head, err);
	if (result < 0)
		return result;
	store_view_put(context->store, head);
	return versions_list(context->store, dataset, path, tell_version, context, err);
}

/* --- du --- */

static int tell_usage(void *arg, const struct usage *usage)
{
	json_t *row = json_pack("{s:o, s:o*, s:I, s:I, s:I, s:I, s:I, s:b}", "dataset", json_from_bytes(usage->dataset), "snapshot",
				json_from_bytes(usage->snapshot), "files", (json_int_t)usage->files, "logical", (json_int_t)usage->logical, "stored", (json_int_t)usage->stored,
				"unique", (json_int_t)usage->unique, "cumulative", (json_int_t)usage->cumulative, "estimated",
				usage->estimated);

	if (usage->snapshot)
		op_set_time(row, "taken", usage->taken);
	return op_row(arg, row);
}

/*
 * du: {dataset?, first?, last?, exact?} -> {freed?: by destroying the snapshots first..last}; rows {dataset, snapshot?, taken?, files,
 * logical, stored, unique, cumulative, estimated}, those without snapshot are heads. See lib/history/usage.h for the numbers.
 */
static int du_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	struct usage_options options = {
		.exact = op_arg_bool(args, "exact"),
		.dataset = op_arg_string_or(args, "dataset", NULL),
		.first = op_arg_string_or(args, "first", NULL),
		.cancelled = op_cancelled,
		.arg = context,
	};
	uint64_t freed;
	int result = 0;

	options.last = op_arg_string_or(args, "last", options.first);
	if (options.first && !options.dataset)
		return error_set(err, -EINVAL, "a range of snapshots needs its dataset");
	result = usage_compute(context->store, &options, tell_usage, context, &freed, err);
	if (result == 0 && options.first)
		*ret_result = json_pack("{s:I}", "freed", (json_int_t)freed);
	return result;
}

/* --- restore --- */

/* dataset.restore: {name: "DATASET@NAME", path} -> {files, directories, others, bytes, replaced} */
static int restore_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	struct restore_result done;
	const char *name, *path, *at;
	int result = op_arg_string(args, "name", &name, err);

	if (result == 0)
		result = op_arg_string(args, "path", &path, err);
	if (result < 0)
		return result;
	at = strchr(name, '@');
	if (!at)
		return error_set(err, -EINVAL, "\"%s\" does not name a snapshot", name);
	AUTO_FREE char *dataset = xasprintf("%.*s", (int)(at - name), name);
	result = dataset_restore(context->store, dataset, at + 1, path, op_cancelled, context, &done, err);
	if (result < 0)
		return result;
	*ret_result = json_pack("{s:I, s:I, s:I, s:I, s:b}", "files", (json_int_t)done.files, "directories", (json_int_t)done.directories,
				"others", (json_int_t)done.others, "bytes", (json_int_t)done.bytes, "replaced", done.replaced);
	return 0;
}

const struct op history_ops[] = {
	{"versions", "the versions of one file", OP_READER, "versions", versions_op},
	{"du", "what datasets and snapshots take up", OP_READER, "usage", du_op},
	{"dataset.restore", "set one file or subtree back to a snapshot", OP_OWNER, NULL, restore_op},
	{NULL},
};
