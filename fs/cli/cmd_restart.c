#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "fs/cli/command.h"
#include "fs/cli/exit.h"
#include "fs/cli/run.h"
#include "fs/cli/say.h"
#include "fs/daemon/control/client.h"
#include "fs/supervise/supervisor.h"
#include "lib/base/clock.h"
#include "lib/base/shell.h"
#include "lib/ops/json.h"
#include "lib/store/store.h"

#define LIMIT_MS 120000 /* for the next daemon to answer */
#define STEP_MS 20

static int add_row(void *arg, json_t *row)
{
	return json_array_append(arg, row) < 0 ? -ENOMEM : 0;
}

/* What the daemon says of itself, with its mounts. -ENOENT, -ECONNREFUSED without a text: there is none now. */
static int ask_status(const char *store, json_t **ret_status, struct error *err)
{
	json_t *mounts = json_array(), *args = json_object(), *status = NULL;
	const struct client_sink sink = {.row = add_row, .row_arg = mounts};
	struct client *client = NULL;
	int result = client_connect(store, &client, err);

	if (result == 0) {
		client_limit(client, LIMIT_MS);
		result = client_call(client, "store.status", args, &sink, &status, err);
	}
	client_close(client);
	json_decref(args);
	if (result < 0) {
		json_decref(mounts);
		return result;
	}
	json_object_set_new(status, "mounts", mounts);
	*ret_status = status;
	return 0;
}

static bool comes_back(int result)
{
	return result == -ENOENT || result == -ECONNREFUSED || result == -ESHUTDOWN || result == -ECONNRESET;
}

static int not_mounted(const char *store, struct error *err)
{
	struct superblock superblock;

	*err = (struct error){0};
	if (store_probe(store, &superblock, err) == -EMEDIUMTYPE) {
		error_set(err, -ENOENT, "%s is no store, and none is mounted there", store);
		error_hint(err, "name a store, or where it is mounted");
		return -ENOENT;
	}
	*err = (struct error){0};
	error_set(err, -ENOENT, "the store %s is not mounted, so no daemon is to be restarted", store);
	error_hint_shell(err, "corpusfs mount %s DIRECTORY", store);
	return -ENOENT;
}

/* Of a daemon that may be the next one after a crash just now. */
static int find_daemon(const char *store, json_t **ret_status, struct error *err)
{
	struct patience patience = {0};
	int result;

	do {
		*err = (struct error){0};
		result = ask_status(store, ret_status, err);
		if (!comes_back(result))
			return result;
	} while (store_locked_by(store) != 0 && run_wait(&patience, store));
	return not_mounted(store, err);
}

static int ask_restart(const char *store, struct error *err)
{
	AUTO_CLOSE int program = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	json_t *args = json_pack("{s:i}", "heritage", SUPERVISOR_HERITAGE), *value = NULL;
	struct client *client = NULL;
	int result = program < 0 ? error_set(err, -errno, "this program cannot be read: %s", strerror(errno)) : client_connect(store, &client, err);

	if (result == 0) {
		client_limit(client, LIMIT_MS);
		client_pass(client, program);
		result = client_call(client, "daemon.restart", args, NULL, &value, err);
	}
	if (comes_back(result))
		error_default(err, result, "the daemon of %s went away before it was asked", store);
	client_close(client);
	json_decref(args);
	json_decref(value);
	return result;
}

static json_int_t number(const json_t *object, const char *name)
{
	return json_integer_value(json_object_get(object, name));
}

/* The daemon that answers now and is not the one before. */
static int await_next(const char *store, json_int_t before, json_t **ret_status, struct error *err)
{
	const uint64_t until_ms = clock_ms() + LIMIT_MS;
	int result;

	for (;;) {
		json_t *status = NULL;

		*err = (struct error){0};
		result = ask_status(store, &status, err);
		if (result == 0 && number(status, "pid") != before) {
			*ret_status = status;
			return 0;
		}
		json_decref(status);
		if (result < 0 && !comes_back(result))
			return result;
		if (result < 0 && store_locked_by(store) == 0) {
			error_set(err, -ENOTCONN, "the daemon has ended, and no other goes on");
			error_hint_shell(err, "%s/log may say why; corpusfs status %s shows what is left", store, store);
			return -ENOTCONN;
		}
		if (clock_ms() > until_ms) {
			error_set(err, -ETIMEDOUT, "no other daemon answers after %d s", LIMIT_MS / 1000);
			error_hint_shell(err, "%s/log may say why", store);
			return -ETIMEDOUT;
		}
		clock_pause_us(STEP_MS * 1000);
	}
}

static bool has_mount(const json_t *status, const char *mountpoint)
{
	json_t *row;
	size_t i;

	json_array_foreach (json_object_get(status, "mounts"), i, row)
		if (strcmp(json_string_value(json_object_get(row, "mountpoint")), mountpoint) == 0)
			return true;
	return false;
}

/* All that was mounted is; and by this program. */
static int compare(const json_t *before, const json_t *now, struct error *err)
{
	json_t *row;
	size_t i;

	json_array_foreach (json_object_get(before, "mounts"), i, row) {
		const char *mountpoint = json_string_value(json_object_get(row, "mountpoint"));

		if (!has_mount(now, mountpoint))
			return error_set(err, -ENOTCONN, "the mount at %s has not gone on; the log may say why", mountpoint);
	}
	if (number(now, "restarts") == number(before, "restarts")) {
		error_set(err, -EAGAIN, "the daemon died before it ended for this, and was followed as after a crash");
		error_hint(err, "do it again");
		return -EAGAIN;
	}
	if (!json_is_true(json_object_get(now, "fell_back")))
		return 0;
	error_set(err, -EIO, "this program did not come up as a daemon: version %s, as before, goes on as process %d",
		  json_string_value(json_object_get(now, "version")), (int)number(now, "pid"));
	error_hint(err, "the file \"log\" in the store's directory may say why");
	return -EIO;
}

static int run_restart(struct cli *cli)
{
	AUTO_FREE char *store = NULL;
	json_t *before = NULL, *now = NULL;
	struct error err = {0};
	int result;

	if (cli->argc > 0)
		cli->store = cli->argv[0];
	result = run_find_store(cli, &store, &err);
	if (result == 0)
		result = find_daemon(store, &before, &err);
	if (result == 0)
		result = ask_restart(store, &err);
	/* whether it ended for this, or died meanwhile: what counts is who goes on */
	if (result == 0 || result == -ECONNRESET)
		result = await_next(store, number(before, "pid"), &now, &err);
	if (result == 0)
		result = compare(before, now, &err);
	if (result == 0)
		say("restarted: version %s goes on as process %d\n", json_string_value(json_object_get(now, "version")), (int)number(now, "pid"));
	json_decref(before);
	json_decref(now);
	return result < 0 ? exit_with(&err) : EXIT_OK;
}

const struct command restart_commands[] = {
	{.name = "restart",
	 .operands = "[STORE|MOUNTPOINT]",
	 .summary = "have another daemon go on with the mounts",
	 .details = "The next daemon is this program: so a new version takes over where an old one\n"
		    "runs, and whoever uses the mounts sees a pause. Everything is brought to the disk\n"
		    "before. It needs a supervisor (not mount -o nosupervise), and that nobody waits\n"
		    "for a command just then. If this program does not come up, the one before goes on,\n"
		    "and the exit code is 1.\n",
	 .max = 1,
	 .run = run_restart},
	{NULL},
};
