#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/ops/json.h"
#include "lib/ops/op_args.h"
#include "lib/ops/op_tables.h"
#include "lib/reclaim/chunk_references.h"
#include "lib/reclaim/gc.h"

#define WHY_LIMIT 100

static json_t *progress_to_json(const struct gc_progress *progress)
{
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I}", "phase", progress->phase ? progress->phase : "", "done",
	                 (json_int_t)progress->done, "total", (json_int_t)progress->total, "versions",
	                 (json_int_t)progress->versions, "chunks", (json_int_t)progress->chunks, "bytes",
	                 (json_int_t)progress->bytes);
}

static int gc_step(void *arg, const struct gc_progress *progress)
{
	struct op_context *context = arg;

	if (op_cancelled(context))
		return -ECANCELED;
	if (context->progress) {
		json_t *state = progress_to_json(progress);
		context->progress(context->progress_arg, state);
		json_decref(state);
	}
	return 0;
}

/*
 * gc.run: {dry_run?, prune_only?} -> {versions, chunks, bytes, dry_run, no_room}; progress {phase, done, total, versions,
 * chunks, bytes}
 */
static int gc_run_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	struct gc_options options = {.dry_run = op_arg_bool(args, "dry_run"),
	                             .prune_only = op_arg_bool(args, "prune_only"),
	                             .progress = gc_step,
	                             .arg = context};
	struct gc_progress done = {0};
	int result = gc_run(context->store, &options, &done, err);

	if (result < 0)
		return result;
	*ret_result = json_pack("{s:I, s:I, s:I, s:b, s:b}", "versions", (json_int_t)done.versions, "chunks", (json_int_t)done.chunks,
	                        "bytes", (json_int_t)done.bytes, "dry_run", options.dry_run, "no_room", done.no_room);
	return 0;
}

static int why_one(void *arg, const struct chunk_reference *reference)
{
	return op_row(arg, json_pack("{s:o, s:o, s:o, s:I}", "dataset", json_from_bytes(reference->dataset), "snapshot",
				     json_from_bytes(reference->snapshot), "path", json_from_bytes(reference->path), "offset",
				     (json_int_t)reference->offset));
}

/* gc.why: {chunk: text, decimal or 0x hexadecimal, limit?}; rows {dataset, snapshot ("" is the head), path, offset} */
static int gc_why_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	int64_t limit = op_arg_int(args, "limit", WHY_LIMIT);
	const char *text;
	char *end;
	int result = op_arg_string(args, "chunk", &text, err);

	if (result < 0)
		return result;
	errno = 0;
	unsigned long long chunk = strtoull(text, &end, 0);
	if (errno || *end || text[0] < '0' || text[0] > '9' || chunk == CHUNK_NONE)
		return error_set(err, -EINVAL, "\"%s\" is not a chunk's number", text);
	if (limit < 1)
		return error_set(err, -EINVAL, "the limit must be at least 1");
	uint64_t id = chunk, bytes;
	if (chunks_stored(store_chunks(context->store), id, &bytes) == -ENOENT)
		return error_set(err, -ENOENT, "there is no chunk %llu in the store", chunk);
	return chunk_references_find(context->store, &id, 1, (size_t)limit, why_one, context, NULL, err);
}

const struct op gc_ops[] = {
	{"gc.run", "remove what no dataset and no snapshot needs", OP_OWNER, NULL, gc_run_op},
	{"gc.why", "who keeps a chunk alive", OP_READER, "references", gc_why_op},
	{NULL},
};
