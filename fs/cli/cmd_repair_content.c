#include "fs/cli/cmd_repair_content.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fs/cli/exit.h"
#include "fs/cli/interrupt.h"
#include "fs/cli/outside.h"
#include "fs/cli/repair_run.h"
#include "fs/cli/say.h"
#include "fs/cli/table.h"
#include "fs/cli/units.h"
#include "lib/base/array.h"
#include "lib/base/shell.h"
#include "lib/ops/json.h"

#define PLACES_SHOWN 20

struct repair {
	struct cli *cli;
	const char *store;
	ARRAY(struct repair_source) sources;
	struct repair_run run;
	uint64_t places_found;
};

static json_int_t number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

/* Where each part of a file that is hurt was found. */
static void place_sources(struct repair *repair)
{
	json_t *place;
	size_t i;

	json_array_foreach (repair->run.places, i, place) {
		json_t *source = json_object_get(repair_run_piece(&repair->run, place), "source");
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
	const size_t count = json_array_size(repair->run.places);
	size_t i;

	for (int found = 0; found < 2; found++) {
		json_array_foreach (repair->run.places, i, place) {
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
	AUTO_FREE char *undo = repair->run.undo ? xasprintf("%s/%s", repair->store, repair->run.undo) : NULL;
	json_t *value = json_pack("{s:O, s:O, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "places", repair->run.places, "sources", repair->run.rows, "hurt",
				  repair->run.hurt, "healed", (json_int_t)healed, "healed_bytes", (json_int_t)bytes, "left", (json_int_t)left, "unknown",
				  repair->run.unknown, "files", (json_int_t)sum_of(repair->run.rows, "files"), "unread",
				  (json_int_t)sum_of(repair->run.rows, "unread"), "undo", undo ? json_from_bytes(undo) : json_null());
	json_print(value);
	json_decref(value);
}

static void print_text(struct repair *repair, uint64_t healed, uint64_t bytes, uint64_t left)
{
	char size[UNITS_MAX];

	print_places(repair);
	if (repair->run.hurt == 0)
		say("no content is known to be damaged; corpusfs scrub looks for it\n");
	else
		table_print(repair->cli, source_columns, repair->run.rows);
	units_size(bytes, size);
	if (repair->run.hurt > 0)
		say("%llu of %lld damaged chunks %s (%s), %llu stay%s damaged\n", (unsigned long long)healed, (long long)repair->run.hurt,
		    repair->run.apply ? "were healed" : "were found", size, (unsigned long long)left, left == 1 ? "s" : "");
	if (repair->run.unknown > 0)
		say("of %lld of them it is not known what they had, so nothing can be looked for\n", (long long)repair->run.unknown);
	if (!repair->run.apply && healed > 0)
		say("nothing was changed; with --apply what was found is stored\n");
	if (repair->run.undo) {
		AUTO_FREE char *path = xasprintf("%s/%s", repair->store, repair->run.undo);
		AUTO_FREE char *command = shell_text("corpusfs -s %s repair --undo %s --apply", repair->store, path);
		say("to undo: %s\n", command);
	}
}

static int report(struct repair *repair)
{
	const uint64_t found = sum_of(repair->run.rows, "chunks");
	const uint64_t healed = repair->run.apply ? repair->run.healed : found;
	const uint64_t bytes = repair->run.apply ? repair->run.healed_bytes : sum_of(repair->run.rows, "bytes");
	const uint64_t hurt = (uint64_t)repair->run.hurt, left = hurt - MIN(hurt, healed);
	const json_t *row;
	size_t i;

	place_sources(repair);
	if (cli_option(repair->cli, "json"))
		print_json(repair, healed, bytes, left);
	else
		print_text(repair, healed, bytes, left);
	json_array_foreach (repair->run.rows, i, row)
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
	int r = open_sources(repair, err);

	if (r == 0)
		r = repair_run_ask(&repair->run, true, err);
	for (size_t i = 0; i < repair->sources.count && r == 0; i++)
		r = repair_run_look(&repair->run, &repair->sources.items[i], err);
	return r;
}

int repair_content(struct cli *cli)
{
	AUTO_FREE char *store = NULL;
	struct repair repair = {.cli = cli};
	struct error err = {0};
	int r, code;

	interrupt_watch();
	r = run_find_store(cli, &store, &err);
	if (r < 0)
		return exit_with(&err);
	repair.store = store;
	repair_run_init(&repair.run, store, cli_option(cli, "apply") != NULL);
	r = run(&repair, &err);
	if (r == -ECANCELED)
		interrupt_end_with("what was healed stays healed, and the same command goes on");
	/* of the part that failed the store may have named it */
	if (r < 0 && repair.run.undo && !strstr(err.hint, repair.run.undo))
		fprintf(stderr, "corpusfs: what was healed until then stays healed; %s/%s undoes it\n", store, repair.run.undo);
	code = r < 0 ? exit_with(&err) : report(&repair);
	for (size_t i = 0; i < repair.sources.count; i++)
		repair_source_clear(&repair.sources.items[i]);
	array_clear(&repair.sources);
	repair_run_clear(&repair.run);
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
