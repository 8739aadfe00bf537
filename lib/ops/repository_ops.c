/* Repositories of backups: what needs no store. Their passwords are in repository_key_ops.c, and what goes in forget_ops.c. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/backup/backup_find.h"
#include "lib/backup/drill.h"
#include "lib/backup/holds.h"
#include "lib/backup/rebuild_index.h"
#include "lib/backup/restore.h"
#include "lib/backup/verify.h"
#include "lib/base/path.h"
#include "lib/ops/json.h"
#include "lib/ops/op_args.h"
#include "lib/ops/op_repository.h"
#include "lib/ops/op_tables.h"
#include "lib/ops/op_views.h"
#include "lib/repository/locks.h"

/* backup.init: {password, place?} -> {id} */
static int init_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	struct repository *repository;
	struct objects *objects = NULL;
	const char *password;
	int r = op_arg_string(args, "password", &password, err);

	if (r == 0)
		r = op_repository_objects(context, true, &objects, err);
	if (r == 0)
		r = op_repository_failed(args, repository_init(objects, password, &repository, err), err);
	if (r < 0)
		return r;
	*ret_result = json_pack("{s:s}", "id", repository->id);
	repository_close(repository);
	return 0;
}

/* --- what is there --- */

static double seconds_of(struct timespec time)
{
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void set_holds(const struct backup_holds *holds, json_t *row)
{
	const char *backup = json_string_value(json_object_get(row, "backup"));
	json_t *tags = json_array();

	for (size_t i = 0; i < holds->count; i++)
		if (strcmp(holds->items[i].backup, backup) == 0)
			json_array_append_new(tags, json_from_bytes(holds->items[i].tag));
	json_object_set_new(row, "holds", tags);
}

static int give_backup(struct op_context *context, const struct snapshot_file *snapshot, const struct backup_holds *holds)
{
	json_t *row = op_backup_to_json(snapshot);

	set_holds(holds, row);
	return op_row(context, row);
}

/* [{backup, tag}] of backups that are not there. */
static json_t *holds_of_gone(const struct backup_holds *holds, const struct snapshot_files *snapshots)
{
	json_t *gone = json_array();

	for (size_t i = 0; i < holds->count; i++) {
		bool is_there = object_names_have(&snapshots->damaged, holds->items[i].backup);

		for (size_t j = 0; j < snapshots->count && !is_there; j++)
			is_there = strcmp(holds->items[i].backup, snapshots->items[j].name) == 0;
		if (!is_there)
			json_array_append_new(gone, json_pack("{s:s, s:o}", "backup", holds->items[i].backup, "tag", json_from_bytes(holds->items[i].tag)));
	}
	return gone;
}

static int damaged_rows(struct op_context *context, const struct object_names *names, const struct backup_holds *holds)
{
	char name[BLOB_ID_TEXT];
	int r = 0;

	for (size_t i = 0; i < names->count && r == 0; i++) {
		json_t *row;

		blob_id_text(&names->items[i], name);
		row = op_damaged_backup_to_json(name);
		set_holds(holds, row);
		r = op_row(context, row);
	}
	return r;
}

/*
 * backup.list: {password, dataset?: by its name, dataset_id?, with_damaged?: also {backup, damaged: true, holds} of each whose file is damaged} -> {gone:
 * [{backup, tag}]: holds of backups that are not there any more, problem?: why it is not known what is held}; rows {backup, taken, taken_ns, dataset,
 * dataset_id?: STORE/NUMBER, snapshot?, type, base?, identity?, incomplete, host, holds: [tag]}
 */
static int list_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	const char *dataset = op_arg_string_or(args, "dataset", NULL), *dataset_id = op_arg_string_or(args, "dataset_id", NULL);
	struct snapshot_files snapshots = {0};
	struct backup_holds holds = {0};
	struct repository *repository = NULL;
	struct error problem = {0};
	int r = op_repository_open(context, args, &repository, err);

	/* In this order: what is held was there before. */
	if (r == 0 && backup_holds_read(repository, &holds, &problem) < 0)
		backup_holds_clear(&holds);
	if (r == 0)
		r = snapshot_files_read(repository, op_arg_bool(args, "with_damaged"), &snapshots, err);
	if (r == 0)
		r = damaged_rows(context, &snapshots.damaged, &holds);
	for (size_t i = 0; i < snapshots.count && r == 0; i++) {
		const char *of = snapshot_file_tag_value(&snapshots.items[i], "dataset-id");

		if ((!dataset || strcmp(dataset, backup_dataset(&snapshots.items[i])) == 0) && (!dataset_id || (of && strcmp(dataset_id, of) == 0)))
			r = give_backup(context, &snapshots.items[i], &holds);
	}
	if (r == 0)
		*ret_result = json_pack("{s:o, s:o*}", "gone", holds_of_gone(&holds, &snapshots), "problem",
		                        problem.code < 0 ? json_from_bytes(problem.text) : NULL);
	backup_holds_clear(&holds);
	snapshot_files_clear(&snapshots);
	repository_close(repository);
	return r;
}

/* What stands in its description, if that can be read: restic's have none. */
static void set_counts(struct repository *repository, const struct snapshot_file *snapshot, json_t *row)
{
	struct repository_reader *reader = repository_reader_new(repository);
	json_t *info = NULL, *counts;

	if (repository_load_index(repository, true, NULL) == 0 && backup_info_read(reader, snapshot, &info, NULL) == 0) {
		counts = backup_info_counts(info);
		if (counts)
			json_object_update_missing(row, counts);
		json_decref(counts);
		json_decref(info);
	}
	repository_reader_free(reader);
}

/*
 * backup.show: {password, backup?, published?} -> as a row of backup.list, with tags: [text], user; holds only where they can be read; counts of its
 * description (backup_info.h)
 */
static int show_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	AUTO_FREE char *backup = NULL;
	struct snapshot_file snapshot = {0};
	struct repository *repository = NULL;
	struct backup_holds holds = {0};
	int r = op_repository_open(context, args, &repository, err);
	json_t *tags;

	if (r == 0)
		r = op_repository_backup(args, repository, &backup, NULL, err);
	if (r == 0)
		r = backup_find(repository, backup, &snapshot, NULL, err);
	if (r == 0) {
		tags = json_array();
		for (size_t i = 0; i < snapshot.tags.count; i++)
			json_array_append_new(tags, json_from_bytes(snapshot.tags.items[i]));
		*ret_result = op_backup_to_json(&snapshot);
		json_object_set_new(*ret_result, "tags", tags);
		json_object_set_new(*ret_result, "user", json_from_bytes(snapshot.user));
		if (snapshot_file_has_tag(&snapshot, "corpusfs"))
			set_counts(repository, &snapshot, *ret_result);
		if (backup_holds_read(repository, &holds, NULL) == 0)
			set_holds(&holds, *ret_result);
	}
	backup_holds_clear(&holds);
	snapshot_file_clear(&snapshot);
	repository_close(repository);
	return r;
}

/* {dataset_id: when its newest complete backup was taken} */
static int list_newest(struct repository *repository, json_t **ret_newest, struct error *err)
{
	struct snapshot_files snapshots = {0};
	json_t *newest = json_object();
	int r = snapshot_files_read(repository, true, &snapshots, err);

	/* Oldest first. */
	for (size_t i = 0; i < snapshots.count; i++) {
		const char *of = snapshot_file_tag_value(&snapshots.items[i], "dataset-id");

		if (of && backup_is_complete(&snapshots.items[i]))
			json_object_set_new(newest, of, json_real(seconds_of(snapshots.items[i].time)));
	}
	snapshot_files_clear(&snapshots);
	*ret_newest = newest;
	return r;
}

/* backup.verify: {password, data?, sample?: percent} -> {snapshots, trees, blobs, packs, packs_read, bytes_read, hurt: backups, problem_count,
 * problems, damaged_snapshots: files, bad_index, bad_packs: what is wrong,
 * with all data also verified: {dataset_id: when its newest complete backup was taken}} */
static int verify_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	struct op_problems problems = {.context = context, .list = json_array()};
	struct verify_options options = {.transfer = op_problems_options(&problems), .data = op_arg_bool(args, "data"),
	                                 .sample = (unsigned)op_arg_int(args, "sample", 100)};
	struct verify_counts counts;
	json_t *verified = NULL;
	int r = op_repository_open(context, args, &options.repository, err);

	/* Before: what comes meanwhile is not read. */
	if (r == 0 && options.data && options.sample == 100)
		r = list_newest(options.repository, &verified, err);
	if (r == 0)
		r = verify_run(&options, &counts, err);
	if (r == 0)
		*ret_result = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:O, s:I, s:b, s:b, s:O*}", "snapshots", (json_int_t)counts.snapshots, "trees",
		                        (json_int_t)counts.trees, "blobs", (json_int_t)counts.blobs, "packs", (json_int_t)counts.packs, "packs_read",
		                        (json_int_t)counts.packs_read, "bytes_read", (json_int_t)counts.bytes_read, "hurt",
		                        (json_int_t)counts.hurt, "problem_count",
		                        (json_int_t)counts.problems, "problems", problems.list, "damaged_snapshots",
		                        (json_int_t)counts.snapshot_files, "bad_index", counts.has_bad_index, "bad_packs", counts.has_bad_packs,
		                        "verified", verified);
	json_decref(verified);
	json_decref(problems.list);
	repository_close(options.repository);
	return r;
}

/* --- restoring to a directory --- */

/*
 * restore.directory: {password, place, target, backup?, published?, path?, keep_going?, count?} and two descriptors -> {backup, incomplete,
 * passed_over?, later?, identity?: of what was written, same, uncompared?, files, directories, links, skipped, bytes, problem_count, problems, failure,
 * clamped?: files whose times the filesystem of the directory cannot have, clamped_first?: names}, as restore
 */
static int restore_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	AUTO_FREE char *path = path_clean(op_arg_string_or(args, "path", ""));
	struct op_problems problems = {.context = context, .list = json_array()};
	struct restore_options options = {.transfer = op_problems_options(&problems),
	                                  .place = op_arg_string_or(args, "place", "the repository"),
	                                  .target = op_arg_string_or(args, "target", "the target"),
	                                  .target_fd = context->target_fd ? *context->target_fd : -1,
	                                  .backup = op_arg_string_or(args, "backup", NULL),
	                                  .path = path,
	                                  .keep_going = op_arg_bool(args, "keep_going")};
	struct repository *repository = NULL;
	struct restore_result result = {0};
	struct error failure = {0};
	AUTO_FREE char *backup = NULL;
	int r = context->target_fd ? 0 : error_set(&failure, -EBADF, "no descriptor of a directory came with the request");

	options.transfer.count = op_arg_bool(args, "count");
	if (r == 0)
		r = op_repository_open(context, args, &repository, &failure);
	if (r == 0)
		r = op_repository_backup(args, repository, &backup, NULL, &failure);
	if (r == 0) {
		options.repository = repository;
		options.backup = backup;
		r = restore_to_directory(NULL, &options, &result, &failure);
		op_hint_keep_going(options.keep_going, &failure);
	}
	repository_close(repository);
	if (r == 0 || (r != -ECANCELED && result.transfer.files + result.transfer.directories + result.transfer.problems > 0)) {
		*ret_result = json_pack("{s:s, s:b, s:s*, s:s*, s:s*, s:b, s:s*, s:I, s:I, s:I, s:I, s:I, s:I, s:O, s:o}", "backup", result.backup, "incomplete",
		                        result.incomplete, "passed_over", result.others.incomplete[0] ? result.others.incomplete : NULL, "later",
		                        result.others.later[0] ? result.others.later : NULL, "identity",
		                        result.identity[0] ? result.identity : NULL, "same", result.same, "uncompared", result.uncompared, "files",
		                        (json_int_t)result.transfer.files, "directories", (json_int_t)result.transfer.directories, "links",
		                        (json_int_t)result.transfer.links, "skipped", (json_int_t)result.transfer.skipped, "bytes",
		                        (json_int_t)result.transfer.bytes, "problem_count", (json_int_t)result.transfer.problems, "problems",
		                        problems.list, "failure", r < 0 ? json_from_error(&failure) : json_null());
		if (result.clamped > 0) {
			json_object_set_new(*ret_result, "clamped", json_integer((json_int_t)result.clamped));
			json_object_set_new(*ret_result, "clamped_first", json_from_bytes(result.clamped_first));
		}
		r = 0;
	} else if (err) {
		*err = failure;
	}
	json_decref(problems.list);
	free(result.clamped_first);
	return r;
}

static int drill_row(void *arg, const struct drill_result *result)
{
	const struct restore_result *restore = &result->restore;

	json_t *row = json_pack("{s:s, s:o, s:s*, s:b, s:s*, s:b, s:I, s:I, s:f}", "backup", restore->backup, "dataset", json_from_bytes(result->dataset),
	                        "dataset_id", result->dataset_id, "incomplete", restore->incomplete, "identity",
	                        restore->identity[0] ? restore->identity : NULL, "same", restore->same, "files",
	                        (json_int_t)restore->transfer.files, "bytes", (json_int_t)restore->transfer.bytes, "seconds", result->seconds);

	op_set_time(row, "taken", result->taken);
	return op_row(arg, row);
}

/*
 * backup.drill: {password, place, backup?, published?, dataset_id?: only of this one, scratch?: a directory of the caller's, in whose own process
 * it runs; without it into memory, count?} -> rows {backup, taken, taken_ns, dataset, dataset_id?, incomplete, identity?, same, files, bytes, seconds}
 */
static int drill_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	struct op_problems problems = {.context = context, .list = json_array()};
	struct drill_options options = {.transfer = op_problems_options(&problems), .place = op_arg_string_or(args, "place", "the repository"),
	                                .backup = op_arg_string_or(args, "backup", NULL), .scratch = op_arg_string_or(args, "scratch", NULL),
	                                .dataset_id = op_arg_string_or(args, "dataset_id", NULL)};
	AUTO_FREE char *backup = NULL;
	int r = 0;

	options.transfer.count = op_arg_bool(args, "count");
	if (context->store)
		r = error_set(err, -EINVAL, "a drill runs in the process of who wants it");
	if (r == 0)
		r = op_repository_open(context, args, &options.repository, err);
	if (r == 0)
		r = op_repository_backup(args, options.repository, &backup, NULL, err);
	options.backup = backup;
	if (r == 0)
		r = drill_run(&options, drill_row, context, err);
	json_decref(problems.list);
	repository_close(options.repository);
	return r;
}

/* backup.rebuild-index: {password, drop_missing?: what is missing is lost for good} -> {packs, blobs, problem_count, problems} */
static int rebuild_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	struct op_problems problems = {.context = context, .list = json_array()};
	struct rebuild_options options = {.transfer = op_problems_options(&problems), .drop_missing = op_arg_bool(args, "drop_missing")};
	struct rebuild_counts counts;
	int r = op_repository_open(context, args, &options.repository, err);

	if (r == 0)
		r = rebuild_index_run(&options, &counts, err);
	if (r == 0)
		*ret_result = json_pack("{s:I, s:I, s:I, s:O}", "packs", (json_int_t)counts.packs, "blobs", (json_int_t)counts.blobs, "problem_count",
		                        (json_int_t)counts.problems, "problems", problems.list);
	json_decref(problems.list);
	repository_close(options.repository);
	return r;
}

/* backup.unlock: {password, all?} -> {removed} */
static int unlock_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	struct repository *repository = NULL;
	size_t removed = 0;
	int r = op_repository_open(context, args, &repository, err);

	if (r == 0)
		r = repository_locks_remove(repository, op_arg_bool(args, "all"), &removed, err);
	if (r == 0)
		*ret_result = json_pack("{s:I}", "removed", (json_int_t)removed);
	repository_close(repository);
	return r;
}

const struct op repository_ops[] = {
	{"backup.init", "make a repository for backups", OP_OWNER, NULL, init_op},
	{"backup.list", "the backups of a repository", OP_READER, "backups", list_op},
	{"backup.show", "one backup", OP_READER, NULL, show_op},
	{"backup.verify", "look whether a repository is undamaged", OP_READER, NULL, verify_op},
	{"restore.directory", "make a directory of a backup", OP_OWNER, NULL, restore_op},
	{"backup.drill", "restore backups to scratch space, to know that they come back", OP_READER, "backups", drill_op},
	{"backup.rebuild-index", "make the index of a repository anew", OP_OWNER, NULL, rebuild_op},
	{"backup.unlock", "remove locks that nobody holds any more", OP_OWNER, NULL, unlock_op},
	{NULL},
};
