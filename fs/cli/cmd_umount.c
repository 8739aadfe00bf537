#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>

#include "fs/cli/command.h"
#include "fs/cli/exit.h"
#include "fs/cli/run.h"
#include "fs/cli/say.h"
#include "fs/cli/served.h"
#include "fs/cli/where.h"
#include "fs/daemon/control/client.h"
#include "fs/daemon/process/behind.h"
#include "lib/base/procfs.h"
#include "lib/base/shell.h"
#include "lib/ops/json.h"
#include "lib/store/store.h"

#define LIMIT_MS 600000      /* for a daemon that answers others, but does not come to an end with this */
#define FORCE_LIMIT_MS 10000 /* what --force gives it */
#define KILLED_MS 10000      /* for a killed process to go */
#define FOLLOWS_MS 10000     /* for a supervisor to go, when its daemon has: it has nothing to do but that */
#define LEAVE_MS 5000        /* for the process of what is read-only to go, whose place may be away */
#define LAZY_MS 500          /* the same, where somebody may go on using it */

static int find_mount(const char *text, char **ret_mountpoint, char **ret_store, struct error *err)
{
	AUTO_FREE char *path = where_absolute(text);
	enum where_kind kind;

	if (!path)
		return error_set(err, -errno, "%s: %s", text, strerror(errno));
	kind = where_mounted(path, ret_store);
	if (kind == WHERE_NOT_MOUNTED) {
		error_set(err, -ENOENT, "nothing is mounted at %s", path);
		error_hint(err, "corpusfs status shows the mounts of a store");
		return -ENOENT;
	}
	if (kind == WHERE_OTHER) {
		error_set(err, -EINVAL, "what is mounted at %s is not a corpusfs", path);
		error_hint_shell(err, "umount %s", path);
		return -EINVAL;
	}
	*ret_mountpoint = steal_ptr(path);
	return 0;
}

struct stopped {
	bool in_use, lives_on; /* of mount.stop */
	bool read_only;        /* nothing can have been written */
	bool stays;            /* the process of what was read-only has not ended */
	pid_t pid;             /* which that is; 0: it is not seen from here */
};

/*
 * What it holds, such as the lock of a repository, is free once its process has ended: that is waited for, so that the next command finds it so. Where
 * it is not known which process that is, nobody waits.
 */
static int stop_read_only(const char *mountpoint, bool lazy, struct stopped *ret_stopped, struct error *err)
{
	AUTO_CLOSE int behind = where_behind(mountpoint, &ret_stopped->pid);
	int result = where_unmount(mountpoint, lazy, err);

	ret_stopped->read_only = true;
	ret_stopped->stays = result == 0 && behind >= 0 && !behind_wait(behind, lazy ? LAZY_MS : LEAVE_MS);
	return result;
}

static int is_moved(const char *mountpoint, int code, struct error *err)
{
	error_set(err, code, "the store of %s is not where it was mounted from: it was moved, or is gone", mountpoint);
	error_hint_shell(err, "umount %s; the log in the store says then whether everything is on disk", mountpoint);
	return code;
}

static int stop(const char *store, const char *mountpoint, bool lazy, unsigned limit_ms, struct stopped *ret_stopped, struct error *err)
{
	AUTO_CLOSE int supervisor = -1;
	json_t *args, *value = NULL;
	struct client *client = NULL;
	struct error other = {0};
	int result = store ? client_connect(store, &client, err) : -ENOENT;

	/* A store that cannot be written has no socket. */
	if ((result == -ENOENT || result == -ECONNREFUSED) && where_is_read_only(mountpoint))
		return stop_read_only(mountpoint, lazy, ret_stopped, err);
	if (!store)
		return is_moved(mountpoint, -ENOTCONN, err);
	if (result == -ENOENT || result == -ECONNREFUSED) {
		error_set(err, -ENOTCONN, "the daemon of %s does not listen", mountpoint);
		error_hint_shell(err, "umount %s", mountpoint);
		return -ENOTCONN;
	}
	if (result < 0)
		return result;
	client_limit(client, limit_ms);
	supervisor = run_open_supervisor(store);
	args = json_pack("{s:o, s:b}", "mountpoint", json_from_bytes(mountpoint), "lazy", lazy);
	result = client_call(client, "mount.stop", args, NULL, &value, err);
	if (result == 0 && json_is_true(json_object_get(value, "last"))) {
		client_wait_end(client);
		/* it has files of the store open, too */
		if (supervisor >= 0)
			(void)poll(&(struct pollfd){.fd = supervisor, .events = POLLIN}, 1, FOLLOWS_MS);
	}
	*ret_stopped = (struct stopped){.in_use = json_is_true(json_object_get(value, "in_use")),
	                                .lives_on = json_is_true(json_object_get(value, "lives_on"))};
	json_decref(args);
	json_decref(value);
	client_close(client);
	/* this daemon is another store's, which lies there now */
	if (result == -ENOENT && served_check(store, mountpoint, &other) == -ESTALE)
		return is_moved(mountpoint, -ESTALE, err);
	return result;
}

/* Somebody else's umount, or the end of the daemon, came first, and the store is closed. Nobody but its lock says how that went. */
static int stopped_by_others(const char *store, const char *mountpoint, struct error *err)
{
	const int result = store ? store_last_close(store) : 0;

	if (result == -ENOTCONN)
		error_set(err, result, "%s was unmounted by somebody else, and its daemon died: what was synced is on disk, what was not is lost",
		          mountpoint);
	else if (result < 0)
		error_set(err, result, "%s was unmounted by somebody else, but not all that was written is on disk: %s", mountpoint,
		          store_close_failure(result));
	return result;
}

/* A daemon that is just starting or leaving does not listen for a moment. */
static int stop_patiently(const char *store, const char *mountpoint, bool lazy, struct stopped *ret_stopped, struct error *err)
{
	struct patience patience = {0};
	int result;

	do {
		result = stop(store, mountpoint, lazy, LIMIT_MS, ret_stopped, err);
		if (result != -ENOTCONN && result != -ESHUTDOWN && result != -ECONNRESET)
			return result;
		const bool is_mounted = where_mounted(mountpoint, NULL) == WHERE_OURS;
		/* Who died when it was unmounted: what it had accepted is written by the daemon that follows it; if none does, the lock says so. */
		if (result == -ECONNRESET && (!store || is_mounted))
			return result;
		/* what is left is to wait until the store is closed */
		if (!is_mounted && (!store || store_locked_by(store) == 0))
			return stopped_by_others(store, mountpoint, err);
	} while (run_wait(&patience, store ? store : "/"));
	return result;
}

/* Says what is lost, and that is a failure: who removes the source of a copy when umount succeeds must not lose it. */
static int remove_dead(const char *mountpoint)
{
	const bool read_only = where_is_read_only(mountpoint);
	struct error err = {0};

	if (where_remove_dead(mountpoint, &err) < 0)
		return exit_with(&err);
	if (read_only) {
		say("unmounted %s, whose daemon had died; it was read-only, so nothing is lost\n", mountpoint);
		return EXIT_OK;
	}
	error_set(&err, -ENOTCONN, "unmounted %s, whose daemon had died: what was synced is on disk, what was not is lost", mountpoint);
	error_hint(&err, "mount again and look what is there");
	return exit_with(&err);
}

static int tell_of_process(const char *mountpoint, const struct stopped *stopped)
{
	AUTO_FREE char *process = stopped->pid > 0 ? xasprintf("its process, %d, ", (int)stopped->pid) : xstrdup("its process ");

	say("unmounted %s; %shas not ended yet: somebody may still use it, or the place does not answer; until then it may hold a lock there\n",
	    mountpoint, process);
	return EXIT_OK;
}

static int tell(const char *mountpoint, const struct stopped *stopped)
{
	if (stopped->stays)
		return tell_of_process(mountpoint, stopped);
	if (stopped->in_use)
		say("detached %s, which is still in use; everything written so far is on disk\n", mountpoint);
	else if (stopped->read_only)
		say("unmounted %s, which was read-only\n", mountpoint);
	else
		say("unmounted %s, everything is on disk%s\n", mountpoint,
		    stopped->lives_on ? "; it is still in use where it was detached before, or in another mount namespace" : "");
	return EXIT_OK;
}

/* --- by force --- */

struct others {
	const char *store, *mountpoint;
	struct buf text; /* the other mounts of the store */
};

static void add_other(void *arg, const char *mountpoint, const char *store, unsigned connection)
{
	struct others *others = arg;

	if (store && others->store && strcmp(store, others->store) == 0 && strcmp(mountpoint, others->mountpoint) != 0)
		buf_addf(&others->text, "%s%s", others->text.len ? ", " : "", mountpoint);
}

/* 0 when it has gone. Its threads may wait for a disk, and then nobody can end it. */
static int kill_daemon(pid_t pid, struct error *err)
{
	AUTO_CLOSE int fd = pidfd_open(pid, 0);
	char in[PROCFS_TEXT_MAX];

	if (fd < 0 && errno == ESRCH)
		return 0;
	if (fd < 0 || !run_is_daemon(pid))
		return error_set(err, -ESRCH, "process %d is no daemon of corpusfs", (int)pid);
	if (pidfd_send_signal(fd, SIGKILL, NULL, 0) < 0 && errno != ESRCH)
		return error_set(err, -errno, "the daemon, process %d, could not be killed: %s", (int)pid, strerror(errno));
	if (poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, KILLED_MS) == 1)
		return 0;
	procfs_waits_in(pid, pid, in);
	error_set(err, -EBUSY, "the daemon, process %d, was killed but does not go: it waits for the system%s%s", (int)pid, in[0] ? ", in " : "", in);
	error_hint(err, "its disk may not answer; the store is free as soon as the process has gone");
	return -EBUSY;
}

/*
 * First the connection is cut, so that nobody waits for answers any more, the daemon's own threads neither, nor those who use what was only
 * detached; that is not permitted to everybody, and the daemon's end cuts it too, if no other follows. A store that cannot be written has no
 * lock to find its daemon by.
 */
static int end_by_force(const char *mountpoint, const char *store, int abort_fd, struct error *err)
{
	const bool read_only = where_is_read_only(mountpoint);
	const pid_t daemon = store ? store_locked_by(store) : 0;
	const bool supervised = daemon > 0 && run_is_supervised(daemon);
	struct others others = {.store = store, .mountpoint = mountpoint};
	int result = 0;

	where_abort(abort_fd);
	if (where_mounted(mountpoint, NULL) == WHERE_OURS)
		result = where_remove_dead(mountpoint, err);
	if (result < 0)
		return result;
	if (daemon > 0)
		result = kill_daemon(daemon, err);
	if (result < 0 || read_only)
		return result;
	if (supervised) {
		error_set(err, -ENOTCONN, "unmounted %s by force: what was synced is on disk, what was written since is written by the next daemon, "
		          "which goes on with the store", mountpoint);
		error_hint(err, "mount again and look what is there");
		return -ENOTCONN;
	}
	if (!store) {
		error_set(err, -ENOTCONN, "unmounted %s by force; its store is not where it was mounted from", mountpoint);
		error_hint(err, "the log in the store says whether everything is on disk");
		return -ENOTCONN;
	}
	where_each(add_other, &others);
	buf_add_u8(&others.text, 0);
	error_set(err, -ENOTCONN, "unmounted %s by force%s%s: what was synced is on disk, what was written since and not committed yet is lost",
	          mountpoint, others.text.len > 1 ? ", and with it ended " : "", (const char *)others.text.data);
	error_hint(err, "mount again and look what is there");
	buf_clear(&others.text);
	return -ENOTCONN;
}

/* A daemon that was only stopped goes on and loses nothing; one that does not end the mount within its time is killed. */
static int force(const char *mountpoint, const char *store)
{
	const pid_t daemon = store ? store_locked_by(store) : 0;
	AUTO_CLOSE int abort_fd = where_open_abort(mountpoint); /* while it is there */
	struct stopped stopped = {0};
	struct error err = {0};
	int result;

	if (daemon > 0 && run_is_daemon(daemon) && procfs_is_stopped(daemon))
		kill(daemon, SIGCONT);
	result = stop(store, mountpoint, true, FORCE_LIMIT_MS, &stopped, &err);
	if (result == 0)
		return tell(mountpoint, &stopped);
	if (result != -ETIMEDOUT && where_mounted(mountpoint, NULL) != WHERE_OURS)
		return exit_with(&err);
	err = (struct error){0};
	if (end_by_force(mountpoint, result == -ESTALE ? NULL : store, abort_fd, &err) < 0)
		return exit_with(&err);
	say("unmounted %s by force; it was read-only, so nothing is lost\n", mountpoint);
	return EXIT_OK;
}

static int run_umount(struct cli *cli)
{
	AUTO_FREE char *mountpoint = NULL, *store = NULL;
	struct stopped stopped = {0};
	struct error err = {0};
	int result = find_mount(cli->argv[0], &mountpoint, &store, &err);

	if (result == 0 && where_health(mountpoint) == WHERE_DEAD)
		return remove_dead(mountpoint);
	if (result == 0 && cli_option(cli, "force"))
		return force(mountpoint, store);
	if (result == 0)
		result = stop_patiently(store, mountpoint, cli_option(cli, "lazy") != NULL, &stopped, &err);
	if (result == -ETIMEDOUT && store)
		served_hint_silent(store, mountpoint, &err);
	return result < 0 ? exit_with(&err) : tell(mountpoint, &stopped);
}

static const struct option umount_options[] = {
	{'l', "lazy", NULL, "detach now even if files are open"},
	{'f', "force", NULL, "end the mount whatever its daemon does"},
	OPTIONS_END,
};

const struct command umount_commands[] = {
	{.name = "umount",
         .operands = "MOUNTPOINT",
         .summary = "unmount, when everything is on disk",
         .details = "Also takes away the mount of a daemon that has died. The exit code is 1 then, as\n"
                    "what was written and not synced is lost.\n\n"
                    "With --force a daemon that was stopped goes on, and has ten seconds to unmount even\n"
                    "what is in use. If it does not, it is killed, and with it all mounts of its store\n"
                    "end: what was not committed yet is lost, and the exit code is 1. With a supervisor,\n"
                    "the default, its successor writes that, and goes on with the others.\n",
         .min = 1,
         .max = 1,
         .options = umount_options,
         .run = run_umount},
	{NULL},
};
