#include "fs/cli/differences.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/cli/say.h"
#include "fs/cli/units.h"
#include "lib/base/escape.h"

static const struct {
	const char *kind, *title;
	char letter;
} kinds[] = {
	{"added", "added", '+'},     {"removed", "removed", '-'},        {"modified", "modified", 'M'},
	{"renamed", "renamed", 'R'}, {"metadata", "metadata only", 'm'},
};

static char letter_of(const char *kind)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (strcmp(kinds[i].kind, kind) == 0)
			return kinds[i].letter;
	return '?';
}

static json_int_t count_of(const json_t *result, const char *kind)
{
	return json_integer_value(json_object_get(json_object_get(result, "counts"), kind));
}

bool differences_any(const json_t *result)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (count_of(result, kinds[i].kind) > 0)
			return true;
	return false;
}

/* One line a name, whatever it holds. */
static void print_path(const char *path, bool is_dir)
{
	AUTO_FREE char *text = escape_text(*path ? path : ".", ESCAPE_CONTROL);

	say("%s%s", text, is_dir ? "/" : "");
}

static void print_ranges(const json_t *ranges)
{
	json_t *range;
	size_t i;

	json_array_foreach(ranges, i, range) {
		long long offset = json_integer_value(json_array_get(range, 0)), length = json_integer_value(json_array_get(range, 1));
		say("    bytes %lld-%lld (%lld)\n", offset, offset + length - 1, length);
	}
}

static void print_entry(const json_t *entry)
{
	const char *kind = json_string_value(json_object_get(entry, "kind"));
	const char *old_path = json_string_value(json_object_get(entry, "old_path"));
	const json_t *attr = json_object_get(entry, "b") ? json_object_get(entry, "b") : json_object_get(entry, "a");
	bool is_dir = S_ISDIR((mode_t)json_integer_value(json_object_get(attr, "mode")));

	if (strcmp(kind, "below") == 0) {
		say("> ");
		print_path(json_string_value(json_object_get(entry, "path")), true);
		say(" (%lld more, too deep below it to be named)\n", (long long)json_integer_value(json_object_get(entry, "entries")));
		return;
	}
	say("%c ", letter_of(kind));
	if (old_path) {
		print_path(old_path, is_dir);
		say(json_is_true(json_object_get(entry, "old_below")) ? "... -> " : " -> ");
	}
	print_path(json_string_value(json_object_get(entry, "path")), is_dir);
	say("%s\n", old_path && json_is_true(json_object_get(entry, "content_changed")) ? " (modified)" : "");
	print_ranges(json_object_get(entry, "ranges"));
}

static void print_stat(const json_t *result)
{
	char added[UNITS_MAX], removed[UNITS_MAX];
	bool first = true;

	if (!differences_any(result)) {
		say("no differences\n");
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		long long count = count_of(result, kinds[i].kind);
		if (count == 0)
			continue;
		say("%s%lld %s", first ? "" : ", ", count, kinds[i].title);
		first = false;
	}
	units_size((uint64_t)json_integer_value(json_object_get(result, "bytes_added")), added);
	units_size((uint64_t)json_integer_value(json_object_get(result, "bytes_removed")), removed);
	say("; files with %s now, %s before\n", added, removed);
}

struct differences differences_begin(const struct cli *cli)
{
	return (struct differences){
		.as_json = cli_option(cli, "json") != NULL,
		.as_sums = cli_option(cli, "stat") != NULL,
		.json = {.name = "entries"},
	};
}

int differences_row(void *arg, json_t *row)
{
	struct differences *differences = arg;

	if (differences->as_json)
		json_rows_add(&differences->json, row);
	else
		print_entry(row);
	return 0;
}

void differences_end(struct differences *differences, const json_t *result)
{
	if (differences->as_json)
		json_rows_end(&differences->json, result);
	else if (differences->as_sums)
		print_stat(result);
}
