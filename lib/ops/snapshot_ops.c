#include <errno.h>
#include <fnmatch.h>
#include <string.h>

#include "lib/identity/identity.h"
#include "lib/store/snapshots.h"
#include "lib/ops/ops.h"

/* "DATASET@NAME" taken apart. */
struct target {
	char dataset[NAME_LEN_MAX + 1];
	const char *name; /* into the text it was made from */
};

static int target_parse(const char *text, struct target *ret_target, struct error *err)
{
	const char *at = strchr(text, '@');
	size_t len = at ? (size_t)(at - text) : 0;

	if (!at) {
		error_set(err, -EINVAL, "\"%s\" does not name a snapshot", text);
		error_hint(err, "snapshots are named DATASET@NAME");
		return -EINVAL;
	}
	if (len > NAME_LEN_MAX)
		return error_set(err, -ENAMETOOLONG, "the dataset's name in \"%.40s...\" is longer than %d bytes", text,
		                 NAME_LEN_MAX);
	memcpy(ret_target->dataset, text, len);
	ret_target->dataset[len] = '\0';
	ret_target->name = at + 1;
	return dataset_name_check("dataset", ret_target->dataset, err);
}

/* The argument `key` as a target whose snapshot name is a proper one. */
static int target_arg(const json_t *args, const char *key, struct target *ret_target, struct error *err)
{
	const char *text;
	int result = op_arg_string(args, key, &text, err);

	if (result == 0)
		result = target_parse(text, ret_target, err);
	return result < 0 ? result : dataset_name_check("snapshot", ret_target->name, err);
}

static int no_snapshot(const char *dataset, const char *name, int code, struct error *err)
{
	if (code != -ENOENT)
		return error_set(err, code, "snapshot %s@%s could not be read: %s", dataset, name, strerror(-code));
	error_set(err, code, "there is no snapshot %s@%s", dataset, name);
	error_hint(err, "corpusfs snapshot list shows those there are");
	return code;
}

static int dataset_there(struct store *store, const char *dataset, struct error *err)
{
	struct dataset_info info;
	int result = dataset_get(store, dataset, &info);

	if (result == -ENOENT) {
		error_set(err, result, "there is no dataset \"%s\"", dataset);
		error_hint(err, "corpusfs dataset list shows those there are");
	}
	return result < 0 ? error_default(err, result, "dataset \"%s\"", dataset) : 0;
}

static json_t *snapshot_to_json(const struct snapshot_info *info)
{
	json_t *holds = json_array();

	for (size_t i = 0; i < info->hold_count; i++)
		json_array_append_new(holds, json_string(info->holds[i]));
	return json_pack("{s:s, s:s, s:f, s:I, s:I, s:I, s:b, s:b, s:s, s:o}", "dataset", info->dataset, "name", info->name,
	                 "taken", (double)info->taken.tv_sec + (double)info->taken.tv_nsec / 1e9, "number",
	                 (json_int_t)info->number, "view", (json_int_t)info->view, "family", (json_int_t)info->family, "guard",
	                 (info->flags & SNAPSHOT_GUARD) != 0, "scheduled", (info->flags & SNAPSHOT_SCHEDULED) != 0, "note",
	                 info->note ? info->note : "", "holds", holds);
}

/*
 * snapshot.create: {targets: ["DATASET@NAME", ...], note?} -> {snapshots: [as in snapshot.show]}. All in one instant,
 * or none.
 */
static int snapshot_create_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	json_t *list = json_object_get(args, "targets");
	const char *note = op_arg_string_or(args, "note", "");
	size_t count = json_array_size(list);
	AUTO_FREE struct target *targets = xcalloc(count + 1, sizeof(*targets));
	AUTO_FREE struct snapshot_name *creates = xcalloc(count + 1, sizeof(*creates));
	int result = count > 0 ? 0 : error_set(err, -EINVAL, "no snapshot is named");

	for (size_t i = 0; result == 0 && i < count; i++) {
		const char *text = json_string_value(json_array_get(list, i));
		result = target_parse(text ? text : "", &targets[i], err);
		if (result == 0)
			result = dataset_name_check("snapshot", targets[i].name, err);
		creates[i] = (struct snapshot_name){.dataset = targets[i].dataset, .name = targets[i].name};
	}
	if (result == 0)
		result = snapshot_create(context->store, creates, count, note, 0, err);
	if (result < 0)
		return result;
	json_t *made = json_array();
	for (size_t i = 0; i < count; i++) {
		struct snapshot_info info;
		/* Somebody may have destroyed it already: that is no failure of having taken it. */
		if (snapshot_get(context->store, creates[i].dataset, creates[i].name, &info) < 0)
			continue;
		json_array_append_new(made, snapshot_to_json(&info));
		snapshot_info_clear(&info);
	}
	*ret_result = json_pack("{s:o}", "snapshots", made);
	return 0;
}

static int list_one(void *arg, const struct snapshot_info *info)
{
	return json_array_append_new(arg, snapshot_to_json(info)) < 0 ? -ENOMEM : 0;
}

/* snapshot.list: {dataset?} -> {snapshots: [as in snapshot.show]}, in the order in which they were taken */
static int snapshot_list_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	const char *dataset = op_arg_string_or(args, "dataset", NULL);
	int result = dataset ? dataset_there(context->store, dataset, err) : 0;

	if (result < 0)
		return result;
	json_t *list = json_array();
	result = snapshot_list(context->store, dataset, list_one, list);
	*ret_result = json_pack("{s:o}", "snapshots", list);
	return result < 0 ? error_set(err, result, "the list of snapshots could not be read: %s", strerror(-result)) : 0;
}

static void add_identity(struct store *store, const struct target *target, json_t *row)
{
	uint8_t identity[IDENTITY_LEN];
	char text[IDENTITY_TEXT_LEN];
	struct view *view;

	if (store_snapshot(store, target->dataset, target->name, &view) < 0)
		return;
	if (identity_known(store, view, identity) == 0) {
		identity_to_text(identity, text);
		json_object_set_new(row, "identity", json_string(text));
	}
	store_view_put(store, view);
}

/*
 * snapshot.show: {name: "DATASET@NAME"} -> {dataset, name, taken, number, view, family, guard, scheduled, note, holds:
 * [tag], identity: hexadecimal; missing while it is not computed}
 */
static int snapshot_show(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	struct snapshot_info info;
	struct target target;
	int result = target_arg(args, "name", &target, err);

	if (result == 0)
		result = dataset_there(context->store, target.dataset, err);
	if (result < 0)
		return result;
	result = snapshot_get(context->store, target.dataset, target.name, &info);
	if (result < 0)
		return no_snapshot(target.dataset, target.name, result, err);
	*ret_result = snapshot_to_json(&info);
	add_identity(context->store, &target, *ret_result);
	snapshot_info_clear(&info);
	return 0;
}

/* snapshot.rename: {name: "DATASET@NAME", new_name: "NAME"} -> {} */
static int snapshot_rename_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	struct target target;
	const char *new_name;
	int result = target_arg(args, "name", &target, err);

	if (result == 0)
		result = op_arg_string(args, "new_name", &new_name, err);
	if (result == 0)
		result = dataset_name_check("snapshot", new_name, err);
	return result < 0 ? result : snapshot_rename(context->store, target.dataset, target.name, new_name, err);
}

static bool is_pattern(const char *name)
{
	return strpbrk(name, "*?[%") != NULL;
}

static size_t find_name(json_t *list, const char *name, size_t len)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *other = json_string_value(json_object_get(json_array_get(list, i), "name"));
		if (strlen(other) == len && memcmp(other, name, len) == 0)
			return i;
	}
	return SIZE_MAX;
}

/* "a%b": from a to b in the order in which they were taken; either may be left out. */
static int select_range(const struct target *target, const char *percent, json_t *list, json_t *chosen, struct error *err)
{
	size_t count = json_array_size(list), first = 0, last = count - 1, first_len = (size_t)(percent - target->name);

	if (first_len > 0)
		first = find_name(list, target->name, first_len);
	if (percent[1])
		last = find_name(list, percent + 1, strlen(percent + 1));
	if (first == SIZE_MAX || last == SIZE_MAX || count == 0)
		return no_snapshot(target->dataset, target->name, -ENOENT, err);
	if (first > last)
		return error_set(err, -EINVAL, "%s@%s: the first was taken after the last", target->dataset, target->name);
	for (size_t i = first; i <= last; i++)
		json_array_append(chosen, json_array_get(list, i));
	return 0;
}

/* Adds the snapshots that `text` names to `chosen`: one by its name, a range, or those that match a pattern. */
static int select_snapshots(struct store *store, const char *text, json_t *chosen, struct error *err)
{
	struct snapshot_info info;
	struct target target;
	int result = target_parse(text, &target, err);
	json_t *list;

	if (result == 0)
		result = dataset_there(store, target.dataset, err);
	if (result < 0)
		return result;
	if (snapshot_get(store, target.dataset, target.name, &info) == 0) {
		json_array_append_new(chosen, snapshot_to_json(&info));
		snapshot_info_clear(&info);
		return 0;
	}
	if (!is_pattern(target.name))
		return no_snapshot(target.dataset, target.name, -ENOENT, err);
	list = json_array();
	result = snapshot_list(store, target.dataset, list_one, list);
	size_t before = json_array_size(chosen);
	const char *percent = strchr(target.name, '%');
	if (result < 0)
		error_set(err, result, "the list of snapshots could not be read: %s", strerror(-result));
	else if (percent)
		result = select_range(&target, percent, list, chosen, err);
	else
		for (size_t i = 0; i < json_array_size(list); i++) {
			json_t *row = json_array_get(list, i);
			if (fnmatch(target.name, json_string_value(json_object_get(row, "name")), 0) == 0)
				json_array_append(chosen, row);
		}
	if (result == 0 && json_array_size(chosen) == before)
		result = error_set(err, -ENOENT, "no snapshot matches %s", text);
	json_decref(list);
	return result;
}

/* Each row once, however often it was named. */
static json_t *each_once(json_t *chosen)
{
	json_t *rows = json_array(), *seen = json_object(), *row;
	size_t i;

	json_array_foreach (chosen, i, row) {
		AUTO_FREE char *name = xasprintf("%s@%s", json_string_value(json_object_get(row, "dataset")),
						 json_string_value(json_object_get(row, "name")));
		if (json_object_get(seen, name))
			continue;
		json_object_set_new(seen, name, json_true());
		json_array_append(rows, row);
	}
	json_decref(seen);
	return rows;
}

/* All of them or none: refused as a whole where a hold or a reader stands in the way. */
static int destroy_all(struct store *store, json_t *rows, bool dry_run, struct error *err)
{
	size_t count = json_array_size(rows);
	AUTO_FREE struct snapshot_name *names = xcalloc(MAX(count, 1U), sizeof(*names));

	for (size_t i = 0; i < count; i++) {
		json_t *row = json_array_get(rows, i);
		names[i].dataset = json_string_value(json_object_get(row, "dataset"));
		names[i].name = json_string_value(json_object_get(row, "name"));
	}
	return dry_run ? snapshots_check_destroy(store, names, count, err) : snapshots_destroy(store, names, count, err);
}

/*
 * snapshot.destroy: {targets: ["DATASET@NAME", "DATASET@FIRST%LAST", "DATASET@PATTERN", ...], dry_run?}
 * -> {snapshots: [destroyed, as in snapshot.show], dry_run}
 */
static int snapshot_destroy_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	json_t *list = json_object_get(args, "targets"), *chosen = json_array(), *rows;
	bool dry_run = op_arg_bool(args, "dry_run");
	int result = json_array_size(list) > 0 ? 0 : error_set(err, -EINVAL, "no snapshot is named");

	for (size_t i = 0; result == 0 && i < json_array_size(list); i++) {
		const char *text = json_string_value(json_array_get(list, i));
		result = select_snapshots(context->store, text ? text : "", chosen, err);
	}
	rows = each_once(chosen);
	json_decref(chosen);
	if (result == 0)
		result = destroy_all(context->store, rows, dry_run, err);
	*ret_result = json_pack("{s:o, s:b}", "snapshots", rows, "dry_run", dry_run);
	return result;
}

/* snapshot.hold: {name: "DATASET@NAME", tag} -> {} */
static int snapshot_hold_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	struct target target;
	const char *tag;
	int result = target_arg(args, "name", &target, err);

	if (result == 0)
		result = op_arg_string(args, "tag", &tag, err);
	return result < 0 ? result : snapshot_hold(context->store, target.dataset, target.name, tag, err);
}

/* snapshot.release: {name: "DATASET@NAME", tag} -> {} */
static int snapshot_release_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	struct target target;
	const char *tag;
	int result = target_arg(args, "name", &target, err);

	if (result == 0)
		result = op_arg_string(args, "tag", &tag, err);
	return result < 0 ? result : snapshot_release(context->store, target.dataset, target.name, tag, err);
}

/*
 * dataset.rollback: {name: "DATASET@NAME", no_guard?} -> {guard: name of the snapshot that keeps the state that was
 * left, or ""}
 */
static int dataset_rollback_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	char guard[NAME_LEN_MAX + 1] = "";
	struct target target;
	int result = target_arg(args, "name", &target, err);

	if (result == 0)
		result =
			dataset_rollback(context->store, target.dataset, target.name, !op_arg_bool(args, "no_guard"), guard, err);
	if (result < 0)
		return result;
	*ret_result = json_pack("{s:s}", "guard", guard);
	return 0;
}

/* dataset.clone: {name: "DATASET@NAME", new_name} -> {} */
static int dataset_clone_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	struct target target;
	const char *new_name;
	int result = target_arg(args, "name", &target, err);

	if (result == 0)
		result = op_arg_string(args, "new_name", &new_name, err);
	if (result == 0)
		result = dataset_name_check("dataset", new_name, err);
	return result < 0 ? result : dataset_clone(context->store, target.dataset, target.name, new_name, err);
}

const struct op snapshot_ops[] = {
	{"snapshot.create", "take snapshots of one or several datasets in one instant", snapshot_create_op},
	{"snapshot.list", "snapshots in the order in which they were taken", snapshot_list_op},
	{"snapshot.show", "one snapshot", snapshot_show},
	{"snapshot.rename", "give a snapshot another name", snapshot_rename_op},
	{"snapshot.destroy", "remove snapshots", snapshot_destroy_op},
	{"snapshot.hold", "keep a snapshot from being destroyed", snapshot_hold_op},
	{"snapshot.release", "end a hold", snapshot_release_op},
	{"dataset.rollback", "set a dataset back to a snapshot", dataset_rollback_op},
	{"dataset.clone", "make a new dataset that starts as a snapshot", dataset_clone_op},
	{NULL, NULL, NULL},
};
