/*
 * What is damaged is asked of the store; where it may be whole is looked at here, as the user; what was found goes to the store in a file in memory,
 * some tens of megabytes at a time, and the store takes of it what has the SHA-256 of something damaged.
 */
#include "fs/cli/cmd_repair_content.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/cli/exit.h"
#include "fs/cli/interrupt.h"
#include "fs/cli/outside.h"
#include "fs/cli/repair_source.h"
#include "fs/cli/say.h"
#include "fs/cli/table.h"
#include "fs/cli/units.h"
#include "lib/base/array.h"
#include "lib/base/shell.h"
#include "lib/ops/json.h"

#define SPOOL_BYTES (32 << 20) /* with so much in it, it goes to the store */
#define PLACES_SHOWN 20
#define PLACES_TRIED 8 /* of one piece */

struct repair {
	struct cli *cli;
	char *store;
	bool apply;
	ARRAY(struct repair_source) sources;
	json_t *cuts;   /* how the store cuts */
	json_t *pieces; /* sha256 -> {sha256, length, source: name of where it was found} */
	json_t *chunks; /* chunk -> sha256 */
	json_t *places; /* parts of files that are hurt, as rows of `damage`, with "source" */
	json_t *rows;   /* one for each source */
	json_int_t hurt, unknown;
	uint64_t places_found;
	int spool;
	char *undo; /* the name in the store's directory; NULL: nothing was changed */
	uint64_t healed, healed_bytes;
	/* The source that is looked at. */
	const struct repair_source *source;
	uint64_t found, found_bytes;
	struct error *err; /* of the store, when a callback failed */
	bool store_failed;
};

static json_int_t number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

/* --- what is damaged --- */

static int note_piece(void *arg, json_t *row)
{
	struct repair *repair = arg;
	const char *sha256 = json_string_value(json_object_get(row, "sha256"));
	AUTO_FREE char *chunk = xasprintf("%lld", (long long)number(row, "chunk"));

	if (!sha256)
		return -EBADMSG;
	json_object_set_new(repair->chunks, chunk, json_string(sha256));
	if (!json_object_get(repair->pieces, sha256))
		json_object_set_new(repair->pieces, sha256, json_pack("{s:s, s:I}", "sha256", sha256, "length", number(row, "length")));
	return 0;
}

/* The piece that a part of a file lacks; NULL: it is not known. */
static json_t *piece_of(const struct repair *repair, const json_t *place)
{
	AUTO_FREE char *chunk = xasprintf("%lld", (long long)number(place, "chunk"));
	const char *sha256 = json_string_value(json_object_get(repair->chunks, chunk));

	return sha256 ? json_object_get(repair->pieces, sha256) : NULL;
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
	struct repair *repair = arg;
	const char *lost = json_string_value(json_object_get(row, "lost"));
	json_t *piece = piece_of(repair, row);

	if (!lost || strcmp(lost, "content") != 0)
		return 0;
	json_array_append(repair->places, row);
	if (piece)
		add_place(piece, row);
	return 0;
}

static int ask_what_is_damaged(struct repair *repair, struct error *err)
{
	static const char *const cuts[] = {"chunk_min", "chunk_average", "chunk_max"};
	json_t *result = NULL;
	int r = run_op_rows_at(repair->store, "repair.wanted", json_object(), note_piece, repair, &result, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(cuts); i++)
		json_object_set(repair->cuts, cuts[i], json_object_get(result, cuts[i]));
	repair->hurt = number(result, "chunks");
	repair->unknown = number(result, "unknown");
	json_decref(result);
	return repair->hurt > 0 ? run_op_rows_with(repair->store, "damage.list", json_object(), -1, "damage", note_place, repair, err) : 0;
}

/* --- healing --- */

/* What is in the spool goes to the store, and the spool is empty. */
static int heal(struct repair *repair)
{
	json_t *args = json_object(), *result = NULL;
	struct stat st;
	int r;

	if (repair->spool < 0 || fstat(repair->spool, &st) < 0 || st.st_size == 0) {
		json_decref(args);
		return 0;
	}
	if (repair->undo)
		json_object_set_new(args, "undo", json_from_bytes(repair->undo));
	r = run_op_with(repair->store, "repair.heal", args, repair->spool, NULL, &result, repair->err);
	if (r == 0 && ftruncate(repair->spool, 0) < 0)
		r = error_set(repair->err, -errno, "%s", strerror(errno));
	if (r < 0) {
		repair->store_failed = true;
		return r;
	}
	repair->healed += (uint64_t)number(result, "chunks");
	repair->healed_bytes += (uint64_t)number(result, "bytes");
	if (!repair->undo && *json_string_value(json_object_get(result, "undo")))
		repair->undo = json_to_bytes(json_object_get(result, "undo"));
	json_decref(result);
	return 0;
}

static int heal_step(void *arg)
{
	return heal(arg);
}

static int note_found(void *arg, json_t *row)
{
	struct repair *repair = arg;
	const char *sha256 = json_string_value(json_object_get(row, "sha256"));
	json_t *piece = sha256 ? json_object_get(repair->pieces, sha256) : NULL;
	struct stat st;

	if (!piece || json_object_get(piece, "source"))
		return 0;
	json_object_set_new(piece, "source", json_from_bytes(repair->source->name));
	repair->found++;
	repair->found_bytes += (uint64_t)number(piece, "length");
	if (repair->source->kind == REPAIR_STORE || repair->spool < 0 || fstat(repair->spool, &st) < 0 || st.st_size < SPOOL_BYTES)
		return 0;
	return heal(repair);
}

/* --- looking --- */

static json_t *still_sought(const struct repair *repair)
{
	json_t *sought = json_array(), *piece;
	const char *sha256;

	json_object_foreach (repair->pieces, sha256, piece)
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
static int take_back(struct repair *repair, struct error *err)
{
	json_t *still = json_object(), *result = NULL, *piece;
	const char *sha256;
	int r = repair->apply && repair->found > 0 ? run_op_rows_at(repair->store, "repair.wanted", json_object(), note_still, still, &result, err) : 0;

	repair->store_failed |= r < 0;
	json_object_foreach (repair->pieces, sha256, piece) {
		if (!json_object_get(piece, "source") || !json_object_get(still, sha256))
			continue;
		json_object_del(piece, "source");
		if (repair->found == 0) /* of a source before: healed, and damaged anew */
			continue;
		repair->found--;
		repair->found_bytes -= (uint64_t)number(piece, "length");
	}
	json_decref(still);
	json_decref(result);
	return r;
}

/* What is wrong with one source does not keep the others from being looked at; what is wrong with the store does. */
static int look_at(struct repair *repair, const struct repair_source *source, struct error *err)
{
	json_t *sought = still_sought(repair), *args = json_deep_copy(repair->cuts), *result = NULL;
	struct error why = {0};
	int r = 0;

	repair->source = source;
	repair->found = repair->found_bytes = 0;
	repair->err = &why;
	if (json_array_size(sought) > 0) {
		json_object_set(args, "sought", sought);
		r = repair_source_look(source, args, repair->spool, note_found, heal_step, repair, &result, &why);
	}
	json_decref(sought);
	json_decref(args);
	if (r < 0 && !repair->store_failed && r != -ECANCELED)
		r = heal(repair); /* what was found before it broke off */
	if (r == 0)
		r = take_back(repair, &why);
	if (r < 0) {
		*err = why;
		json_decref(result);
		return r;
	}
	json_array_append_new(repair->rows, json_pack("{s:o, s:s, s:I, s:I, s:I, s:I, s:I, s:o*}", "source", json_from_bytes(source->name), "kind",
						      repair_source_kind(source), "chunks", (json_int_t)repair->found, "bytes",
						      (json_int_t)repair->found_bytes, "files", number(result, "files"), "read",
						      number(result, "bytes"), "unread", number(result, "unread"), "problem",
						      why.code < 0 ? json_from_bytes(why.text) : json_incref(json_object_get(result, "problem"))));
	json_decref(result);
	return 0;
}

/* Where each part of a file that is hurt was found. */
static void place_sources(struct repair *repair)
{
	json_t *place;
	size_t i;

	json_array_foreach (repair->places, i, place) {
		json_t *source = json_object_get(piece_of(repair, place), "source");
		repair->places_found += source != NULL;
		json_object_set(place, "source", source ? source : json_null());
	}
}

/* --- the report --- */

static const struct column place_columns[] = {
	{"dataset", "DATASET", COLUMN_TEXT}, {"snapshot", "SNAPSHOT", COLUMN_TEXT}, {"offset", "OFFSET", COLUMN_NUMBER},
	{"length", "LENGTH", COLUMN_NUMBER}, {"found_in", "FOUND IN", COLUMN_TEXT}, {"path", "PATH", COLUMN_TEXT},
	{NULL, NULL, COLUMN_TEXT},
};

static const struct column source_columns[] = {
	{"chunks", "CHUNKS", COLUMN_NUMBER}, {"bytes", "BYTES", COLUMN_BYTES},           {"files", "FILES READ", COLUMN_NUMBER},
	{"read", "READ", COLUMN_BYTES},      {"unread", "NOT READABLE", COLUMN_NUMBER}, {"kind", "KIND", COLUMN_TEXT},
	{"source", "SOURCE", COLUMN_TEXT},   {NULL, NULL, COLUMN_TEXT},
};

/* Those that stay hurt first. */
static void print_places(struct repair *repair)
{
	json_t *shown = json_array(), *place;
	const size_t count = json_array_size(repair->places);
	size_t i;

	for (int found = 0; found < 2; found++) {
		json_array_foreach (repair->places, i, place) {
			json_t *source = json_object_get(place, "source");
			if (json_is_null(source) == (found == 1) || json_array_size(shown) == PLACES_SHOWN)
				continue;
			json_t *row = json_copy(place);
			json_object_set_new(row, "found_in", found ? json_incref(source) : json_string("nowhere: stays hurt"));
			json_array_append_new(shown, row);
		}
	}
	if (count > 0)
		table_print(repair->cli, place_columns, shown);
	if (count > PLACES_SHOWN)
		say("and %zu more places; with --json all are listed\n", count - PLACES_SHOWN);
	json_decref(shown);
}

static uint64_t sum_of(const json_t *rows, const char *key)
{
	uint64_t sum = 0;
	const json_t *row;
	size_t i;

	json_array_foreach (rows, i, row)
		sum += (uint64_t)number(row, key);
	return sum;
}

static void print_json(const struct repair *repair, uint64_t healed, uint64_t bytes, uint64_t left)
{
	AUTO_FREE char *undo = repair->undo ? xasprintf("%s/%s", repair->store, repair->undo) : NULL;
	json_t *value = json_pack("{s:O, s:O, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "places", repair->places, "sources", repair->rows, "hurt",
				  repair->hurt, "healed", (json_int_t)healed, "healed_bytes", (json_int_t)bytes, "left", (json_int_t)left, "unknown",
				  repair->unknown, "files", (json_int_t)sum_of(repair->rows, "files"), "unread",
				  (json_int_t)sum_of(repair->rows, "unread"), "undo", undo ? json_from_bytes(undo) : json_null());
	json_print(value);
	json_decref(value);
}

static void print_text(struct repair *repair, uint64_t healed, uint64_t bytes, uint64_t left)
{
	char size[UNITS_MAX];

	print_places(repair);
	if (repair->hurt == 0)
		say("no content is known to be damaged; corpusfs scrub looks for it\n");
	else
		table_print(repair->cli, source_columns, repair->rows);
	units_size(bytes, size);
	if (repair->hurt > 0)
		say("%llu of %lld damaged chunks %s (%s), %llu stay%s damaged\n", (unsigned long long)healed, (long long)repair->hurt,
		    repair->apply ? "were healed" : "were found", size, (unsigned long long)left, left == 1 ? "s" : "");
	if (repair->unknown > 0)
		say("of %lld of them it is not known what they had, so nothing can be looked for\n", (long long)repair->unknown);
	if (!repair->apply && healed > 0)
		say("nothing was changed; with --apply what was found is stored\n");
	if (repair->undo) {
		AUTO_FREE char *path = xasprintf("%s/%s", repair->store, repair->undo);
		AUTO_FREE char *command = shell_text("corpusfs -s %s repair --undo %s --apply", repair->store, path);
		say("to undo: %s\n", command);
	}
}

static int report(struct repair *repair)
{
	const uint64_t found = sum_of(repair->rows, "chunks");
	const uint64_t healed = repair->apply ? repair->healed : found, bytes = repair->apply ? repair->healed_bytes : sum_of(repair->rows, "bytes");
	const uint64_t hurt = (uint64_t)repair->hurt, left = hurt - MIN(hurt, healed);
	const json_t *row;
	size_t i;

	place_sources(repair);
	if (cli_option(repair->cli, "json"))
		print_json(repair, healed, bytes, left);
	else
		print_text(repair, healed, bytes, left);
	json_array_foreach (repair->rows, i, row)
		if (json_object_get(row, "problem"))
			fprintf(stderr, "corpusfs: %s: %s\n", json_string_value(json_object_get(row, "source")),
				json_string_value(json_object_get(row, "problem")));
	return left > 0 ? EXIT_DAMAGED : EXIT_OK;
}

/* --- */

static int open_sources(struct repair *repair, struct error *err)
{
	int r = 0;

	for (int i = 0; i < repair->cli->given_count && r == 0; i++) {
		const struct given *given = &repair->cli->given[i];
		struct repair_source source;
		if (!given->option->name || strcmp(given->option->name, "from") != 0)
			continue;
		r = repair_source_open(repair->cli, given->value, repair->store, &source, err);
		if (r == 0)
			array_add(&repair->sources, source);
	}
	return r;
}

static int run(struct repair *repair, struct error *err)
{
	int r = run_find_store(repair->cli, &repair->store, err);

	if (r == 0)
		r = open_sources(repair, err);
	if (r == 0)
		r = ask_what_is_damaged(repair, err);
	if (r == 0 && repair->apply && repair->hurt > 0) {
		repair->spool = memfd_create("corpusfs-repair", MFD_CLOEXEC);
		if (repair->spool < 0)
			r = error_set(err, -errno, "what is found cannot be kept in memory: %s", strerror(errno));
	}
	for (size_t i = 0; i < repair->sources.count && r == 0; i++)
		r = look_at(repair, &repair->sources.items[i], err);
	return r;
}

int repair_content(struct cli *cli)
{
	struct repair repair = {.cli = cli, .apply = cli_option(cli, "apply") != NULL, .spool = -1, .cuts = json_object(), .pieces = json_object(),
				.chunks = json_object(), .places = json_array(), .rows = json_array()};
	struct error err = {0};
	int r, code;

	interrupt_watch();
	r = run(&repair, &err);
	if (r == -ECANCELED)
		interrupt_end_with("what was healed stays healed, and the same command goes on");
	/* of the part that failed the store may have named it */
	if (r < 0 && repair.undo && !strstr(err.hint, repair.undo))
		fprintf(stderr, "corpusfs: what was healed until then stays healed; %s/%s undoes it\n", repair.store, repair.undo);
	code = r < 0 ? exit_with(&err) : report(&repair);
	for (size_t i = 0; i < repair.sources.count; i++)
		repair_source_clear(&repair.sources.items[i]);
	array_clear(&repair.sources);
	if (repair.spool >= 0)
		close(repair.spool);
	json_decref(repair.cuts);
	json_decref(repair.pieces);
	json_decref(repair.chunks);
	json_decref(repair.places);
	json_decref(repair.rows);
	free(repair.undo);
	free(repair.store);
	return code;
}

/* --- undoing --- */

static const struct column undo_columns[] = {
	{"lines", "chunks in the file", COLUMN_NUMBER},
	{"undone", "undone", COLUMN_NUMBER},
	{"passed", "nothing to undo", COLUMN_NUMBER},
	{"unknown", "not whole", COLUMN_NUMBER},
	{NULL, NULL, COLUMN_TEXT},
};

int repair_undo_content(struct cli *cli)
{
	const bool apply = cli_option(cli, "apply") != NULL;
	AUTO_FREE char *store = NULL;
	AUTO_CLOSE int fd = -1;
	struct error err = {0};
	json_t *value = NULL;
	int r = run_find_store(cli, &store, &err);

	if (r == 0)
		r = outside_open_source(cli_option(cli, "undo"), &fd, &err);
	if (r == 0)
		r = run_op_with(store, "repair.undo", json_pack("{s:b}", "apply", apply), fd, "undo", &value, &err);
	if (r < 0)
		return exit_with(&err);
	table_print_object(cli, undo_columns, value);
	if (!cli_option(cli, "json") && !apply)
		say("nothing was changed; with --apply what was healed is damaged again, as it was before\n");
	json_decref(value);
	return EXIT_OK;
}
