#include "fs/cli/remote_mount.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

#include "fs/cli/exit.h"
#include "fs/cli/repository.h"
#include "fs/cli/say.h"
#include "fs/cli/table.h"
#include "fs/cli/units.h"
#include "fs/cli/where.h"
#include "lib/base/buf.h"
#include "lib/ops/json.h"

#define PREFIX "user.corpusfs."
#define STATUS PREFIX "status"
#define BRING PREFIX "bring."
#define PINNED PREFIX "pinned."
#define VALUE_MAX 4096
#define PIN_MAX 65536

bool remote_mount_has(const char *path)
{
	AUTO_FREE char *absolute = where_absolute(path), *mountpoint = NULL;

	return absolute && where_is_of_repository(absolute, &mountpoint);
}

/* Whether its daemon answers. */
static int check_alive(const char *path, struct error *err)
{
	AUTO_FREE char *absolute = where_absolute(path), *mountpoint = NULL;
	enum where_health health;

	if (!absolute || !where_is_of_repository(absolute, &mountpoint))
		return error_set(err, -ENOENT, "%s lies in no mount of a remote", path);
	health = where_health(mountpoint);
	if (health == WHERE_ALIVE)
		return 0;
	(void)error_set(err, -ENOTCONN, "the daemon of the mount at %s %s", mountpoint, health == WHERE_DEAD ? "has died" : "does not answer");
	error_hint(err, "corpusfs umount%s takes the mount away", health == WHERE_DEAD ? "" : " --force");
	return -ENOTCONN;
}

static int ask(const char *path, const char *name, char value[VALUE_MAX])
{
	const ssize_t len = getxattr(path, name, value, VALUE_MAX - 1);

	if (len < 0)
		return -errno;
	value[len] = '\0';
	return 0;
}

int remote_mount_ask(const char *path, json_t **ret_status, struct error *err)
{
	char value[VALUE_MAX];
	int r = check_alive(path, err);

	if (r == 0 && (r = ask(path, STATUS, value)) == -ENODATA) {
		(void)error_set(err, -ENOTCONN, "the store of %s is not where it was mounted from: it was moved, or is gone", path);
		error_hint(err, "name it where it is now");
		return -ENOTCONN;
	}
	if (r < 0 && !err->code)
		return error_set(err, r, "%s: %s", path, error_text(r));
	if (r < 0)
		return r;
	*ret_status = json_loads(value, 0, NULL);
	return *ret_status ? 0 : error_set(err, -EPROTO, "the daemon's answer is not understood");
}

int remote_mount_do(const char *path, const char *what)
{
	AUTO_FREE char *name = xasprintf(PREFIX "%s", what);
	char value[VALUE_MAX];

	return ask(path, name, value);
}

int remote_mount_missing(const char *path, uint64_t *ret_bytes)
{
	char value[VALUE_MAX];
	const int r = ask(path, PREFIX "pin.missing", value);

	if (r == 0)
		*ret_bytes = strtoull(value, NULL, 10);
	return r;
}

static uint64_t number(const json_t *object, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(object, key));
}

/* --- status --- */

static const struct column columns[] = {
	{"hit_rate", "from the cache", COLUMN_TEXT},
	{"cache_bytes", "cache", COLUMN_BYTES},
	{"cache_limit", "at most", COLUMN_BYTES},
	{"cache_damaged", "damaged in it", COLUMN_NUMBER},
	{"pinned", "pinned in it", COLUMN_TEXT},
	{"fetched_bytes", "fetched", COLUMN_BYTES},
	{"fetches", "in requests", COLUMN_NUMBER},
	{"fetch_failures", "that failed", COLUMN_NUMBER},
	{"sent_again", "sent a second time", COLUMN_NUMBER},
	{"fetch_times", "half, 90%, 99% within", COLUMN_TEXT},
	{"read_bytes", "read", COLUMN_BYTES},
	{"memory_bytes", "in memory", COLUMN_BYTES},
	{NULL, NULL, COLUMN_TEXT},
};

static json_t *text_of_times(const json_t *status)
{
	return json_sprintf("%g ms, %g ms, %g ms", json_number_value(json_object_get(status, "fetch_ms_50")),
	                    json_number_value(json_object_get(status, "fetch_ms_90")), json_number_value(json_object_get(status, "fetch_ms_99")));
}

static const struct column version_columns[] = {
	{"shown", "version", COLUMN_TEXT}, {"newest_asked", "the newest at", COLUMN_TIME}, {NULL, NULL, COLUMN_TEXT},
};

/* Of a mount that follows. */
static void print_version(struct cli *cli, const json_t *status)
{
	const char *name = json_string_value(json_object_get(status, "version_name")), *problem = json_string_value(json_object_get(status, "follow_problem"));
	json_t *row = json_pack("{s:o, s:O*}", "shown", json_sprintf("%llu, %s", (unsigned long long)number(status, "version"), name ? name : ""),
	                        "newest_asked", json_object_get(status, "newest_asked"));

	table_print_object(cli, version_columns, row);
	json_decref(row);
	if (number(status, "newest") > number(status, "version"))
		say("the newest is %llu, which cannot be shown: %s\n", (unsigned long long)number(status, "newest"), problem ? problem : "it is being looked at");
	else if (problem)
		say("whether there is a newer one is not known: %s\n", problem);
}

static const struct column pin_columns[] = {
	{"path", "PINNED", COLUMN_TEXT}, {"short", "BACKUP", COLUMN_TEXT}, {"files", "FILES", COLUMN_NUMBER}, {"bytes", "SIZE", COLUMN_BYTES},
	{"since", "SINCE", COLUMN_TIME}, {NULL, NULL, COLUMN_TEXT},
};

/* "SINCE FILES BYTES BACKUP PATH" */
static json_t *parse_pin(const char *value)
{
	unsigned long long since, files, bytes;
	char backup[65] = "";
	int path = 0;

	if (sscanf(value, "%llu %llu %llu %64s %n", &since, &files, &bytes, backup, &path) != 4 || path == 0)
		return NULL;
	return json_pack("{s:o, s:s, s:I, s:I, s:I}", "path", json_from_bytes(value + path), "backup", backup, "files", (json_int_t)files, "bytes",
	                 (json_int_t)bytes, "since", (json_int_t)since);
}

/* What is pinned in the mount's cache, as rows. */
static json_t *list_pins(const char *path)
{
	AUTO_FREE char *value = xmalloc(PIN_MAX + 1);
	json_t *rows = json_array();

	for (unsigned i = 0;; i++) {
		AUTO_FREE char *name = xasprintf(PINNED "%u", i);
		const ssize_t len = getxattr(path, name, value, PIN_MAX);
		json_t *row;

		if (len < 0)
			return rows;
		value[len] = '\0';
		row = parse_pin(value);
		if (row)
			json_array_append_new(rows, row);
	}
}

static json_t *text_of_pinned(const json_t *status)
{
	char all[UNITS_MAX], missing[UNITS_MAX];

	units_size(number(status, "pinned_bytes"), all);
	units_size(number(status, "pinned_missing"), missing);
	return number(status, "pinned_missing") > 0 ? json_sprintf("%s, but %s of it are not there", all, missing) : json_string(all);
}

static void print_pins(struct cli *cli, json_t *rows)
{
	json_t *row;
	size_t i;

	json_array_foreach (rows, i, row)
		repository_add_short(row);
	if (json_array_size(rows) == 0)
		return;
	say("\n");
	table_print(cli, pin_columns, rows);
}

int remote_mount_status(struct cli *cli, const char *path)
{
	struct error err = {0};
	json_t *status = NULL;
	uint64_t hits, all;

	if (remote_mount_ask(path, &status, &err) < 0)
		return exit_with(&err);
	hits = number(status, "cache_hits");
	all = hits + number(status, "fetched_blobs");
	json_object_set_new(status, "pins", list_pins(path));
	if (!cli_option(cli, "json")) {
		if (json_object_get(status, "version"))
			print_version(cli, status);
		if (number(status, "pinned_bytes") > 0)
			json_object_set_new(status, "pinned", text_of_pinned(status));
		if (json_object_get(status, "cache_limit") && all > 0)
			json_object_set_new(status, "hit_rate", json_sprintf("%.1f%% of %llu pieces", 100.0 * (double)hits / (double)all, (unsigned long long)all));
		json_object_set_new(status, "fetch_times", text_of_times(status));
	}
	table_print_object(cli, columns, status);
	if (!cli_option(cli, "json") && json_is_true(json_object_get(status, "cache_stopped")))
		say("nothing more is kept in the cache, whose disk failed or is full\n");
	if (!cli_option(cli, "json"))
		print_pins(cli, json_object_get(status, "pins"));
	json_decref(status);
	return EXIT_OK;
}

/* --- bringing --- */

int remote_mount_no_cache(struct error *err)
{
	(void)error_set(err, -EOPNOTSUPP, "the mount has no cache on disk");
	error_hint(err, "mount it with -o cache=DIRECTORY");
	return -EOPNOTSUPP;
}

static int parse_step(const char *value, struct remote_step *step)
{
	unsigned long long position, offset, files, bytes, failed;
	const bool at_end = sscanf(value, "end %llu %llu %llu", &files, &bytes, &failed) == 3;

	if (!at_end && sscanf(value, "%llu.%llu %llu %llu %llu", &position, &offset, &files, &bytes, &failed) != 5)
		return -EPROTO;
	*step = (struct remote_step){.position = at_end ? 0 : position, .offset = at_end ? 0 : offset, .at_end = at_end, .files = files, .bytes = bytes,
	                             .failed = failed};
	return 0;
}

int remote_mount_bring(const char *path, struct remote_step *step, struct error *err)
{
	char name[sizeof(BRING) + 64], value[VALUE_MAX];
	int r;

	(void)snprintf(name, sizeof(name), BRING "%llu.%llu", (unsigned long long)step->position, (unsigned long long)step->offset);
	r = ask(path, name, value);
	if (r == -EOPNOTSUPP)
		return remote_mount_no_cache(err);
	if (r == 0)
		r = parse_step(value, step);
	return r < 0 ? error_set(err, r, "%s: %s", path, r == -EIO ? REMOTE_AWAY : error_text(r)) : 0;
}
