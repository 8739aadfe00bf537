#include <errno.h>
#include <string.h>

#include "lib/backup/backup.h"
#include "lib/base/fault.h"
#include "lib/store/replica.h"
#include "lib/stream/replication.h"
#include "lib/ops/json.h"
#include "lib/ops/op_args.h"
#include "lib/ops/op_tables.h"
#include "lib/store/uncommitted.h"
#include "lib/store/unknown.h"
#include "lib/tree/content/tree.h"

#define DEFAULT_MODE 0755
#define DEFAULT_LEVEL 1
#define LEVEL_MAX 19

static int level_check(int64_t level, struct error *err)
{
	if (level >= 0 && level <= LEVEL_MAX)
		return 0;
	error_set(err, -EINVAL, "compression level %lld is out of range", (long long)level);
	error_hint(err, "0 stores plainly, 1 is fast, %d is smallest", LEVEL_MAX);
	return -EINVAL;
}

/* Only where there is a replica. */
static void add_replication(struct op_context *context, const struct dataset_info *info, json_t *object)
{
	json_t *found = replication_status(context->store, info), *value;
	json_t *status = found ? json_deep_from_bytes(found) : NULL;
	const char *key;

	json_object_foreach(status, key, value) {
		AUTO_FREE char *name = xasprintf("replicated_%s", key);

		json_object_set(object, name, value);
	}
	json_decref(status);
	json_decref(found);
}

/* dataset_id: STORE/NUMBER, as backups have it; quota and used: null where there is no quota, as nothing is counted then */
static json_t *dataset_to_json(struct op_context *context, const struct dataset_info *info)
{
	json_t *schedule = info->schedule[0] ? json_loads(info->schedule, 0, NULL) : NULL;
	uint64_t quota = info->quota, used = 0;
	struct tree_usage usage = {0};
	bool is_known = quota > 0 && dataset_usage(context->store, info->name, &quota, &used) == 0;

	tree_usage(store_tree(context->store), &usage);
	const uint64_t available = is_known ? MIN(usage.free_bytes, quota - MIN(quota, used)) : usage.free_bytes;
	AUTO_FREE char *dataset_id = backup_dataset_id(context->store, info->id);

	json_t *object = json_pack("{s:o, s:s, s:I, s:I, s:I, s:I, s:I, s:i, s:I, s:o, s:o, s:o, s:I, s:b}", "name", json_from_bytes(info->name), "dataset_id",
	                 dataset_id, "id", (json_int_t)info->id, "family", (json_int_t)info->family, "view", (json_int_t)info->view, "epoch",
	                 (json_int_t)info->epoch, "created", (json_int_t)info->created, "level", info->level, "snapshots", (json_int_t)info->snapshots,
	                 "schedule", schedule ? schedule : json_null(), "quota", quota ? json_integer((json_int_t)quota) : json_null(), "used",
	                 is_known ? json_integer((json_int_t)used) : json_null(), "available", (json_int_t)available, "replica", info->replica);

	add_replication(context, info, object);
	return object;
}

/* dataset.create: {name, mode?, level?} -> dataset as in dataset.show */
static int dataset_create_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	int64_t level = op_arg_int(args, "level", DEFAULT_LEVEL), mode = op_arg_int(args, "mode", DEFAULT_MODE);
	struct dataset_info info;
	const char *name;
	int result = op_arg_string(args, "name", &name, err);

	if (result == 0)
		result = level_check(level, err);
	if (result == 0 && (mode < 0 || mode > 07777))
		result = error_set(err, -EINVAL, "mode %llo is not a mode", (long long)mode);
	if (result == 0)
		result = dataset_name_check("dataset", name, err);
	if (result == 0)
		result = dataset_create(context->store, name, (uint32_t)mode, context->uid, context->gid, (int)level, err);
	if (result < 0)
		return result;
	result = dataset_get(context->store, name, &info);
	if (result < 0)
		return unknown_or_failed(context->store, name, NULL, result, err);
	*ret_result = dataset_to_json(context, &info);
	return 0;
}

static int list_one(void *arg, const struct dataset_info *info)
{
	return op_row(arg, dataset_to_json(arg, info));
}

/* dataset.list: {}; rows as in dataset.show */
static int dataset_list_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	int result = dataset_list(context->store, list_one, context);

	return result < 0 ? error_set(err, result, "the list of datasets could not be read: %s", error_text(result)) : 0;
}

/* dataset.show: {name} -> {name, id, family, view, epoch, created, level, snapshots, schedule (object or null), quota and
 * used (bytes, or null where there is no quota), available: bytes that may be written,
 * replica: only streams change it},
 * and of one with a replica replicated_{to, snapshot, sent, behind, lag} as in stream.replications */
static int dataset_show(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	struct dataset_info info;
	const char *name;
	int result = op_arg_string(args, "name", &name, err);

	if (result < 0)
		return result;
	result = dataset_get(context->store, name, &info);
	if (result < 0)
		return unknown_or_failed(context->store, name, NULL, result, err);
	*ret_result = dataset_to_json(context, &info);
	return 0;
}

/* dataset.rename: {name, new_name} -> {} */
static int dataset_rename_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	const char *name, *new_name;
	int result = op_arg_string(args, "name", &name, err);

	if (result == 0)
		result = op_arg_string(args, "new_name", &new_name, err);
	if (result == 0)
		result = dataset_name_check("dataset", new_name, err);
	return result < 0 ? result : dataset_rename(context->store, name, new_name, err);
}

/* dataset.destroy: {name, snapshots?: its snapshots too, empty_only?: as rmdir} -> {} */
static int dataset_destroy_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	unsigned flags = (op_arg_bool(args, "snapshots") ? DATASET_DESTROY_SNAPSHOTS : 0) |
	                 (op_arg_bool(args, "empty_only") ? DATASET_DESTROY_EMPTY_ONLY : 0);
	const char *name;
	int result = op_arg_string(args, "name", &name, err);

	return result < 0 ? result : dataset_destroy(context->store, name, flags, err);
}

/* dataset.set: {name, level?, quota?: bytes, 0: none} -> {}; what is not given stays */
static int dataset_set(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	int64_t level = op_arg_int(args, "level", -1), quota = op_arg_int(args, "quota", -1);
	const char *name;
	int result = op_arg_string(args, "name", &name, err);

	if (result == 0 && json_object_get(args, "level"))
		result = level_check(level, err);
	if (result == 0 && json_object_get(args, "quota") && quota < 0)
		result = error_set(err, -EINVAL, "a quota of %lld bytes makes no sense", (long long)quota);
	if (result == 0 && level >= 0)
		result = dataset_set_level(context->store, name, (int)level, err);
	if (result == 0 && quota >= 0)
		result = dataset_set_quota(context->store, name, (uint64_t)quota, err);
	return result;
}

/* dataset.promote: {name} -> {}; a replica can be written from now on */
static int dataset_promote(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	const char *name;
	int result = op_arg_string(args, "name", &name, err);

	return result < 0 ? result : dataset_set_replica(context->store, name, false, err);
}

static int cannot_go_back(struct store *store, const char *name, const char *to, int result, struct error *err)
{
	struct dataset_info info;

	if (result == -ENOENT || dataset_get(store, name, &info) < 0)
		return unknown_or_failed(store, name, to, result, err);
	error_set(err, result, "cannot roll \"%s\" back to \"%s\"", name, to);
	(void)uncommitted_explain(store, &info.view, 1, err);
	return result;
}

/* dataset.demote: {name, to?: a snapshot that it goes back to} -> {kept: the snapshot of what was there before, or null}; a replica from now on */
static int dataset_demote(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	const char *name, *to = op_arg_string_or(args, "to", NULL);
	char kept[NAME_LEN_MAX + 1] = "";
	struct dataset_info info;
	int result = op_arg_string(args, "name", &name, err);

	if (result < 0)
		return result;
	result = dataset_get(context->store, name, &info);
	if (result < 0)
		return unknown_or_failed(context->store, name, NULL, result, err);
	if (to)
		result = dataset_is_at(context->store, name, to);
	if (result < 0)
		return cannot_go_back(context->store, name, to, result, err);
	/* A replica may have replicas of its own, and keeps them: but not what a demotion that died has left. */
	const bool ends = !info.replica || replication_is_ending(context->store, &info), is_at = result > 0;
	result = ends ? replication_end_begin(context->store, &info, err) : 0;
	if (result < 0)
		return result;
	if (to && !is_at)
		result = dataset_demote_to(context->store, name, to, kept, err);
	else
		result = dataset_set_replica(context->store, name, true, err);
	if (result == 0)
		result = fault_point("demote-before-end");
	if (result < 0)
		return result;
	if (ends)
		replication_end(context->store, &info);
	*ret_result = json_pack("{s:o}", "kept", kept[0] ? json_from_bytes(kept) : json_null());
	return 0;
}

const struct op dataset_ops[] = {
	{"dataset.create", "make an empty dataset", OP_OWNER, NULL, dataset_create_op},
	{"dataset.list", "all datasets", OP_READER, "datasets", dataset_list_op},
	{"dataset.show", "one dataset", OP_READER, NULL, dataset_show},
	{"dataset.rename", "give a dataset another name", OP_OWNER, NULL, dataset_rename_op},
	{"dataset.destroy", "remove a dataset and its files", OP_OWNER, NULL, dataset_destroy_op},
	{"dataset.promote", "let a replica be written", OP_OWNER, NULL, dataset_promote},
	{"dataset.demote", "make a dataset a replica, which only streams change", OP_OWNER, NULL, dataset_demote},
	{"dataset.set", "change a dataset's properties", OP_OWNER, NULL, dataset_set},
	{NULL},
};
