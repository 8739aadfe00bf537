/* Backups and their way back: what needs a store. What needs the repository only is in repository_ops.c. */
#include <errno.h>
#include <string.h>

#include "lib/backup/backup.h"
#include "lib/backup/backup_schedule.h"
#include "lib/backup/backup_snapshots.h"
#include "lib/backup/publish.h"
#include "lib/backup/restore.h"
#include "lib/base/clock.h"
#include "lib/base/path.h"
#include "lib/ops/json.h"
#include "lib/ops/op_args.h"
#include "lib/ops/op_repository.h"
#include "lib/ops/op_tables.h"
#include "lib/store/datasets.h"
#include "lib/verify/heal_plan.h"

/* --- backing up --- */

static json_t *result_to_json(const struct backup_options *options, const struct backup_result *result, json_t *problems)
{
	return json_pack("{s:s, s:o, s:o, s:s, s:s*, s:s*, s:s*, s:s*, s:b, s:s*, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:O}", "backup", result->name, "dataset",
	                 json_from_bytes(options->dataset), "snapshot", json_from_bytes(options->snapshot), "type",
	                 backup_type_text(result->type), "base", result->base[0] ? result->base : NULL, "damaged",
	                 result->damaged[0] ? result->damaged : NULL, "misdated",
	                 result->misdated[0] ? result->misdated : NULL, "identity", result->identity[0] ? result->identity : NULL, "compared", result->compared,
	                 "doubt", result->doubt, "files", (json_int_t)result->transfer.files, "directories", (json_int_t)result->transfer.directories,
	                 "unchanged", (json_int_t)result->transfer.skipped, "bytes", (json_int_t)result->transfer.bytes, "added",
	                 (json_int_t)result->counts.plain, "stored", (json_int_t)result->counts.stored, "problem_count",
	                 (json_int_t)result->transfer.problems, "problems", problems);
}

/* For the schedule that names this repository, if there is one. That it cannot be noted makes the backup no worse: then one more is made by the clock. */
static void note_run(struct op_context *context, const struct backup_options *options, const char *repository, uint64_t begun)
{
	struct backup_note note = {.dataset = options->dataset, .repository = repository, .now = clock_now().tv_sec,
	                           .seconds = (double)(clock_ms() - begun) / 1000};
	struct error ignored = {0};

	if (backup_kind_parse(backup_type_text(options->type), &note.kind) == 0)
		(void)!backup_schedule_note(context->store, &note, &ignored);
}

/* `repository`: as a schedule names it, or NULL. */
static int run_one(struct op_context *context, struct backup_options *options, bool is_taken, const char *repository, struct error *err)
{
	const bool count = options->transfer.count;
	struct op_problems problems = {.context = context, .list = json_array()};
	const uint64_t begun = clock_ms();
	struct backup_result result;
	int r;

	options->transfer = op_problems_options(&problems);
	options->transfer.count = count;
	options->is_new = is_taken;
	r = backup_run(context->store, options, &result, err);
	if (r == 0 && is_taken)
		r = backup_snapshots_drop(context->store, options->dataset, options->repository->id, options->snapshot, result.full_snapshot, err);
	/* What an older snapshot holds is not what a schedule promises. */
	if (r == 0 && is_taken && repository && result.transfer.problems == 0)
		note_run(context, options, repository, begun);
	if (r == 0)
		r = op_row_of_done(context, result_to_json(options, &result, problems.list));
	json_decref(problems.list);
	return r;
}

/* The datasets whose snapshot is to be taken now. */
struct sources {
	ARRAY_FIELDS(struct source {
		char *dataset;
		const char *snapshot; /* in the text of the dataset, or the one that is taken */
	});
	ARRAY(const char *) to_take;
	char taken[NAME_LEN_MAX + 1];
};

static void sources_clear(struct sources *sources)
{
	for (size_t i = 0; i < sources->count; i++)
		free(sources->items[i].dataset);
	array_clear(sources);
	array_clear(&sources->to_take);
}

static int read_sources(const json_t *args, struct sources *sources, struct error *err)
{
	const json_t *list = json_object_get(args, "sources"), *entry;
	size_t i;

	json_array_foreach(list, i, entry) {
		const char *text = json_string_value(entry);
		struct source source = {.dataset = xstrdup(text ? text : "")};
		char *at = strchr(source.dataset, '@');

		if (at) {
			*at = '\0';
			source.snapshot = at + 1;
		} else {
			array_add(&sources->to_take, source.dataset);
		}
		array_add(sources, source);
		if (dataset_name_check("dataset", source.dataset, err) < 0)
			return -EINVAL;
	}
	return sources->count > 0 ? 0 : error_set(err, -EINVAL, "no dataset is named");
}

/* Of several, which one it was. */
static void name_dataset(struct error *err, const char *dataset)
{
	struct error was;

	if (!err)
		return;
	was = *err;
	(void)error_set(err, was.code, "dataset \"%s\": %s", dataset, was.text);
	error_hint(err, "%s", was.hint);
}

/* Takes what is to be taken, backs up, and lets go of what was taken for earlier ones. */
static int run_all(struct op_context *context, struct sources *sources, struct backup_options *options, const char *name, struct error *err)
{
	struct repository *repository = options->repository;
	size_t done = 0;
	int r = 0;

	if (sources->to_take.count > 0)
		r = backup_snapshots_take(context->store, sources->to_take.items, sources->to_take.count, repository->id, sources->taken, err);
	for (size_t i = 0; i < sources->count && r == 0; i++) {
		const struct source *source = &sources->items[i];

		options->dataset = source->dataset;
		options->snapshot = source->snapshot ? source->snapshot : sources->taken;
		r = run_one(context, options, !source->snapshot, name, err);
		if (r == 0)
			done = i + 1;
		else if (sources->count > 1)
			name_dataset(err, source->dataset);
	}
	for (size_t i = done; i < sources->count && sources->taken[0]; i++)
		if (!sources->items[i].snapshot)
			backup_snapshots_drop_one(context->store, sources->items[i].dataset, repository->id, sources->taken);
	return r;
}

/*
 * backup.run: {sources: ["DATASET[@NAME]", ...], type, share?, count?: find the total out, for progress, password, place: the repository's name for
 * messages, repository?: its name as schedules have it: then what is made counts for them} and a descriptor
 * -> rows, one as soon as its dataset is done: {backup, dataset, snapshot, type, base?, damaged?: a snapshot file of the repository, misdated?: a backup of
 * an earlier snapshot with a later time, identity?, compared, doubt?: why all was looked at although there is a base, files, directories, unchanged, bytes,
 * added, stored, problem_count, problems}
 */
static int run_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	struct backup_options options = {.place = op_arg_string_or(args, "place", "the repository"),
	                                 .share = op_arg_bool(args, "share"), .transfer.count = op_arg_bool(args, "count")};
	struct sources sources = {0};
	struct repository *repository = NULL;
	int r = read_sources(args, &sources, err);

	if (r == 0 && backup_type_parse(op_arg_string_or(args, "type", "full"), &options.type) < 0)
		r = error_set(err, -EINVAL, "a backup is full, differential or incremental");
	if (r == 0)
		r = op_repository_open(context, args, &repository, err);
	if (r == 0) {
		options.repository = repository;
		r = run_all(context, &sources, &options, op_arg_string_or(args, "repository", NULL), err);
	}
	repository_close(repository);
	sources_clear(&sources);
	return r;
}

/* --- restoring --- */

static json_t *restored_to_json(const struct restore_options *options, const struct restore_result *result, json_t *problems, int code,
				const struct error *failure)
{
	return json_pack("{s:s, s:b, s:s*, s:s*, s:s*, s:s*, s:s*, s:b, s:s*, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:O, s:o}", "backup", result->backup,
	                 "incomplete", result->incomplete, "passed_over", result->others.incomplete[0] ? result->others.incomplete : NULL, "later",
	                 result->others.later[0] ? result->others.later : NULL, "dataset", options->dataset,
	                 "guard", result->guard[0] ? result->guard : NULL, "identity", result->identity[0] ? result->identity : NULL,
	                 "same", result->same, "uncompared", result->uncompared, "files", (json_int_t)result->transfer.files, "directories",
	                 (json_int_t)result->transfer.directories, "links", (json_int_t)result->transfer.links, "skipped",
	                 (json_int_t)result->transfer.skipped, "bytes", (json_int_t)result->transfer.bytes, "local", (json_int_t)result->local,
	                 "fetched", (json_int_t)result->fetched, "acls", (json_int_t)result->transfer.acls, "problem_count",
	                 (json_int_t)result->transfer.problems, "problems", problems, "failure",
	                 code < 0 ? json_from_error(failure) : json_null());
}

/*
 * restore: {password, place, backup?, published?: that is a version which was published, path?, keep_going?, count?, dataset, over?, level?} and a descriptor
 * of the repository -> {backup, incomplete: something could not be read when it was made, passed_over?: a newer one that is incomplete, later?: one of a
 * later snapshot with an earlier time, where none was named, dataset?, guard?, identity?: of what is there now, same: it is the backup's, uncompared?: why
 * that is not known, files, directories, links, acls, skipped, bytes, local, fetched: bytes that came from the store and from the repository, snapshot?:
 * what was taken of the version, problem_count, problems: [{path, code, text}], failure: null or {code, text, hint}}
 */
static int restore_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	AUTO_FREE char *path = path_clean(op_arg_string_or(args, "path", ""));
	struct op_problems problems = {.context = context, .list = json_array()};
	struct restore_options options = {.transfer = op_problems_options(&problems),
	                                  .place = op_arg_string_or(args, "place", "the repository"),
	                                  .backup = op_arg_string_or(args, "backup", NULL),
	                                  .path = path,
	                                  .keep_going = op_arg_bool(args, "keep_going"),
	                                  .over = op_arg_bool(args, "over"),
	                                  .level = (int)op_arg_int(args, "level", 1)};
	struct repository *repository = NULL;
	struct restore_result result = {0};
	struct error failure = {0};
	char snapshot[NAME_LEN_MAX + 1] = "";
	AUTO_FREE char *backup = NULL;
	struct head head = {0};
	int r = op_arg_string(args, "dataset", &options.dataset, &failure);

	options.transfer.count = op_arg_bool(args, "count");
	if (r == 0)
		r = op_repository_open(context, args, &repository, &failure);
	if (r == 0)
		r = op_repository_backup(args, repository, &backup, &head, &failure);
	if (r == 0) {
		options.repository = repository;
		options.backup = backup;
		r = restore_to_dataset(context->store, &options, &result, &failure);
		op_hint_keep_going(options.keep_going, &failure);
	}
	/* What is the whole version can be published again, as what comes after it. */
	if (r == 0 && head.dataset && result.same && !*options.path)
		r = publish_restored(context->store, options.dataset, repository, &head, snapshot, &failure);
	if (r == 0 && head.dataset && result.same)
		heal_plan_published(context->store, options.place);
	op_hint_full_store(&failure);
	if (r == -ECANCELED && result.guard[0])
		error_hint(&failure, "what was there before is %s@%s", options.dataset, result.guard);
	head_clear(&head);
	repository_close(repository);
	/* What failed after something was done is part of the result. */
	if (r == 0 || (r != -ECANCELED && (result.guard[0] || result.is_begun || result.transfer.problems > 0))) {
		*ret_result = restored_to_json(&options, &result, problems.list, r, &failure);
		if (snapshot[0])
			json_object_set_new(*ret_result, "snapshot", json_from_bytes(snapshot));
		r = 0;
	} else if (err) {
		*err = failure;
	}
	json_decref(problems.list);
	return r;
}

const struct op backup_ops[] = {
	{"backup.run", "back datasets up", OP_OWNER, "backups", run_op},
	{"restore", "make a dataset of a backup", OP_OWNER, NULL, restore_op},
	{NULL},
};
