#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/base/clock.h"
#include "lib/history/diff.h"
#include "lib/history/restore.h"
#include "lib/store/schedule.h"
#include "lib/store/snapshots.h"
#include "lib/history/usage.h"
#include "lib/history/versions.h"
#include "lib/ops/ops.h"

static bool is_cancelled(void *arg)
{
	struct op_context *context = arg;

	return context->cancelled && atomic_load(context->cancelled);
}

static double seconds(struct timespec time)
{
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Names of files are bytes: what is not UTF-8 is shown as \xNN. */
static json_t *path_to_json(const char *path)
{
	json_t *text = json_string(path);
	AUTO_BUF shown = BUF_INIT;

	if (text)
		return text;
	for (const unsigned char *at = (const unsigned char *)path; *at; at++)
		buf_addf(&shown, *at < 0x80 ? "%c" : "\\x%02x", *at);
	return json_string((const char *)shown.data);
}

/* --- diff --- */

static const char *const kind_names[] = {"added", "removed", "modified", "renamed", "metadata"};

struct telling {
	struct op_context *context;
	const char *under; /* only what is at or below this path; "" all */
	bool content, counts_only;
	json_t *entries;
	uint64_t counts[ARRAY_SIZE(kind_names)];
	uint64_t bytes_added, bytes_removed;
};

static bool lies_under(const char *path, const char *under)
{
	size_t len = strlen(under);

	return path && strncmp(path, under, len) == 0 && (len == 0 || path[len] == '\0' || path[len] == '/');
}

static json_t *ranges_to_json(const struct diff_entry *entry)
{
	json_t *list = json_array();

	for (size_t i = 0; i < entry->range_count; i++)
		json_array_append_new(list, json_pack("[I, I]", (json_int_t)entry->ranges[i].offset, (json_int_t)entry->ranges[i].length));
	return list;
}

static void add_attr(json_t *row, const char *key, const struct attr *attr)
{
	if (attr)
		json_object_set_new(row, key,
				    json_pack("{s:I, s:I, s:I, s:I, s:f}", "size", (json_int_t)attr->size, "mode", (json_int_t)attr->mode,
					      "uid", (json_int_t)attr->uid, "gid", (json_int_t)attr->gid, "mtime", seconds(attr->mtime)));
}

static int tell_entry(void *arg, const struct diff_entry *entry)
{
	struct telling *telling = arg;
	json_t *row;

	if (is_cancelled(telling->context))
		return -ECANCELED;
	if (!lies_under(entry->path, telling->under) && !lies_under(entry->old_path, telling->under))
		return 0;
	telling->counts[entry->kind]++;
	if (entry->content_changed || !entry->a || !entry->b) {
		telling->bytes_removed += entry->a && S_ISREG(entry->a->mode) ? entry->a->size : 0;
		telling->bytes_added += entry->b && S_ISREG(entry->b->mode) ? entry->b->size : 0;
	}
	if (telling->counts_only)
		return 0;
	row = json_pack("{s:s, s:o, s:b}", "kind", kind_names[entry->kind], "path", path_to_json(entry->path), "content_changed",
			entry->content_changed);
	if (entry->old_path)
		json_object_set_new(row, "old_path", path_to_json(entry->old_path));
	add_attr(row, "a", entry->a);
	add_attr(row, "b", entry->b);
	if (telling->content && entry->content_changed)
		json_object_set_new(row, "ranges", ranges_to_json(entry));
	return json_array_append_new(telling->entries, row) < 0 ? -ENOMEM : 0;
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
		return error_set(err, result, "there is no dataset \"%s\"", given);
	if (!*latest)
		return error_set(err, -ENOENT, "dataset \"%s\" has no snapshot to compare with", given);
	*ret_a = xasprintf("%s@%s", given, latest);
	*ret_b = xstrdup(given);
	return 0;
}

/* A head is compared as it is committed, so commit it. */
static int open_side(struct store *store, const char *name, struct view **ret_view, struct error *err)
{
	int result = store_view_by_name(store, name, ret_view, err);

	if (result == 0 && !view_read_only(*ret_view)) {
		result = view_sync(*ret_view);
		if (result < 0) {
			store_view_put(store, *ret_view);
			error_set(err, result, "\"%s\" could not be committed: %s", name, strerror(-result));
		}
	}
	return result;
}

static int compare(struct op_context *context, const char *name_a, const char *name_b, struct telling *telling, struct error *err)
{
	struct view *a, *b;
	int result = open_side(context->store, name_a, &a, err);

	if (result < 0)
		return result;
	result = open_side(context->store, name_b, &b, err);
	if (result == 0) {
		result = diff_views(context->store, a, b, telling->content ? DIFF_CONTENT : 0, tell_entry, telling);
		store_view_put(context->store, b);
	}
	store_view_put(context->store, a);
	return result < 0 ? error_default(err, result, "%s and %s could not be compared: %s", name_a, name_b, strerror(-result)) : 0;
}

/*
 * diff: {a: "DATASET[@NAME]", b?, path?, content?, stat?} -> {a, b, entries: [{kind: added|removed|modified|renamed|metadata, path,
 * old_path?, content_changed, a?: {size, mode, uid, gid, mtime}, b?, ranges?: [[offset, length]]}], counts: {kind: n}, bytes_added,
 * bytes_removed}. Without b: a snapshot against the head, a dataset's latest snapshot against its head. stat: no entries.
 */
static int diff_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	struct telling telling = {
		.context = context,
		.under = op_arg_string_or(args, "path", ""),
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
	telling.entries = json_array();
	result = compare(context, a, b, &telling, err);
	json_t *counts = json_object();
	for (size_t i = 0; i < ARRAY_SIZE(kind_names); i++)
		json_object_set_new(counts, kind_names[i], json_integer((json_int_t)telling.counts[i]));
	*ret_result = json_pack("{s:s, s:s, s:o, s:o, s:I, s:I}", "a", a, "b", b, "entries", telling.entries, "counts", counts,
				"bytes_added", (json_int_t)telling.bytes_added, "bytes_removed", (json_int_t)telling.bytes_removed);
	return result;
}

/* --- versions --- */

static int tell_version(void *arg, const struct file_version *version)
{
	json_t *snapshots = json_array(), *row;

	for (size_t i = 0; i < version->snapshot_count; i++)
		json_array_append_new(snapshots, json_string(version->snapshots[i]));
	row = json_pack("{s:b, s:b, s:o, s:f, s:f}", "deleted", version->path == NULL, "head", version->in_head, "snapshots", snapshots,
			"first_taken", version->first_taken, "last_taken", version->last_taken);
	if (version->path) {
		json_object_set_new(row, "path", path_to_json(version->path));
		json_object_set_new(row, "inode", json_integer((json_int_t)version->attr.ino));
		json_object_set_new(row, "size", json_integer((json_int_t)version->attr.size));
		json_object_set_new(row, "mode", json_integer((json_int_t)version->attr.mode));
		json_object_set_new(row, "mtime", json_real(seconds(version->attr.mtime)));
	}
	return json_array_append_new(arg, row) < 0 ? -ENOMEM : 0;
}

/*
 * versions: {dataset, path} -> {versions: [{deleted, head, snapshots: [name], first_taken, last_taken, path?, inode?, size?, mode?,
 * mtime?}]}, in the order in which they first appear; deleted ones have no path.
 */
static int versions_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	const char *dataset, *path;
	struct view *head;
	int result = op_arg_string(args, "dataset", &dataset, err);

	if (result == 0)
		result = op_arg_string(args, "path", &path, err);
	if (result == 0)
		result = open_side(context->store, dataset, &head, err);
	if (result < 0)
		return result;
	json_t *list = json_array();
	result = versions_list(context->store, dataset, path, tell_version, list, err);
	store_view_put(context->store, head);
	*ret_result = json_pack("{s:o}", "versions", list);
	return result;
}

/* --- du --- */

static void tell_usage(void *arg, const struct usage *usage)
{
	json_t *row = json_pack("{s:s, s:s*, s:I, s:I, s:I, s:I, s:I, s:b}", "dataset", usage->dataset, "snapshot", usage->snapshot, "files",
				(json_int_t)usage->files, "logical", (json_int_t)usage->logical, "stored", (json_int_t)usage->stored,
				"unique", (json_int_t)usage->unique, "cumulative", (json_int_t)usage->cumulative, "estimated",
				usage->estimated);

	if (usage->snapshot)
		json_object_set_new(row, "taken", json_real(usage->taken));
	json_array_append_new(arg, row);
}

/*
 * du: {dataset?, first?, last?, exact?} -> {usage: [{dataset, snapshot?, taken?, files, logical, stored, unique, cumulative, estimated}],
 * freed?: by destroying the snapshots first..last}. Rows without snapshot are heads. See lib/history/usage.h for the numbers.
 */
static int du_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	struct usage_options options = {
		.exact = op_arg_bool(args, "exact"),
		.dataset = op_arg_string_or(args, "dataset", NULL),
		.first = op_arg_string_or(args, "first", NULL),
		.cancelled = is_cancelled,
		.arg = context,
	};
	uint64_t freed;
	int result = 0;

	options.last = op_arg_string_or(args, "last", options.first);
	if (options.first && !options.dataset)
		return error_set(err, -EINVAL, "a range of snapshots needs its dataset");
	json_t *list = json_array();
	result = usage_compute(context->store, &options, tell_usage, list, &freed, err);
	*ret_result = json_pack("{s:o}", "usage", list);
	if (result == 0 && options.first)
		json_object_set_new(*ret_result, "freed", json_integer((json_int_t)freed));
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
	result = dataset_restore(context->store, dataset, at + 1, path, is_cancelled, context, &done, err);
	if (result < 0)
		return result;
	*ret_result = json_pack("{s:I, s:I, s:I, s:I, s:b}", "files", (json_int_t)done.files, "directories", (json_int_t)done.directories,
				"others", (json_int_t)done.others, "bytes", (json_int_t)done.bytes, "replaced", done.replaced);
	return 0;
}

/* --- schedules --- */

static json_t *schedule_to_json(const struct schedule *schedule)
{
	json_t *object = json_object();

	for (size_t i = 0; i < SCHEDULE_PERIODS; i++)
		json_object_set_new(object, schedule_period_name((enum schedule_period)i), json_integer(schedule->keep[i]));
	return object;
}

/* snapshot.schedule.get: {dataset} -> {hourly, daily, weekly, monthly}: how many are kept, 0 for none */
static int schedule_get_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	struct schedule schedule;
	const char *dataset;
	int result = op_arg_string(args, "dataset", &dataset, err);

	if (result == 0)
		result = schedule_get(context->store, dataset, &schedule, err);
	if (result == 0)
		*ret_result = schedule_to_json(&schedule);
	return result;
}

/* snapshot.schedule.set: {dataset, hourly?, daily?, weekly?, monthly?} -> as get. What is not named is not kept; nothing: off. */
static int schedule_set_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	struct schedule schedule = {0};
	const char *dataset;
	int result = op_arg_string(args, "dataset", &dataset, err);

	for (size_t i = 0; i < SCHEDULE_PERIODS && result == 0; i++) {
		const char *period = schedule_period_name((enum schedule_period)i);
		int64_t keep = op_arg_int(args, period, 0);
		if (keep < 0 || keep > SCHEDULE_KEEP_MAX)
			result = error_set(err, -EINVAL, "%s: a number from 0 to %d is expected", period, SCHEDULE_KEEP_MAX);
		schedule.keep[i] = (unsigned)keep;
	}
	if (result == 0)
		result = schedule_set(context->store, dataset, &schedule, err);
	if (result == 0)
		*ret_result = schedule_to_json(&schedule);
	return result;
}

struct ticked {
	json_t *taken, *destroyed;
};

static void note_tick(void *arg, const char *dataset, const char *snapshot, bool taken)
{
	struct ticked *ticked = arg;
	AUTO_FREE char *name = xasprintf("%s@%s", dataset, snapshot);

	json_array_append_new(taken ? ticked->taken : ticked->destroyed, json_string(name));
}

/* snapshot.tick: {} -> {taken: ["DATASET@NAME"], destroyed: [...]}: what the schedules of all datasets ask for now */
static int tick_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	struct ticked ticked = {json_array(), json_array()};
	int result = schedule_tick(context->store, clock_now().tv_sec, note_tick, &ticked, err);

	(void)args;
	*ret_result = json_pack("{s:o, s:o}", "taken", ticked.taken, "destroyed", ticked.destroyed);
	return result;
}

const struct op history_ops[] = {
	{"diff", "what differs between two datasets or snapshots", diff_op},
	{"versions", "the versions of one file", versions_op},
	{"du", "what datasets and snapshots take up", du_op},
	{"dataset.restore", "set one file or subtree back to a snapshot", restore_op},
	{"snapshot.schedule.get", "how many snapshots are taken and kept by the clock", schedule_get_op},
	{"snapshot.schedule.set", "take snapshots by the clock", schedule_set_op},
	{"snapshot.tick", "take the snapshots that are due, destroy those beyond retention", tick_op},
	{NULL, NULL, NULL},
};
