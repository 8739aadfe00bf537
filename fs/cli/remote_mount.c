#include "fs/cli/remote_mount.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

#include "fs/cli/exit.h"
#include "fs/cli/table.h"
#include "fs/cli/where.h"
#include "lib/base/buf.h"

#define STATUS "user.corpusfs.status"
#define BRING "user.corpusfs.bring."
#define VALUE_MAX 4096

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

	if (r == 0 && (r = ask(path, STATUS, value)) < 0)
		return error_set(err, r, "%s: %s", path, error_text(r));
	if (r < 0)
		return r;
	*ret_status = json_loads(value, 0, NULL);
	return *ret_status ? 0 : error_set(err, -EPROTO, "the daemon's answer is not understood");
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
	{"fetched_bytes", "fetched", COLUMN_BYTES},
	{"fetches", "in requests", COLUMN_NUMBER},
	{"fetch_failures", "that failed", COLUMN_NUMBER},
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

int remote_mount_status(struct cli *cli, const char *path)
{
	struct error err = {0};
	json_t *status = NULL;
	uint64_t hits, all;

	if (remote_mount_ask(path, &status, &err) < 0)
		return exit_with(&err);
	hits = number(status, "cache_hits");
	all = hits + number(status, "fetched_blobs");
	if (!cli_option(cli, "json")) {
		if (json_object_get(status, "cache_limit") && all > 0)
			json_object_set_new(status, "hit_rate", json_sprintf("%.1f%% of %llu pieces", 100.0 * (double)hits / (double)all, (unsigned long long)all));
		json_object_set_new(status, "fetch_times", text_of_times(status));
	}
	table_print_object(cli, columns, status);
	if (!cli_option(cli, "json") && json_is_true(json_object_get(status, "cache_stopped")))
		printf("nothing more is kept in the cache, whose disk failed or is full\n");
	json_decref(status);
	return EXIT_OK;
}

/* --- bringing --- */

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
	if (r == -EOPNOTSUPP) {
		(void)error_set(err, r, "the mount has no cache on disk");
		error_hint(err, "mount it with -o cache=DIRECTORY");
		return r;
	}
	if (r == 0)
		r = parse_step(value, step);
	return r < 0 ? error_set(err, r, "%s: %s", path, r == -EIO ? REMOTE_AWAY : error_text(r)) : 0;
}
