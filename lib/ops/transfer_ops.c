#include <errno.h>
#include <string.h>

#include "lib/backup/restic_import.h"
#include "lib/base/shell.h"
#include "lib/store/datasets.h"
#include "lib/transfer/export.h"
#include "lib/transfer/import.h"
#include "lib/transfer/warm.h"
#include "lib/ops/json.h"
#include "lib/ops/op_args.h"
#include "lib/ops/op_repository.h"
#include "lib/ops/op_tables.h"

#define PROBLEMS_MAX 1000 /* that are named */
#define NOTES_MAX 100
#define DEFAULT_LEVEL 1

struct teller {
	struct op_context *context;
	json_t *problems, *notes;
	uint64_t not_named;
};

static int tell_progress(void *arg, const struct transfer_progress *progress)
{
	struct teller *teller = arg;
	struct op_context *context = teller->context;
	json_t *state;

	if (op_cancelled(context))
		return -ECANCELED;
	if (!context->progress)
		return 0;
	state = json_pack("{s:s, s:I, s:I, s:I, s:s}", "phase", progress->phase, "done", (json_int_t)progress->done, "total",
	                  (json_int_t)progress->total, "files", (json_int_t)progress->files, "unit", "bytes");
	context->progress(context->progress_arg, state);
	json_decref(state);
	return 0;
}

static void tell_problem(void *arg, const char *path, int code, const char *text)
{
	struct teller *teller = arg;

	if (json_array_size(teller->problems) == PROBLEMS_MAX) {
		teller->not_named++;
		return;
	}
	const char *name = strerrorname_np(code == -EBADMSG ? EIO : -code);
	json_array_append_new(teller->problems, json_pack("{s:o, s:s, s:o}", "path", json_from_bytes(path), "code", name ? name : "EIO",
	                                                  "text", json_from_bytes(text)));
}

static void tell_note(void *arg, const char *text)
{
	struct teller *teller = arg;

	if (json_array_size(teller->notes) < NOTES_MAX)
		json_array_append_new(teller->notes, json_from_bytes(text));
}

static struct transfer_options common_options(struct teller *teller, const json_t *args)
{
	return (struct transfer_options){.uid = teller->context->uid,
	                                 .gid = teller->context->gid,
	                                 .groups = teller->context->groups,
	                                 .group_count = teller->context->group_count,
	                                 .strict = op_arg_bool(args, "strict"),
	                                 .all = op_arg_bool(args, "all"),
	                                 .count = op_arg_bool(args, "count"),
	                                 .progress = tell_progress,
	                                 .problem = tell_problem,
	                                 .note = tell_note,
	                                 .arg = teller};
}

static json_t *result_to_json(const struct teller *teller, const struct transfer_counts *counts, int code, const struct error *err)
{
	json_t *failure = code < 0 ? json_from_error(err) : json_null();

	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:O, s:O, s:I, s:o}", "acls", (json_int_t)counts->acls, "files",
	                 (json_int_t)counts->files, "directories", (json_int_t)counts->directories, "links", (json_int_t)counts->links, "skipped",
	                 (json_int_t)counts->skipped, "bytes", (json_int_t)counts->bytes, "problem_count", (json_int_t)counts->problems, "problems",
	                 teller->problems, "notes", teller->notes, "problems_not_named", (json_int_t)teller->not_named, "failure", failure);
}

/* What failed after something was done is part of the result: a caller wants to know both. */
static int finish(struct teller *teller, const struct transfer_counts *counts, int code, struct error *err, json_t **ret_result)
{
	bool any = counts->files || counts->directories || counts->skipped || counts->links || counts->problems;

	if (code == 0 || (any && code != -ECANCELED)) {
		*ret_result = result_to_json(teller, counts, code, err);
		code = 0;
	}
	json_decref(teller->problems);
	json_decref(teller->notes);
	return code;
}

/* The descriptor that came with the request. In a mount of the store the daemon would wait for itself, and an export would find itself. */
static int take_outside(const struct op_context *context, const char *name, int *ret_fd, struct error *err)
{
	if (!context->fd)
		return error_set(err, -EBADF, "no descriptor came with the request");
	if (op_is_in_own_mount(context)) {
		error_set(err, -EINVAL, "%s lies in a mount of the same store", name);
		error_hint(err, "copy with cp, which shares the data, or use corpusfs clone");
		return -EINVAL;
	}
	*ret_fd = *context->fd;
	return 0;
}

/*
 * import: {source: its name for messages, dataset, path?, level?, all?, strict?, count?} and a descriptor: a directory or an archive
 * -> {acls: files and directories that have one, files, directories, links, skipped, bytes, problem_count, problems: [{path, code, text}], notes: [text],
 * problems_not_named, failure: null or {code, text, hint}}; progress {phase, done, total, files}
 */
static int import_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	struct teller teller = {.context = context, .problems = json_array(), .notes = json_array()};
	struct import_options options = {.transfer = common_options(&teller, args),
	                                 .source_fd = -1,
	                                 .path = op_arg_string_or(args, "path", ""),
	                                 .level = (int)op_arg_int(args, "level", DEFAULT_LEVEL)};
	struct transfer_counts counts = {0};
	struct error failure = {0};
	int r = op_arg_string(args, "source", &options.source, &failure);

	if (r == 0)
		r = op_arg_string(args, "dataset", &options.dataset, &failure);
	if (r == 0)
		r = dataset_name_check("dataset", options.dataset, &failure);
	if (r == 0)
		r = take_outside(context, options.source, &options.source_fd, &failure);
	if (r == 0)
		r = import_run(context->store, &options, &counts, &failure);
	op_hint_full_store(&failure);
	if (r < 0 && err)
		*err = failure;
	return finish(&teller, &counts, r, &failure, ret_result);
}

/*
 * import.restic: {place: the repository's name for messages, password, backup?, host?, tag?: which snapshot, as backup_find_among has it, from?:
 * only this of it, dataset, path?, level?, all?, strict?, count?} and a descriptor of the repository -> as import, and {backup, incomplete:
 * something could not be read when it was made, passed_over?: a newer one that is incomplete, where none was named}
 */
static int import_restic_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	struct teller teller = {.context = context, .problems = json_array(), .notes = json_array()};
	struct import_options import = {.transfer = common_options(&teller, args), .path = op_arg_string_or(args, "path", ""),
	                                .level = (int)op_arg_int(args, "level", DEFAULT_LEVEL)};
	struct restore_options options = {.transfer = import.transfer, .backup = op_arg_string_or(args, "backup", NULL),
	                                  .filter = {.host = op_arg_string_or(args, "host", NULL), .tag = op_arg_string_or(args, "tag", NULL)},
	                                  .path = op_arg_string_or(args, "from", NULL)};
	struct restore_result result = {0};
	struct error failure = {0};
	int r = op_arg_string(args, "place", &options.place, &failure);

	import.source = options.place;
	if (r == 0)
		r = op_arg_string(args, "dataset", &import.dataset, &failure);
	if (r == 0)
		r = dataset_name_check("dataset", import.dataset, &failure);
	if (r == 0)
		r = op_repository_open(context, args, &options.repository, &failure);
	if (r == 0)
		r = restic_import_run(context->store, &options, &import, &result, &failure);
	repository_close(options.repository);
	op_hint_full_store(&failure);
	if (r < 0 && err)
		*err = failure;
	r = finish(&teller, &result.transfer, r, &failure, ret_result);
	if (r == 0) {
		json_object_set_new(*ret_result, "backup", json_string(result.backup));
		json_object_set_new(*ret_result, "incomplete", json_boolean(result.incomplete));
		if (result.others.incomplete[0])
			json_object_set_new(*ret_result, "passed_over", json_string(result.others.incomplete));
	}
	return r;
}

/*
 * export: {source: "DATASET[@NAME]", path?, target: its name for messages, format: "dir", "tar", "tar.zst", "tar.gz" or "zip", strict?,
 * count?} and a descriptor: a directory, or what the archive is written to -> as import
 */
static int export_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	struct teller teller = {.context = context, .problems = json_array(), .notes = json_array()};
	struct export_options options = {.transfer = common_options(&teller, args),
	                                 .target_fd = -1,
	                                 .path = op_arg_string_or(args, "path", ""),
	                                 .format = op_arg_string_or(args, "format", NULL)};
	struct transfer_counts counts = {0};
	struct error failure = {0};
	int r = op_arg_string(args, "source", &options.source, &failure);

	if (r == 0)
		r = op_arg_string(args, "target", &options.target, &failure);
	if (r == 0)
		r = take_outside(context, options.target, &options.target_fd, &failure);
	if (r == 0)
		r = export_run(context->store, &options, &counts, &failure);
	if (failure.code == -ENOSPC && !failure.hint[0])
		error_hint(&failure, "the disk of %s is full: make room on it, and run the same command again", options.target);
	if (r < 0 && err)
		*err = failure;
	return finish(&teller, &counts, r, &failure, ret_result);
}

/* warm: {source: "DATASET[@NAME]", path?} -> {files, bytes: read from the store's files, seconds} */
static int warm_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	struct teller teller = {.context = context, .problems = json_array(), .notes = json_array()};
	struct warm_options options = {.transfer = common_options(&teller, args), .path = op_arg_string_or(args, "path", "")};
	struct warm_result result = {0};
	int r = op_arg_string(args, "source", &options.source, err);

	if (r == 0)
		r = warm_run(context->store, &options, &result, err);
	json_decref(teller.problems);
	json_decref(teller.notes);
	if (r < 0)
		return r;
	*ret_result = json_pack("{s:I, s:I, s:I, s:f}", "files", (json_int_t)result.files, "chunks", (json_int_t)result.chunks, "bytes",
	                        (json_int_t)result.bytes, "seconds", result.seconds);
	return 0;
}

const struct op transfer_ops[] = {
	{"import", "take a directory or an archive into a dataset", OP_OWNER, NULL, import_op},
	{"import.restic", "take what restic backed up into a dataset", OP_OWNER, NULL, import_restic_op},
	{"export", "give files of a dataset out as a directory or an archive", OP_READER, NULL, export_op},
	{"warm", "load into the page cache what reading files will need", OP_READER, NULL, warm_op},
	{NULL},
};
