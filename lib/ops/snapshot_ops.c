#include <errno.h>
#include <fnmatch.h>
#include <string.h>
#include <uthash.h>

#include "lib/base/array.h"
#include "lib/base/shell.h"
#include "lib/identity/identity.h"
#include "lib/ops/json.h"
#include "lib/ops/op_args.h"
#include "lib/ops/op_tables.h"
#include "lib/ops/op_views.h"
#include "lib/store/snapshots.h"
#include "lib/store/unknown.h"

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
		error_hint_shell(err, "snapshots are named as in %s@NAME", text);
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

static int dataset_there(struct store *store, const char *dataset, struct error *err)
{
	struct dataset_info info;
	int result = dataset_get(store, dataset, &info);

	return result < 0 ? unknown_or_failed(store, dataset, NULL, result, err) : 0;
}

static json_t *snapshot_to_json(const struct snapshot_info *info)
{
	json_t *holds = json_array();

	for (size_t i = 0; i < info->hold_count; i++)
		json_array_append_new(holds, json_from_bytes(info->holds[i]));
	json_t *object = json_pack("{s:o, s:o, s:I, s:I, s:I, s:b, s:b, s:o, s:o}", "dataset", json_from_bytes(info->dataset), "name",
	                           json_from_bytes(info->name), "number", (json_int_t)info->number, "view", (json_int_t)info->view, "family",
	                           (json_int_t)info->family, "guard", (info->flags & SNAPSHOT_GUARD) != 0, "scheduled",
	                           (info->flags & SNAPSHOT_SCHEDULED) != 0, "note", json_from_bytes(info->note ? info->note : ""), "holds",
	                           holds);
	op_set_time(object, "taken", info->taken);
	return object;
}

/* Somebody may have destroyed it already: then there is no row. */
static int show_one(struct op_context *context, const char *dataset, const char *name)
{
	struct snapshot_info info;
	int result;

	if (snapshot_get(context->store, dataset, name, &info) < 0)
		return 0;
	result = op_row(context, snapshot_to_json(&info));
	snapshot_info_clear(&info);
	return result;
}

/* snapshot.create: {targets: ["DATASET@NAME", ...], note?}; rows as in snapshot.show. All in one instant, or none. */
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
	for (size_t i = 0; i < count && result == 0; i++)
		result = show_one(context, creates[i].dataset, creates[i].name);
	return result;
}

static int list_one(void *arg, const struct snapshot_info *info)
{
	return op_row(arg, snapshot_to_json(info));
}

/* snapshot.list: {dataset?}; rows as in snapshot.show, in the order in which they were taken */
static int snapshot_list_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	const char *dataset = op_arg_string_or(args, "dataset", NULL);
	int result = dataset ? dataset_there(context->store, dataset, err) : 0;

	if (result < 0)
		return result;
	result = snapshot_list(context->store, dataset, list_one, context);
	return result < 0 ? error_set(err, result, "the list of snapshots could not be read: %s", error_text(result)) : 0;
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
		return unknown_or_failed(context->store, target.dataset, target.name, result, err);
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
	const struct snapshot_name what = {.dataset = target.dataset, .name = target.name};
	return result < 0 ? result : snapshot_rename(context->store, &what, new_name, err);
}

/* --- destroying --- */

/* The names that a dataset has, in the order in which they were taken. */
struct names {
	ARRAY_FIELDS(char *); /* owned */
};

static void names_clear(struct names *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->items[i]);
	array_clear(names);
}

static int add_name(void *arg, const struct snapshot_info *info)
{
	struct names *names = arg;

	array_add(names, xstrdup(info->name));
	return 0;
}

/* One that is chosen, each once however often it was named. A uthash keeps the order in which they came. */
struct chosen {
	struct snapshot_info info;
	UT_hash_handle hh;
	char key[]; /* DATASET@NAME */
};

struct choice {
	struct store *store;
	struct chosen *all;
};

static void choice_clear(struct choice *choice)
{
	struct chosen *chosen, *next;

	HASH_ITER (hh, choice->all, chosen, next) {
		HASH_DEL(choice->all, chosen);
		snapshot_info_clear(&chosen->info);
		free(chosen);
	}
}

/* -ENOENT: it is not there, or not any more. */
static int choose(struct choice *choice, const char *dataset, const char *name)
{
	AUTO_FREE char *key = xasprintf("%s@%s", dataset, name);
	struct chosen *chosen;
	int result;

	HASH_FIND_STR(choice->all, key, chosen);
	if (chosen)
		return 0;
	chosen = xcalloc(1, sizeof(*chosen) + strlen(key) + 1);
	result = snapshot_get(choice->store, dataset, name, &chosen->info);
	if (result < 0) {
		free(chosen);
		return result;
	}
	memcpy(chosen->key, key, strlen(key) + 1);
	HASH_ADD_STR(choice->all, key, chosen);
	return 0;
}

static bool is_pattern(const char *name)
{
	return strpbrk(name, "*?[%") != NULL;
}

static size_t find_name(const struct names *names, const char *name, size_t len)
{
	for (size_t i = 0; i < names->count; i++)
		if (strlen(names->items[i]) == len && memcmp(names->items[i], name, len) == 0)
			return i;
	return SIZE_MAX;
}

/* "a%b": from a to b in the order in which they were taken; either may be left out. */
static int choose_range(const struct target *target, const char *percent, const struct names *names, struct choice *choice, struct error *err)
{
	size_t first = 0, last = names->count - 1, first_len = (size_t)(percent - target->name);
	int result = 0;

	if (first_len > 0)
		first = find_name(names, target->name, first_len);
	if (percent[1])
		last = find_name(names, percent + 1, strlen(percent + 1));
	if (first == SIZE_MAX || last == SIZE_MAX || names->count == 0)
		return unknown_snapshot(choice->store, target->dataset, target->name, err);
	if (first > last)
		return error_set(err, -EINVAL, "%s@%s: the first was taken after the last", target->dataset, target->name);
	for (size_t i = first; i <= last && (result == 0 || result == -ENOENT); i++)
		result = choose(choice, target->dataset, names->items[i]);
	return result == -ENOENT ? 0 : result;
}

static int choose_matching(const struct target *target, const struct names *names, struct choice *choice, struct error *err)
{
	bool any = false;
	int result = 0;

	for (size_t i = 0; i < names->count && (result == 0 || result == -ENOENT); i++)
		if (fnmatch(target->name, names->items[i], 0) == 0) {
			result = choose(choice, target->dataset, names->items[i]);
			any = true;
		}
	if (!any)
		return error_set(err, -ENOENT, "no snapshot matches %s@%s", target->dataset, target->name);
	return result == -ENOENT ? 0 : result;
}

/* Adds the snapshots that `text` names: one by its name, a range, or those that match a pattern. */
static int choose_named(struct choice *choice, const char *text, struct error *err)
{
	CLEANUP(names_clear) struct names names = {0};
	struct target target;
	int result = target_parse(text, &target, err);
	const char *percent;

	if (result == 0)
		result = dataset_there(choice->store, target.dataset, err);
	if (result < 0)
		return result;
	result = choose(choice, target.dataset, target.name);
	if (result != -ENOENT || !is_pattern(target.name))
		return result < 0 ? unknown_or_failed(choice->store, target.dataset, target.name, result, err) : 0;
	result = snapshot_list(choice->store, target.dataset, add_name, &names);
	if (result < 0)
		return error_set(err, result, "the list of snapshots could not be read: %s", error_text(result));
	percent = strchr(target.name, '%');
	return percent ? choose_range(&target, percent, &names, choice, err) : choose_matching(&target, &names, choice, err);
}

/* All of them or none: refused as a whole where a hold or a reader stands in the way. */
static int destroy_chosen(const struct choice *choice, bool dry_run, struct error *err)
{
	AUTO_FREE struct snapshot_name *names = xcalloc(HASH_COUNT(choice->all) + 1UL, sizeof(*names));
	size_t count = 0;

	for (struct chosen *chosen = choice->all; chosen; chosen = chosen->hh.next)
		names[count++] = (struct snapshot_name){.dataset = chosen->info.dataset, .name = chosen->info.name};
	if (count == 0)
		return 0;
	return dry_run ? snapshots_check_destroy(choice->store, names, count, err) : snapshots_destroy(choice->store, names, count, err);
}

/*
 * snapshot.destroy: {targets: ["DATASET@NAME", "DATASET@FIRST%LAST", "DATASET@PATTERN", ...], dry_run?} -> {dry_run};
 * rows as in snapshot.show: those that are destroyed
 */
static int snapshot_destroy_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	CLEANUP(choice_clear) struct choice choice = {.store = context->store};
	json_t *targets = json_object_get(args, "targets");
	bool dry_run = op_arg_bool(args, "dry_run");
	int result = json_array_size(targets) > 0 ? 0 : error_set(err, -EINVAL, "no snapshot is named");

	for (size_t i = 0; result == 0 && i < json_array_size(targets); i++) {
		const char *text = json_string_value(json_array_get(targets, i));
		result = choose_named(&choice, text ? text : "", err);
	}
	if (result == 0)
		result = destroy_chosen(&choice, dry_run, err);
	for (struct chosen *chosen = choice.all; chosen && result == 0; chosen = chosen->hh.next)
		result = op_row(context, snapshot_to_json(&chosen->info));
	*ret_result = json_pack("{s:b}", "dry_run", dry_run);
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
	*ret_result = json_pack("{s:o}", "guard", json_from_bytes(guard));
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
	{"snapshot.create", "take snapshots of one or several datasets in one instant", OP_OWNER, "snapshots", snapshot_create_op},
	{"snapshot.list", "snapshots in the order in which they were taken", OP_READER, "snapshots", snapshot_list_op},
	{"snapshot.show", "one snapshot", OP_READER, NULL, snapshot_show},
	{"snapshot.rename", "give a snapshot another name", OP_OWNER, NULL, snapshot_rename_op},
	{"snapshot.destroy", "remove snapshots", OP_OWNER, "snapshots", snapshot_destroy_op},
	{"snapshot.hold", "keep a snapshot from being destroyed", OP_OWNER, NULL, snapshot_hold_op},
	{"snapshot.release", "end a hold", OP_OWNER, NULL, snapshot_release_op},
	{"dataset.rollback", "set a dataset back to a snapshot", OP_OWNER, NULL, dataset_rollback_op},
	{"dataset.clone", "make a new dataset that starts as a snapshot", OP_OWNER, NULL, dataset_clone_op},
	{NULL},
};
