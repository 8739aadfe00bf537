/*
 * Repair of content. What looks at foreign bytes needs no store and runs as the caller, in his process; the store's own part takes only pieces
 * whose SHA-256 it knows. Pieces travel in a spool (lib/verify/repair_heal.h). In arguments and rows a piece is {sha256, length}.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/array.h"
#include "lib/ops/json.h"
#include "lib/ops/op_args.h"
#include "lib/ops/op_repository.h"
#include "lib/ops/op_tables.h"
#include "lib/repository/blob_id.h"
#include "lib/verify/damage.h"
#include "lib/verify/repair_heal.h"
#include "lib/verify/repair_look.h"

static json_t *piece_to_json(const struct wanted_piece *piece)
{
	char text[BLOB_ID_TEXT];
	struct blob_id id;

	memcpy(id.bytes, piece->sha256, BLOB_ID_LEN);
	blob_id_text(&id, text);
	return json_pack("{s:s, s:I}", "sha256", text, "length", (json_int_t)piece->length);
}

static int piece_from_json(const json_t *object, struct wanted_piece *ret_piece)
{
	const char *text = json_string_value(json_object_get(object, "sha256"));
	const json_int_t length = json_integer_value(json_object_get(object, "length"));
	struct blob_id id;

	if (!text || blob_id_parse(text, &id) < 0 || length <= 0 || length > UINT32_MAX)
		return -EINVAL;
	memcpy(ret_piece->sha256, id.bytes, DIGEST_LEN);
	ret_piece->length = (uint32_t)length;
	return 0;
}

/* --- what is wanted --- */

static int tell_wanted(void *arg, uint64_t chunk, const struct wanted_piece *piece)
{
	struct op_context *context = arg;
	json_t *row;

	if (op_cancelled(context))
		return -ECANCELED;
	row = piece_to_json(piece);
	json_object_set_new(row, "chunk", json_integer((json_int_t)chunk));
	return op_row(context, row);
}

/*
 * repair.wanted: {} -> {chunk_min, chunk_average, chunk_max: how the store cuts, chunks: that are damaged, unknown: of them, those of which it is
 * not known what to look for}; rows {sha256, length, chunk}
 */
static int wanted_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	const struct superblock *superblock = store_superblock(context->store);
	struct repair_hurt hurt;
	int result = repair_wanted(context->store, tell_wanted, context, &hurt, err);

	(void)args;
	if (result == 0)
		*ret_result = json_pack("{s:I, s:I, s:I, s:I, s:I}", "chunk_min", (json_int_t)superblock->chunk_min, "chunk_average",
					(json_int_t)superblock->chunk_average, "chunk_max", (json_int_t)superblock->chunk_max, "chunks",
					(json_int_t)hurt.chunks, "unknown", (json_int_t)hurt.unknown);
	return result;
}

/* --- looking --- */

/* What was found goes into the spool, if there is one, and then to the caller. */
struct finding {
	struct op_context *context;
	const int *spool; /* or NULL */
};

static int tell_found(void *arg, const struct wanted_piece *piece, const void *data)
{
	struct finding *finding = arg;
	int result = op_cancelled(finding->context) ? -ECANCELED : 0;

	if (result == 0 && finding->spool)
		result = repair_spool_add(*finding->spool, data, piece->length);
	return result < 0 ? result : op_row(finding->context, piece_to_json(piece));
}

static int tell_progress(void *arg, uint64_t files, uint64_t bytes)
{
	struct op_context *context = arg;

	if (op_cancelled(context))
		return -ECANCELED;
	if (context->progress) {
		json_t *state = json_pack("{s:s, s:I, s:I, s:I, s:s}", "phase", "look", "done", (json_int_t)bytes, "total", (json_int_t)0, "files",
					  (json_int_t)files, "unit", "bytes");
		context->progress(context->progress_arg, state);
		json_decref(state);
	}
	return 0;
}

struct places {
	ARRAY_FIELDS(struct repair_place);
};

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct repair_place *)a)->name, ((const struct repair_place *)b)->name);
}

/* The names stay those of the arguments. */
static void read_places(const json_t *args, struct places *places)
{
	const json_t *sought = json_object_get(args, "sought"), *object, *place;
	size_t i, j;

	json_array_foreach (sought, i, object) {
		struct wanted_piece piece;
		if (piece_from_json(object, &piece) < 0 || piece.length > CHUNK_LEN_MAX)
			continue;
		json_array_foreach (json_object_get(object, "places"), j, place) {
			const char *name = json_string_value(json_object_get(place, "name"));
			const json_int_t offset = json_integer_value(json_object_get(place, "offset"));
			if (name && offset >= 0)
				array_add(places, (struct repair_place){.name = name, .offset = (uint64_t)offset, .length = piece.length});
		}
	}
	if (places->count > 0)
		qsort(places->items, places->count, sizeof(struct repair_place), by_name);
}

static struct wanted *make_wanted(const json_t *args, struct finding *finding)
{
	const int64_t min = op_arg_int(args, "chunk_min", 0), average = op_arg_int(args, "chunk_average", 0), max = op_arg_int(args, "chunk_max", 0);
	const json_t *sought = json_object_get(args, "sought"), *object;
	struct wanted *wanted;
	size_t i;

	if (min <= 0 || average <= min || max <= average || max > CHUNK_LEN_MAX)
		return NULL;
	wanted = wanted_new((uint32_t)min, (uint32_t)average, (uint32_t)max, tell_found, finding);
	json_array_foreach (sought, i, object) {
		struct wanted_piece piece;
		if (piece_from_json(object, &piece) == 0)
			wanted_add(wanted, &piece);
	}
	return wanted;
}

static int open_temporary(void)
{
	const char *place = getenv("TMPDIR");

	return open(place && *place ? place : "/var/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int look_outside(struct op_context *context, struct repair_look *look)
{
	const struct impersonate who = impersonate_as(context->uid, context->gid, context->groups, context->group_count);
	AUTO_CLOSE int keep = open_temporary();

	impersonate_prepare(&who);
	return repair_look_outside(look, *context->fd, keep, &who);
}

static int look_backups(struct op_context *context, const json_t *args, struct repair_look *look, struct error *err)
{
	struct repository *repository = NULL;
	int result = op_repository_open(context, args, &repository, err);

	if (result == 0)
		result = op_repository_failed(args, repair_look_backups(look, repository, op_arg_string_or(args, "backup", NULL), err), err);
	repository_close(repository);
	return result;
}

/*
 * repair.look, repair.backups: {name?: of a single file, sought: [piece, with places?: [{name, offset}] of files where it stands], chunk_min,
 * chunk_average, chunk_max} and a descriptor of a directory, a file or an archive; or {..., password, place, backup?, blobs_only?: files of backups
 * are not read} and one of a repository; and one to write the spool to, or none -> {files, bytes: looked at, unread: files and directories that could
 * not be read, problem?: why not all of it was looked at}; rows: pieces that were found
 */
static int look(struct op_context *context, const json_t *args, bool is_repository, json_t **ret_result, struct error *err)
{
	struct finding finding = {.context = context, .spool = context->target_fd};
	struct repair_look options = {.name = op_arg_string_or(args, "name", NULL), .blobs_only = op_arg_bool(args, "blobs_only"),
				      .progress = tell_progress, .arg = context};
	struct places places = {0};
	int result;

	if (!context->fd || context->store)
		return error_set(err, -EBADF, "who looks for content does it himself, with a descriptor of where it may be");
	options.wanted = make_wanted(args, &finding);
	if (!options.wanted)
		return error_set(err, -EINVAL, "how the store cuts content is not told");
	read_places(args, &places);
	options.places = places.items;
	options.place_count = places.count;
	result = is_repository ? look_backups(context, args, &options, err) : look_outside(context, &options);
	wanted_free(options.wanted);
	array_clear(&places);
	if (result == -ECANCELED)
		return error_set(err, result, "the repair was stopped");
	if (result < 0)
		return error_default(err, result, "it cannot be looked at");
	*ret_result = json_pack("{s:I, s:I, s:I, s:o*}", "files", (json_int_t)options.files, "bytes", (json_int_t)options.bytes, "unread",
				(json_int_t)options.unread, "problem", options.problem.code < 0 ? json_from_bytes(options.problem.text) : NULL);
	return 0;
}

static int look_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	return look(context, args, false, ret_result, err);
}

static int backups_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	return look(context, args, true, ret_result, err);
}

/* repair.give: {sought: [piece]} and a descriptor to write the spool to, or none -> rows: pieces that this store has whole */
static int give_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	struct finding finding = {.context = context, .spool = context->fd};
	const json_t *sought = json_object_get(args, "sought"), *object;
	size_t i;
	int result = 0;

	(void)ret_result;
	json_array_foreach (sought, i, object) {
		struct wanted_piece piece;
		if (result == 0 && piece_from_json(object, &piece) == 0)
			result = repair_give(context->store, &piece, 1, tell_found, &finding);
	}
	return result < 0 ? error_default(err, result, "what the store has cannot be given") : 0;
}

/* --- healing --- */

/* repair.heal: {undo?: as the call before gave it} and a descriptor of a spool -> {undo: a file in the store's directory, chunks, bytes: healed} */
static int heal_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	const char *given = op_arg_string_or(args, "undo", "");
	char undo[REPAIR_UNDO_NAME_MAX] = "";
	struct repair_healed healed = {0};
	int result;

	if (!context->fd || strlen(given) >= sizeof(undo))
		return error_set(err, -EBADF, "no descriptor came with the request");
	memcpy(undo, given, strlen(given));
	result = repair_heal(context->store, *context->fd, undo, &healed, err);
	if (result < 0 && undo[0])
		error_hint(err, "what was healed until then stays healed; %s/%s undoes it", store_path(context->store), undo);
	if (result == 0)
		*ret_result = json_pack("{s:s, s:I, s:I}", "undo", undo, "chunks", (json_int_t)healed.chunks, "bytes", (json_int_t)healed.bytes);
	return result;
}

/* repair.undo: {apply?} and a descriptor of the file -> {lines, undone: or would be, passed: nothing was to be undone, unknown: lines that are not whole} */
static int undo_op(struct op_context *context, const json_t *args, json_t **ret_result, struct error *err)
{
	struct repair_undone undone;
	int result;

	if (!context->fd)
		return error_set(err, -EBADF, "no descriptor came with the request");
	result = repair_undo(context->store, *context->fd, op_arg_bool(args, "apply"), &undone, err);
	if (result == 0)
		*ret_result = json_pack("{s:I, s:I, s:I, s:I}", "lines", (json_int_t)undone.lines, "undone", (json_int_t)undone.undone, "passed",
					(json_int_t)undone.passed, "unknown", (json_int_t)undone.unknown);
	return result;
}

const struct op repair_ops[] = {
	{"repair.wanted", "which pieces of content are damaged", OP_OWNER, "wanted", wanted_op},
	{"repair.look", "look for pieces in files or an archive", OP_OWNER, "found", look_op},
	{"repair.backups", "look for pieces in a repository of backups", OP_OWNER, "found", backups_op},
	{"repair.give", "give pieces to another store", OP_OWNER, "found", give_op},
	{"repair.heal", "heal damaged content with pieces", OP_OWNER, NULL, heal_op},
	{"repair.undo", "undo the healing of content", OP_OWNER, NULL, undo_op},
	{NULL},
};
