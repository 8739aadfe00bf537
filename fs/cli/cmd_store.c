#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fs/cli/command.h"
#include "fs/cli/exit.h"
#include "fs/cli/mount_lease.h"
#include "fs/cli/owner.h"
#include "fs/cli/remote_mount.h"
#include "fs/cli/run.h"
#include "fs/cli/say.h"
#include "fs/cli/served.h"
#include "fs/cli/status_copies.h"
#include "fs/cli/table.h"
#include "fs/cli/units.h"
#include "fs/cli/where.h"
#include "fs/daemon/serve/daemon.h"
#include "lib/base/escape.h"
#include "lib/base/file.h"
#include "lib/base/shell.h"
#include "lib/ops/json.h"
#include "lib/store/store.h"

/* Cutting parameters around an average: a quarter of it at least, four times at most. */
#define CHUNK_SPREAD 4

/* Its daemon would wait for the one that serves the mount, perhaps for itself; and a directory at the root of a mount is a dataset. */
static int check_no_mount(const char *path, struct error *err)
{
	AUTO_FREE char *around = where_store_around(path);

	if (!around)
		return 0;
	error_set(err, -EINVAL, "%s lies in a mount of the store %s, where no other store can be", path, around);
	error_hint(err, "name a directory of a local disk");
	return -EINVAL;
}

static int run_init(struct cli *cli)
{
	const char *chunk = cli_option(cli, "chunk");
	struct store_parameters parameters;
	struct error err = {0};
	uint64_t average = 0;
	int result = 0;

	if (chunk &&
	    (units_parse_size(chunk, &average) < 0 || average < 16384 || average > 4 << 20 || (average & (average - 1)))) {
		result = error_set(&err, -EINVAL, "--chunk %s: that is not a possible size", chunk);
		error_hint(&err, "a power of two from 16K to 4M");
	}
	if (result == 0)
		result = check_no_mount(cli->argv[0], &err);
	parameters = (struct store_parameters){.chunk_min = (uint32_t)average / CHUNK_SPREAD,
	                                       .chunk_average = (uint32_t)average,
	                                       .chunk_max = (uint32_t)average * CHUNK_SPREAD};
	if (result == 0 && cli->as_owner)
		result = owner_become(cli->argv[0], &err);
	if (result == 0)
		result = store_init(cli->argv[0], chunk ? &parameters : NULL, &err);
	if (result < 0)
		return exit_with(&err);
	say("made a store in %s\n", cli->argv[0]);
	return EXIT_OK;
}

static int run_sync(struct cli *cli)
{
	AUTO_FREE char *path = NULL, *store = NULL;
	struct error err = {0};
	json_t *value = NULL;
	int result;

	if (cli->argc == 0)
		return run_op(cli, "store.sync", json_object(), NULL, NULL);
	path = where_absolute(cli->argv[0]);
	if (!path)
		result = error_set(&err, -errno, "%s: %s", cli->argv[0], strerror(errno));
	else if (!(store = where_store_of(path, NULL)))
		result = error_set(&err, -ENOENT, "%s does not lie in the mount of a store", path);
	else if ((!cli->as_owner || (result = owner_become(store, &err)) == 0) && (result = served_check(store, path, &err)) == 0)
		result = run_op_at(store, "store.sync", json_object(), NULL, &value, &err);
	json_decref(value);
	return result < 0 ? exit_with(&err) : EXIT_OK;
}

#define LOG_READ_MAX (8U << 20) /* more than a log grows to */

static const struct column status_columns[] = {
	{"path", "store", COLUMN_TEXT},
	{"uuid", "uuid", COLUMN_TEXT},
	{"format", "format", COLUMN_NUMBER},
	{"created", "created", COLUMN_TIME},
	{"chunk_average", "chunk size", COLUMN_BYTES},
	{"datasets", "datasets", COLUMN_NUMBER},
	{"snapshots", "snapshots", COLUMN_NUMBER},
	{"disk_bytes", "on disk", COLUMN_BYTES},
	{"free_bytes", "free", COLUMN_BYTES},
	{"dirty_bytes", "to be written", COLUMN_BYTES},
	{"pid", "daemon", COLUMN_NUMBER},
	{"memory_bytes", "its memory", COLUMN_BYTES},
	{NULL, NULL, COLUMN_TEXT},
};

static const struct column mount_columns[] = {
	{"mountpoint", "MOUNTPOINT", COLUMN_TEXT},
	{"dataset", "DATASET", COLUMN_TEXT},
	{"snapshot", "SNAPSHOT", COLUMN_TEXT},
	{"state", "STATE", COLUMN_TEXT},
	{"read_only", "READ-ONLY", COLUMN_FLAG},
	{"open_files", "OPEN FILES", COLUMN_NUMBER},
	{"requests", "REQUESTS", COLUMN_NUMBER},
	{"oldest", "OLDEST UNANSWERED", COLUMN_TEXT},
	{NULL, NULL, COLUMN_TEXT},
};

/* What destroyed snapshots had is known only once it is collected. */
static void print_garbage(const json_t *status)
{
	const uint64_t dropped = (uint64_t)json_integer_value(json_object_get(status, "dropped_bytes"));
	const bool waits = json_is_true(json_object_get(status, "gc_wanted"));
	char size[UNITS_MAX];

	units_size(dropped, size);
	if (dropped == 0)
		say("garbage        %s\n", waits ? "some, waits to be collected" : "none");
	else
		say("garbage        about %s%s\n", size, waits ? ", waits to be collected" : "");
}

static const char *phase_text(const json_t *gc)
{
	static const char *const phases[][2] = {{"prune", "what destroyed snapshots had"},  {"mark", "finding out what is needed"},
	                                        {"sweep", "removing the rest"},             {"repack", "packing what is left"},
	                                        {"compact", "giving room back to the disk"}};
	const char *phase = json_string_value(json_object_get(gc, "phase"));

	for (size_t i = 0; i < ARRAY_SIZE(phases); i++)
		if (phase && strcmp(phase, phases[i][0]) == 0)
			return phases[i][1];
	return phase && *phase ? phase : "beginning";
}

static void print_gc(const json_t *status)
{
	const json_t *gc = json_object_get(status, "gc");
	json_int_t done = json_integer_value(json_object_get(gc, "done")),
		   total = json_integer_value(json_object_get(gc, "total"));

	if (!json_is_true(json_object_get(gc, "running")))
		print_garbage(status);
	else if (total > 0)
		say("garbage        being collected: %s, %lld of %lld\n", phase_text(gc), (long long)done, (long long)total);
	else
		say("garbage        being collected: %s\n", phase_text(gc));
}

/* What takes the daemon's memory, of how much that it may take. */
static void print_memory(const json_t *status)
{
	const json_t *list = json_object_get(status, "memory"), *part;
	const char *before = "made up of     ";
	char bytes[UNITS_MAX], budget[UNITS_MAX];
	size_t i;

	json_array_foreach(list, i, part) {
		const json_int_t most = json_integer_value(json_object_get(part, "budget")), now = json_integer_value(json_object_get(part, "bytes"));

		if (now == 0)
			continue;
		units_size((uint64_t)now, bytes);
		units_size((uint64_t)most, budget);
		say("%s%s %s%s%s", before, json_string_value(json_object_get(part, "name")), bytes, most ? " of " : "", most ? budget : "");
		before = ", ";
	}
	if (before[0] == ',')
		say("\n");
}

static void print_damage(const json_t *status)
{
	const json_t *damage = json_object_get(status, "damage");
	const long long chunks = json_integer_value(json_object_get(damage, "chunks")),
			healed = json_integer_value(json_object_get(damage, "healed"));

	if (chunks > 0)
		say("damaged        %lld chunk%s: `corpusfs damage` says which files are hurt\n", chunks, chunks == 1 ? "" : "s");
	if (healed > 0)
		say("healed         %lld chunk%s\n", healed, healed == 1 ? "" : "s");
	if (json_is_true(json_object_get(damage, "tables")))
		say("tables         some are damaged, and none is merged: %s\n",
		    chunks == 0 && healed > 0 ? "`corpusfs scrub` looks whether that is still so"
						 : "see `corpusfs damage`, then `corpusfs repair`");
	if (json_is_true(json_object_get(damage, "unneeded")))
		say("tables         some have damaged content that no file needs; unmounted, `corpusfs repair --apply` makes them anew\n");
}

static void print_scrub(const json_t *status)
{
	const json_t *scrub = json_object_get(status, "scrub");
	const json_int_t end = json_integer_value(json_object_get(scrub, "last_end")),
			 damaged = json_integer_value(json_object_get(scrub, "last_damaged"));
	const char *phase = json_string_value(json_object_get(scrub, "phase"));
	char when[UNITS_MAX];

	units_time((double)end, when);
	if (end > 0)
		say("last scrub     %s, %lld damaged\n", when, (long long)damaged);
	else
		say("last scrub     never\n");
	if (phase && phase[0])
		say("scrub          %s, %lld chunks so far\n", phase, (long long)json_integer_value(json_object_get(scrub, "chunks")));
}

/* What the table shows beside what the daemon says. */
static void complete_row(json_t *row)
{
	const bool dead = json_is_true(json_object_get(row, "dead")), detached = json_is_true(json_object_get(row, "detached"));
	const char *op = json_string_value(json_object_get(row, "oldest_op"));
	const long long seconds = json_integer_value(json_object_get(row, "oldest_ms")) / 1000;

	if (op && op[0])
		json_object_set_new(row, "oldest",
		                    json_sprintf("%s, %lld s, %s", op, seconds, json_string_value(json_object_get(row, "oldest_where"))));
	json_object_set_new(row, "state", json_string(dead ? "daemon died" : detached ? "detached" : "mounted"));
	if (!json_object_get(row, "read_only"))
		json_object_set_new(row, "read_only", json_false());
}

static void print_supervision(const json_t *status)
{
	const long long crashes = json_integer_value(json_object_get(status, "crashes")),
			restarts = json_integer_value(json_object_get(status, "restarts"));
	const char *why = json_string_value(json_object_get(status, "unsupervised"));

	if (json_is_true(json_object_get(status, "supervised")))
		say("supervised     yes: if the daemon dies, another goes on\n");
	else if (json_object_get(status, "pid"))
		say("supervised     no (%s): if the daemon dies, its mounts end\n", why ? why : "an older program");
	if (restarts > 0)
		say("restarts       %lld%s\n", restarts,
		    json_is_true(json_object_get(status, "fell_back")) ? "; the last program that was to go on did not come up" : "");
	if (crashes > 0)
		say("crashes        %lld of its daemons; the log says when\n", crashes);
}

/* Of a store that is not mounted: whether its supervisor gave up, and nobody has mounted it since. */
static void print_given_up(const json_t *status)
{
	AUTO_FREE char *path = xasprintf("%s/" DAEMON_LOG, json_string_value(json_object_get(status, "path")));
	AUTO_BUF log = BUF_INIT;
	const char *last = NULL;

	if (json_object_get(status, "pid") || file_read(path, LOG_READ_MAX, &log) < 0)
		return;
	buf_add_u8(&log, 0);
	for (const char *at = (const char *)log.data; (at = strstr(at, " gave-up ")); at++)
		last = at;
	if (last && !strstr(last, " started "))
		say("last daemon    %.*s\n", (int)strcspn(last + 1, "\n"), last + 1);
}

static const struct column quota_columns[] = {
	{"name", "DATASET", COLUMN_TEXT},
	{"used", "USED", COLUMN_BYTES},
	{"available", "AVAILABLE", COLUMN_BYTES},
	{"quota", "QUOTA", COLUMN_BYTES},
	{NULL, NULL, COLUMN_TEXT},
};

/* The datasets that have one. */
static void add_quotas(const char *store, json_t *status)
{
	json_t *quotas = json_array(), *list = NULL, *row;
	struct error ignored = {0};
	size_t i;

	if (run_op_at(store, "dataset.list", json_object(), NULL, &list, &ignored) == 0)
		json_array_foreach (json_object_get(list, "datasets"), i, row)
			if (json_is_integer(json_object_get(row, "quota")))
				json_array_append(quotas, row);
	json_decref(list);
	json_object_set_new(status, "quotas", quotas);
}

struct dead_mounts {
	const char *store;
	json_t *mounts; /* of the status */
	size_t count;
	char *first;
};

/* The daemon that has just answered is alive: its mounts are not asked, which would be a request to each. */
static bool is_told(const json_t *mounts, const char *mountpoint)
{
	json_t *row;
	size_t i;

	json_array_foreach(mounts, i, row) {
		AUTO_FREE char *path = json_to_bytes(json_object_get(row, "mountpoint"));

		if (path && strcmp(path, mountpoint) == 0)
			return true;
	}
	return false;
}

static void add_dead(void *arg, const char *mountpoint, const char *store, unsigned connection)
{
	struct dead_mounts *dead = arg;

	if (!store || strcmp(store, dead->store) != 0 || is_told(dead->mounts, mountpoint) || where_health(mountpoint) != WHERE_DEAD)
		return;
	json_array_append_new(dead->mounts, json_pack("{s:o, s:b, s:b}", "mountpoint", json_from_bytes(mountpoint), "dead", true, "read_only",
						      where_is_read_only(mountpoint)));
	if (dead->count++ == 0)
		dead->first = xstrdup(mountpoint);
}

/* What is mounted and has no daemon any more, which no daemon can tell: as rows, and in words. */
static int tell_dead(const char *store, json_t *status)
{
	struct dead_mounts dead = {.store = store, .mounts = json_object_get(status, "mounts")};
	struct error err = {0};

	if (!dead.mounts) {
		dead.mounts = json_array();
		json_object_set_new(status, "mounts", dead.mounts);
	}
	where_each(add_dead, &dead);
	if (dead.count == 0)
		return EXIT_OK;
	error_set(&err, -ENOTCONN, "the daemon of the mount at %s has died: whoever uses it gets an error, what was not synced is lost", dead.first);
	error_hint_shell(&err, "corpusfs umount %s takes it away, corpusfs mount %s %s brings it back", dead.first, store, dead.first);
	free(dead.first);
	return exit_with(&err);
}

static void print_uncommitted(const json_t *status)
{
	const json_t *uncommitted = json_object_get(status, "uncommitted");
	const long long files = json_integer_value(json_object_get(uncommitted, "files"));
	const char *file = json_string_value(json_object_get(uncommitted, "file"));

	if (!uncommitted)
		return;
	AUTO_FREE char *name = escape_text(file ? file : "", ESCAPE_CONTROL);
	say("not on disk    %lld file%s%s%s: %s; it is tried again\n", files, files == 1 ? "" : "s", !file ? "" : files == 1 ? ", " : ", one of them ",
	    name, json_string_value(json_object_get(uncommitted, "error")));
}

/* The store that an operand names: a store, or where one is mounted. */
static void take_operand(struct cli *cli)
{
	if (cli->argc > 0)
		cli->store = cli->argv[0];
}

/* The operand may also have been meant as a mountpoint. */
static int no_status(const struct cli *cli, struct error *err)
{
	if (cli->argc > 0 && err->code == -EMEDIUMTYPE)
		error_hint_shell(err, "nothing is mounted there, either; to mount a store there: corpusfs mount STORE %s", cli->argv[0]);
	return exit_with(err);
}

static int run_status(struct cli *cli)
{
	AUTO_FREE char *store = NULL;
	struct error err = {0};
	json_t *status, *mounts, *row;
	size_t i;

	if (cli->argc > 0 && remote_mount_has(cli->argv[0]))
		return remote_mount_status(cli, cli->argv[0]);
	take_operand(cli);
	if (run_find_store(cli, &store, &err) < 0 || run_op_at(store, "store.status", json_object(), NULL, &status, &err) < 0)
		return no_status(cli, &err);
	int code = tell_dead(store, status);
	add_quotas(store, status);
	table_print_object(cli, status_columns, status);
	mounts = json_object_get(status, "mounts");
	if (!cli_option(cli, "json")) {
		print_memory(status);
		if (json_object_get(status, "read_only"))
			say("read-only      %s\n", json_string_value(json_object_get(status, "read_only")));
		if (json_object_get(status, "write_error"))
			say("writing        has stopped: %s; unmount and mount again\n",
			    json_string_value(json_object_get(status, "write_error")));
		print_uncommitted(status);
		mount_lease_print(status);
		print_supervision(status);
		print_given_up(status);
		print_gc(status);
		print_damage(status);
		print_scrub(status);
		status_print_backups(status);
		status_print_replicas(store);
		if (json_array_size(json_object_get(status, "quotas")) > 0) {
			say("\n");
			table_print(cli, quota_columns, json_object_get(status, "quotas"));
		}
		if (json_array_size(mounts) > 0)
			say("\n");
		json_array_foreach (mounts, i, row)
			complete_row(row);
		table_print(cli, mount_columns, mounts);
	}
	json_decref(status);
	return code;
}

static const struct option init_options[] = {
	{0, "chunk", "SIZE", "average size of chunks, a power of two (default 64K)"},
	OPTIONS_END,
};
static const struct option json_options[] = {OPTION_JSON, OPTIONS_END};

const struct command store_commands[] = {
	{.name = "init",
         .operands = "STORE",
         .summary = "make a store",
         .details = "STORE is a directory that is not there yet, or an empty one.\n",
         .min = 1,
         .max = 1,
         .options = init_options,
         .run = run_init},
	{.name = "sync",
         .operands = "[MOUNTPOINT]",
         .summary = "bring everything to the disk",
         .details = "Returns when all that was written before, in all mounts of the store, is on\n"
                    "disk. (sync(1) does not reach FUSE filesystems.)\n",
         .max = 1,
         .run = run_sync},
	{.name = "status",
	 .operands = "[STORE|MOUNTPOINT]",
	 .summary = "what a store holds and does",
	 .details = "Of a mount of a remote or of backups: what it has fetched, how long that took, and\n"
	            "its cache, and what is pinned there.\n"
	            "The exit code is 1 if a daemon has died and left a mount of it.\n",
	 .max = 1,
	 .options = json_options,
	 .run = run_status},
	{NULL},
};
