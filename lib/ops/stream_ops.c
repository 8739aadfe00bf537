#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/shell.h"
#include "lib/ops/json.h"
#include "lib/ops/op_args.h"
#include "lib/ops/op_tables.h"
#include "lib/ops/op_views.h"
#include "lib/store/receiving.h"
#include "lib/store/unknown.h"
#include "lib/stream/receive.h"
#include "lib/stream/replication.h"
#include "lib/stream/send.h"

#define TELL_EVERY_MS 200

/* Tells how far a stream is, and whether to stop. */
struct progress {
	struct op_context *context;
	const uint64_t *bytes;
	unsigned long long told_ms;
};

static bool stopped(void *arg)
{
	struct progress *progress = arg;
	struct op_context *context = progress->context;
	const unsigned long long now = clock_ms();

	if (context->progress && now - progress->told_ms >= TELL_EVERY_MS) {
		json_t *state = json_pack("{s:s, s:I, s:I, s:s}", "phase", "stream", "done", (json_int_t)*progress->bytes, "total", (json_int_t)0, "unit", "bytes");

		progress->told_ms = now;
		context->progress(context->progress_arg, state);
		json_decref(state);
	}
	return op_cancelled(context);
}

/* In a mount of the store the daemon would wait for itself. */
static int need_fd(const struct op_context *context, struct error *err)
{
	if (!context->fd)
		return error_set(err, -EBADF, "no descriptor came with the request");
	if (!op_is_in_own_mount(context))
		return 0;
	error_set(err, -EINVAL, "the stream lies in a mount of the same store");
	error_hint(err, "keep it on another disk, or pass it through a pipe with cat");
	return -EINVAL;
}

static json_t *id_to_json(const uint8_t id[STREAM_ID_LEN])
{
	char text[2 * STREAM_ID_LEN + 1] = "";

	for (size_t i = 0; i < STREAM_ID_LEN; i++)
		(void)snprintf(text + 2 * i, sizeof(text) - 2 * i, "%02x", id[i]);
	return json_string(text);
}

/* --- send --- */

static int send_it(struct op_context *context, struct send_options options, json_t **ret_result, struct error *err)
{
	struct send_result result = {0};
	struct progress progress = {.context = context, .bytes = &result.bytes, .told_ms = clock_ms()};
	int r = need_fd(context, err);

	options.stopped = stopped;
	options.arg = &progress;
	if (r == 0) {
		options.fd = *context->fd;
		r = send_run(context->store, &options, &result, err);
	}
	if (r < 0)
		return r;
	*ret_result = json_pack("{s:o, s:o, s:o, s:I, s:I}", "dataset", json_from_bytes(options.dataset), "snapshot", json_from_bytes(options.snapshot),
	                        "from", options.from ? json_from_bytes(options.from) : json_null(), "frames", (json_int_t)result.frames, "bytes",
	                        (json_int_t)result.bytes);
	return 0;
}

static int send_on(struct op_context *context, const char *token, json_t **ret_result, struct error *err)
{
	AUTO_FREE char *dataset = NULL, *snapshot = NULL, *from = NULL;
	struct stream_position position;
	int r = send_find(context->store, token, &position, &dataset, &snapshot, &from, err);
	struct send_options options = {.dataset = dataset, .snapshot = snapshot, .from = from};

	if (r < 0)
		return r;
	options.step = position.step;
	options.offset = position.offset;
	return send_it(context, options, ret_result, err);
}

/*
 * stream.send: {dataset, snapshot, from?: the base} or {token: where a receiver wants to go on} and a descriptor to write to
 * -> {dataset, snapshot, from: or null, frames, bytes: of content}; progress {phase, done}
 */
static int stream_send(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	const char *token = op_arg_string_or(args, "token", NULL);
	struct send_options options = {.from = op_arg_string_or(args, "from", NULL)};
	int r;

	if (token)
		return send_on(context, token, ret_result, err);
	r = op_arg_string(args, "dataset", &options.dataset, err);
	if (r == 0)
		r = op_arg_string(args, "snapshot", &options.snapshot, err);
	return r < 0 ? r : send_it(context, options, ret_result, err);
}

/* --- receive --- */

static void hint_token(const struct receive_result *result, const char *dataset, struct error *err)
{
	if (result->token[0] && err && !err->hint[0])
		error_hint_shell(err, "what came in is kept; to go on: corpusfs send --resume \"$(corpusfs receive --token %s)\"", dataset);
}

/*
 * stream.receive: {dataset} and a descriptor to read one stream from -> {dataset, snapshot, base: or null, identity, frames, bytes: of content, acls,
 * more: something follows the stream, was there by then, and was not read}; progress {phase, done}
 */
static int stream_receive(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	struct receive_result result = {0};
	struct progress progress = {.context = context, .bytes = &result.bytes, .told_ms = clock_ms()};
	struct receive_options options = {.uid = context->uid, .gid = context->gid, .groups = context->groups, .group_count = context->group_count,
	                                  .stopped = stopped, .arg = &progress};
	int r = op_arg_string(args, "dataset", &options.dataset, err);

	if (r == 0)
		r = need_fd(context, err);
	if (r < 0)
		return r;
	options.fd = *context->fd;
	r = receive_run(context->store, &options, &result, err);
	if (r < 0) {
		hint_token(&result, options.dataset, err);
		return r;
	}
	*ret_result = json_pack("{s:o, s:o, s:o, s:s, s:I, s:I, s:I, s:b}", "dataset", json_from_bytes(options.dataset), "snapshot",
	                        json_from_bytes(result.snapshot), "base", result.base[0] ? json_from_bytes(result.base) : json_null(), "identity",
	                        result.identity, "frames",
	                        (json_int_t)result.frames, "bytes", (json_int_t)result.bytes, "acls", (json_int_t)result.acls, "more", result.has_more);
	return 0;
}

/* --- what a receiver has --- */

struct listing {
	struct op_context *context;
	json_t *snapshots;
};

static int list_snapshot(void *arg, const struct snapshot_info *info)
{
	struct listing *listing = arg;
	uint8_t id[SNAPSHOT_ID_LEN];
	json_t *row;
	int r = snapshot_id(listing->context->store, info, id);

	if (r < 0)
		return r;
	row = json_pack("{s:o, s:o, s:b, s:b}", "name", json_from_bytes(info->name), "id", id_to_json(id), "received",
	                snapshot_was_received(listing->context->store, info), "ancestor", info->is_ancestor);
	op_set_time(row, "taken", info->taken);
	json_array_append_new(listing->snapshots, row);
	return 0;
}

/*
 * stream.state: {dataset} -> {store: its UUID, exists, replica, at: the snapshot since which nothing was changed, or null, snapshots: [{name, id: its
 * number in all stores, received: whether it came in a stream, ancestor: not left by a rollback, taken}], token: where an unfinished stream goes on, or null}
 */
static int stream_state(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	struct listing listing = {.context = context};
	struct stream_position position;
	char token[STREAM_TOKEN_MAX] = "", at[NAME_LEN_MAX + 1] = "";
	struct dataset_info info = {0};
	const char *dataset;
	int r = op_arg_string(args, "dataset", &dataset, err);

	if (r == 0)
		r = dataset_name_check("dataset", dataset, err);
	if (r < 0)
		return r;
	const bool exists = dataset_get(context->store, dataset, &info) == 0;
	listing.snapshots = json_array();
	/* First: what is taken meanwhile is in the list, too. */
	r = exists ? dataset_stands_at(context->store, dataset, at) : 0;
	r = r >= 0 && exists ? snapshot_list(context->store, dataset, list_snapshot, &listing) : r;
	if (r < 0) {
		json_decref(listing.snapshots);
		return error_set(err, r, "the snapshots of \"%s\" could not be read: %s", dataset, error_text(r));
	}
	if (receive_position(context->store, dataset, &position) == 0)
		position_to_token(&position, token);
	*ret_result = json_pack("{s:s, s:b, s:b, s:o, s:o, s:o}", "store", store_superblock(context->store)->uuid, "exists", exists, "replica",
	                        info.replica, "at", at[0] ? json_from_bytes(at) : json_null(), "snapshots", listing.snapshots,
	                        "token", token[0] ? json_string(token) : json_null());
	return 0;
}

/* stream.drop: {dataset} -> {dropped: whether there was an unfinished stream} */
static int stream_drop(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	const char *dataset;
	int r = op_arg_string(args, "dataset", &dataset, err);

	if (r == 0)
		r = receive_drop(context->store, dataset, err);
	if (r < 0)
		return r;
	*ret_result = json_pack("{s:b}", "dropped", r);
	return 0;
}

/*
 * stream.note: {dataset, snapshot, to: a command, whom?: the UUID of the store there, begins?}; the dataset's replica there has the snapshot now, or is
 * going to get it -> {}
 */
static int stream_note(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	const char *dataset, *snapshot, *to, *whom;
	int r = op_arg_string(args, "dataset", &dataset, err);

	if (r == 0)
		r = op_arg_string(args, "snapshot", &snapshot, err);
	if (r == 0)
		r = op_arg_string(args, "to", &to, err);
	if (r < 0)
		return r;
	whom = op_arg_string_or(args, "whom", to);
	return op_arg_bool(args, "begins") ? replication_begin(context->store, dataset, snapshot, whom, err)
	                                   : replication_note(context->store, dataset, snapshot, whom, to, err);
}

static int add_replication(void *arg, const struct dataset_info *info)
{
	struct op_context *context = arg;
	json_t *status = replication_status(context->store, info), *row = status ? json_deep_from_bytes(status) : NULL;

	json_decref(status);
	if (!row)
		return 0;
	json_object_set_new(row, "dataset", json_from_bytes(info->name));
	return op_row(context, row);
}

/* stream.replications: {}; rows {dataset, to, snapshot, sent, behind: snapshots that are not there, lag: age of the oldest of these, in seconds} */
static int stream_replications(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	int r = dataset_list(context->store, add_replication, context);

	return r < 0 ? error_set(err, r, "the list of datasets could not be read: %s", error_text(r)) : 0;
}

const struct op stream_ops[] = {
	{"stream.send", "give a snapshot, or what differs from an older one, to another store", OP_READER, NULL, stream_send},
	{"stream.receive", "take a snapshot from another store", OP_OWNER, NULL, stream_receive},
	{"stream.state", "which snapshots a dataset has, for another store", OP_READER, NULL, stream_state},
	{"stream.note", "note that a replica has a snapshot", OP_OWNER, NULL, stream_note},
	{"stream.replications", "how far replicas are", OP_READER, "replications", stream_replications},
	{"stream.drop", "drop what there is of an unfinished stream", OP_OWNER, NULL, stream_drop},
	{NULL},
};
