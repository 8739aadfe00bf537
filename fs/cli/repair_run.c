#include "fs/cli/repair_run.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/cli/run.h"
#include "lib/base/buf.h"
#include "lib/ops/json.h"

#define SPOOL_BYTES (32 << 20) /* with so much in it, it goes to the store */
#define PLACES_TRIED 8 /* of one piece */

void repair_run_init(struct repair_run *run, const char *store, bool apply)
{
	*run = (struct repair_run){.store = store, .apply = apply, .spool = -1, .cuts = json_object(), .pieces = json_object(), .chunks = json_object(),
				   .places = json_array(), .rows = json_array()};
}

void repair_run_clear(struct repair_run *run)
{
	if (run->spool >= 0)
		close(run->spool);
	json_decref(run->cuts);
	json_decref(run->pieces);
	json_decref(run->chunks);
	json_decref(run->places);
	json_decref(run->rows);
	free(run->undo);
}

static json_int_t number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

/* --- what is damaged --- */

static int note_piece(void *arg, json_t *row)
{
	struct repair_run *run = arg;
	const char *sha256 = json_string_value(json_object_get(row, "sha256"));
	AUTO_FREE char *chunk = xasprintf("%lld", (long long)number(row, "chunk"));

	if (!sha256)
		return -EBADMSG;
	json_object_set_new(run->chunks, chunk, json_string(sha256));
	if (!json_object_get(run->pieces, sha256))
		json_object_set_new(run->pieces, sha256, json_pack("{s:s, s:I}", "sha256", sha256, "length", number(row, "length")));
	return 0;
}

json_t *repair_run_piece(const struct repair_run *run, const json_t *place)
{
	AUTO_FREE char *chunk = xasprintf("%lld", (long long)number(place, "chunk"));
	const char *sha256 = json_string_value(json_object_get(run->chunks, chunk));

	return sha256 ? json_object_get(run->pieces, sha256) : NULL;
}

/* Where the piece is to be tried in copies of the file, whole. The same places in many snapshots are one. */
static void add_place(json_t *piece, const json_t *row)
{
	const char *path = json_string_value(json_object_get(row, "path")), *slash = path ? strrchr(path, '/') : NULL;
	json_t *places = json_object_get(piece, "places"), *place;
	size_t i;

	if (!path || number(row, "length") != number(piece, "length"))
		return;
	place = json_pack("{s:s, s:I}", "name", slash ? slash + 1 : path, "offset", number(row, "offset"));
	if (!places)
		json_object_set_new(piece, "places", places = json_array());
	for (i = 0; i < json_array_size(places) && !json_equal(json_array_get(places, i), place); i++)
		;
	if (i == json_array_size(places) && i < PLACES_TRIED)
		json_array_append_new(places, place);
	else
		json_decref(place);
}

static int note_place(void *arg, json_t *row)
{
	struct repair_run *run = arg;
	const char *lost = json_string_value(json_object_get(row, "lost"));
	json_t *piece = repair_run_piece(run, row);

	if (!lost || strcmp(lost, "content") != 0)
		return 0;
	json_array_append(run->places, row);
	if (piece)
		add_place(piece, row);
	return 0;
}

int repair_run_ask(struct repair_run *run, bool places, struct error *err)
{
	static const char *const cuts[] = {"chunk_min", "chunk_average", "chunk_max"};
	json_t *result = NULL;
	int r = run_op_rows_at(run->store, "repair.wanted", json_object(), note_piece, run, &result, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(cuts); i++)
		json_object_set(run->cuts, cuts[i], json_object_get(result, cuts[i]));
	run->hurt = number(result, "chunks");
	run->unknown = number(result, "unknown");
	json_decref(result);
	if (run->hurt > 0 && places)
		r = run_op_rows_with(run->store, "damage.list", json_object(), -1, "damage", note_place, run, err);
	if (r < 0 || run->hurt == 0 || !run->apply)
		return r;
	run->spool = memfd_create("corpusfs-repair", MFD_CLOEXEC);
	return run->spool < 0 ? error_set(err, -errno, "what is found cannot be kept in memory: %s", strerror(errno)) : 0;
}

/* --- healing --- */

/* What is in the spool goes to the store, and the spool is empty. */
static int heal(struct repair_run *run)
{
	json_t *args = json_object(), *result = NULL;
	struct stat st;
	int r;

	if (run->spool < 0 || fstat(run->spool, &st) < 0 || st.st_size == 0) {
		json_decref(args);
		return 0;
	}
	if (run->undo)
		json_object_set_new(args, "undo", json_from_bytes(run->undo));
	r = run_op_with(run->store, "repair.heal", args, run->spool, NULL, &result, run->err);
	if (r == 0 && ftruncate(run->spool, 0) < 0)
		r = error_set(run->err, -errno, "%s", strerror(errno));
	if (r < 0) {
		run->store_failed = true;
		return r;
	}
	run->healed += (uint64_t)number(result, "chunks");
	run->healed_bytes += (uint64_t)number(result, "bytes");
	if (!run->undo && *json_string_value(json_object_get(result, "undo")))
		run->undo = json_to_bytes(json_object_get(result, "undo"));
	json_decref(result);
	return 0;
}

static int heal_step(void *arg)
{
	return heal(arg);
}

static int note_found(void *arg, json_t *row)
{
	struct repair_run *run = arg;
	const char *sha256 = json_string_value(json_object_get(row, "sha256"));
	json_t *piece = sha256 ? json_object_get(run->pieces, sha256) : NULL;
	struct stat st;

	if (!piece || json_object_get(piece, "source"))
		return 0;
	json_object_set_new(piece, "source", json_from_bytes(run->source->name));
	run->found++;
	run->found_bytes += (uint64_t)number(piece, "length");
	if (run->source->kind == REPAIR_STORE || run->spool < 0 || fstat(run->spool, &st) < 0 || st.st_size < SPOOL_BYTES)
		return 0;
	return heal(run);
}

/* --- looking --- */

static json_t *still_sought(const struct repair_run *run)
{
	json_t *sought = json_array(), *piece;
	const char *sha256;

	json_object_foreach (run->pieces, sha256, piece)
		if (!json_object_get(piece, "source"))
			json_array_append(sought, piece);
	return sought;
}

static int note_still(void *arg, json_t *row)
{
	const char *sha256 = json_string_value(json_object_get(row, "sha256"));

	return sha256 ? json_object_set_new(arg, sha256, json_true()) : -EBADMSG;
}

/* What a source said it had, and the store still wants: what came was something else, or could not be kept. The others are asked for it. */
static int take_back(struct repair_run *run, struct error *err)
{
	json_t *still = json_object(), *result = NULL, *piece;
	const char *sha256;
	int r = run->apply && run->found > 0 ? run_op_rows_at(run->store, "repair.wanted", json_object(), note_still, still, &result, err) : 0;

	run->store_failed |= r < 0;
	json_object_foreach (run->pieces, sha256, piece) {
		if (!json_object_get(piece, "source") || !json_object_get(still, sha256))
			continue;
		json_object_del(piece, "source");
		if (run->found == 0) /* of a source before: healed, and damaged anew */
			continue;
		run->found--;
		run->found_bytes -= (uint64_t)number(piece, "length");
	}
	json_decref(still);
	json_decref(result);
	return r;
}

/* What is wrong with one source does not keep the others from being looked at; what is wrong with the store does. */
int repair_run_look(struct repair_run *run, const struct repair_source *source, struct error *err)
{
	json_t *sought = still_sought(run), *args = json_deep_copy(run->cuts), *result = NULL;
	struct error why = {0};
	int r = 0;

	run->source = source;
	run->found = run->found_bytes = 0;
	run->err = &why;
	if (json_array_size(sought) > 0) {
		json_object_set(args, "sought", sought);
		r = repair_source_look(source, args, run->spool, note_found, heal_step, run, &result, &why);
	}
	json_decref(sought);
	json_decref(args);
	if (r < 0 && !run->store_failed && r != -ECANCELED)
		r = heal(run); /* what was found before it broke off */
	if (r == 0)
		r = take_back(run, &why);
	if (r < 0) {
		*err = why;
		json_decref(result);
		return r;
	}
	json_array_append_new(run->rows, json_pack("{s:o, s:s, s:I, s:I, s:I, s:I, s:I, s:o*}", "source", json_from_bytes(source->name), "kind",
						   repair_source_kind(source), "chunks", (json_int_t)run->found, "bytes",
						   (json_int_t)run->found_bytes, "files", number(result, "files"), "read", number(result, "bytes"),
						   "unread", number(result, "unread"), "problem",
						   why.code < 0 ? json_from_bytes(why.text) : json_incref(json_object_get(result, "problem"))));
	json_decref(result);
	return 0;
}
