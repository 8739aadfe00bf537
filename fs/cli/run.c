#include "fs/cli/run.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <time.h>

#include "fs/cli/exit.h"
#include "fs/cli/hint.h"
#include "fs/cli/interrupt.h"
#include "fs/cli/owner.h"
#include "fs/cli/progress.h"
#include "fs/cli/served.h"
#include "fs/cli/waiting.h"
#include "fs/cli/where.h"
#include "fs/daemon/control/client.h"
#include "fs/daemon/process/process.h"
#include "fs/daemon/serve/daemon.h"
#include "fs/supervise/supervisor.h"
#include "lib/base/clock.h"
#include "lib/base/fault.h"
#include "lib/base/procfs.h"
#include "lib/base/shell.h"
#include "lib/ops/ops.h"

#define WAIT_STEP_MS 20
#define PATIENCE_MS 3000          /* with a command that has the store */
#define PATIENCE_DAEMON_MS 60000  /* with a daemon that comes or leaves; longer than it waits for its disk (lib/tree/content/replay.h) */
#define SILENT_MS 1000            /* after which it is told why */
#define LOG_TAIL 4096
#define PATIENCE_ELSEWHERE_MS 100 /* nobody here has it: whoever had it has just gone, or came by another way and stays */

int run_name_store(const struct cli *cli, char **ret_store, char **ret_path, struct error *err)
{
	const char *named = cli->store ? cli->store : getenv("CORPUSFS_STORE");
	AUTO_FREE char *cwd = NULL;
	char *store;

	if (cli->store || (named && *named)) {
		const int result = where_named_store(named, ret_store, err);
		*ret_path = result == 0 ? where_absolute(named) : NULL;
		return result;
	}
	cwd = getcwd(NULL, 0);
	store = cwd ? where_store_of(cwd, NULL) : NULL;
	if (!store) {
		error_set(err, -EINVAL, "no store is named");
		error_hint(err, "say -s STORE, set $CORPUSFS_STORE, or stand in a mount of it");
		return -EINVAL;
	}
	*ret_store = store;
	*ret_path = steal_ptr(cwd);
	return 0;
}

int run_find_store(const struct cli *cli, char **ret_store, struct error *err)
{
	AUTO_FREE char *path = NULL;
	char *store = NULL;
	int result = run_name_store(cli, &store, &path, err);

	if (result == 0 && cli->as_owner)
		result = owner_become(store, err);
	/* as the owner: his filesystem may not let root through */
	if (result == 0 && path && strcmp(path, store) != 0)
		result = served_check(store, path, err);
	if (result < 0)
		free(store);
	else
		*ret_store = store;
	return result;
}

bool run_is_daemon(pid_t pid)
{
	char name[PROCFS_TEXT_MAX];

	procfs_name(pid, name);
	return strcmp(name, DAEMON_PROCESS_NAME) == 0;
}

bool run_is_supervised(pid_t daemon)
{
	char name[PROCFS_TEXT_MAX] = "";
	const pid_t parent = procfs_parent(daemon);

	if (parent > 0)
		procfs_name(parent, name);
	return strcmp(name, SUPERVISOR_NAME) == 0;
}

int run_open_supervisor(const char *store)
{
	const pid_t daemon = store_locked_by(store);

	return daemon > 0 && run_is_supervised(daemon) ? pidfd_open(procfs_parent(daemon), 0) : -1;
}

struct mount_search {
	const char *store;
	bool is_ours; /* we have the store */
	char *mountpoint; /* of the first that was found; owned */
};

static void look_for_any(void *arg, const char *mountpoint, const char *store, unsigned connection)
{
	struct mount_search *search = arg;

	if (!search->mountpoint && store && strcmp(store, search->store) == 0)
		search->mountpoint = xstrdup(mountpoint);
}

/* Its owner is dead, it is locked all the same, and mounted: a supervisor starts another, perhaps after a pause. */
static bool is_followed(pid_t owner, const char *store)
{
	struct mount_search search = {.store = store};

	if (owner <= 0 || kill(owner, 0) == 0 || errno != ESRCH)
		return false;
	where_each(look_for_any, &search);
	const bool is_mounted = search.mountpoint != NULL;
	free(search.mountpoint);
	return is_mounted;
}

/* The last line of its log says whether it waits itself. */
static bool tell_why(const char *store)
{
	AUTO_FREE char *path = xasprintf("%s/" DAEMON_LOG, store);
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	char tail[LOG_TAIL + 1];
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return false;
	const ssize_t got = pread(fd, tail, LOG_TAIL, st.st_size > LOG_TAIL ? st.st_size - LOG_TAIL : 0);
	if (got <= 1)
		return false;
	tail[got - 1] = '\0';
	const char *end = strrchr(tail, '\n'), *last = end ? end + 1 : tail;
	if (!strstr(last, " " DAEMON_LOG_WAITS " "))
		return false;
	fprintf(stderr, "corpusfs: the daemon does not answer yet: %s\n", last);
	return true;
}

bool run_wait(struct patience *patience, const char *store)
{
	const pid_t owner = store_locked_by(store);
	const bool is_daemon = owner != 0 && (run_is_daemon(owner) || is_followed(owner, store));
	const unsigned limit = owner == 0 ? PATIENCE_ELSEWHERE_MS : is_daemon ? PATIENCE_DAEMON_MS : PATIENCE_MS;
	unsigned long long now = clock_ms();

	if (patience->started_ms == 0)
		patience->started_ms = now;
	if (now - patience->started_ms > limit)
		return false;
	if (is_daemon && !patience->told && now - patience->started_ms > SILENT_MS)
		patience->told = tell_why(store);
	clock_pause_us(WAIT_STEP_MS * 1000);
	return true;
}

struct asked {
	const char *op, *title; /* title NULL: no progress is shown */
	json_t *args;
	int fd; /* -1: none */
	struct progress *progress;
	bool was_told; /* what comes with the progress and is for everybody */
	run_row_fn row;
	void *row_arg;
	size_t rows;      /* that came */
	json_t *gathered; /* them, when nobody takes them; else NULL */
	const char *interrupted; /* what Ctrl-C leaves; NULL: nobody watches for it */
};

static int take_row(void *arg, json_t *row)
{
	struct asked *asked = arg;

	asked->rows++;
	if (asked->row)
		return asked->row(asked->row_arg, row);
	return json_array_append(asked->gathered, row) < 0 ? -ENOMEM : 0;
}

static void tell_waiting(void *arg, const char *text)
{
	fprintf(stderr, "corpusfs: %s\n", text);
}

static void take_progress(void *arg, json_t *state)
{
	struct asked *asked = arg;
	const char *notice = json_string_value(json_object_get(state, "notice"));

	if (notice && !asked->was_told) {
		fprintf(stderr, "%scorpusfs: %s\n", asked->progress && asked->progress->drawn ? "\r\033[K" : "", notice);
		asked->was_told = true;
	}
	if (asked->progress)
		progress_show(asked->progress, state);
}

static struct op_context own_context(struct asked *asked)
{
	return (struct op_context){
		.role = OP_OWNER,
		.uid = geteuid(),
		.gid = getegid(),
		.cancelled = interrupt_flag(),
		.fd = asked->fd >= 0 ? &asked->fd : NULL,
		.progress = take_progress,
		.progress_arg = asked,
		.row = take_row,
		.row_arg = asked,
	};
}

/* What it gives or keeps is taken for all that was written. */
static bool speaks_for_mounts(const struct asked *asked)
{
	static const char *const ops[] = {"store.sync", "snapshot.create", "snapshot.tick", "backup.run", "publish"};
	const char *source = json_string_value(json_object_get(asked->args, "source"));

	for (size_t i = 0; i < ARRAY_SIZE(ops); i++)
		if (strcmp(asked->op, ops[i]) == 0)
			return true;
	return strcmp(asked->op, "export") == 0 && source && !strchr(source, '@');
}

static void look_for_dead(void *arg, const char *mountpoint, const char *store, unsigned connection)
{
	struct mount_search *search = arg;

	if (!search->mountpoint && store && strcmp(store, search->store) == 0 && !where_is_read_only(mountpoint) &&
	    (search->is_ours || where_health(mountpoint) == WHERE_DEAD))
		search->mountpoint = xstrdup(mountpoint);
}

/*
 * What was written to a mount whose daemon has died, and not synced by then, is gone. Whoever answers now does not know of it: neither we
 * nor the next daemon may say that everything is on disk, or take a snapshot of "everything". is_ours: this process has the store, so no
 * mount of it has a daemon, even if the kernel has not noticed yet.
 */
static int check_no_dead_mount(const char *store, bool is_ours, struct error *err)
{
	struct mount_search search = {.store = store, .is_ours = is_ours};

	where_each(look_for_dead, &search);
	if (!search.mountpoint)
		return 0;
	error_set(err, -ENOTCONN, "the daemon of the mount at %s has died: what was written there and not synced is lost", search.mountpoint);
	error_hint_shell(err, "corpusfs umount %s, look what is there, then do this again", search.mountpoint);
	free(search.mountpoint);
	return -ENOTCONN;
}

/* ret_locked: somebody else has the store, nothing was done. */
static int in_process(const char *store_path, struct asked *asked, json_t **ret_result, bool *ret_locked, struct error *err)
{
	struct store_options options = {.notice = tell_waiting};
	struct op_context context = own_context(asked);
	json_t *value = NULL;
	int result = fault_point("command-before-open"), closed;

	if (result == 0)
		result = store_open(store_path, &options, &context.store, err);
	*ret_locked = result == -EBUSY;
	if (result < 0)
		return result;
	/* a daemon may have died since we looked for one */
	result = speaks_for_mounts(asked) ? check_no_dead_mount(store_path, true, err) : 0;
	if (result == 0)
		result = op_run(&context, asked->op, asked->args, &value, err);
	closed = store_close(context.store);
	if (result == 0 && closed < 0)
		result = error_set(err, closed, "the store could not be closed: %s", store_close_failure(closed));
	if (result < 0)
		json_decref(value);
	else
		*ret_result = value;
	return result;
}

/* One look through both doors. ret_locked: somebody else has the store just now. */
static int attempt(const char *store, struct asked *asked, json_t **ret_result, bool *ret_locked, struct error *err)
{
	const struct client_sink sink = {.progress = take_progress,
	                                 .progress_arg = asked,
	                                 .row = take_row,
	                                 .row_arg = asked};
	struct client *client = NULL;
	struct waiting waiting;
	int result = client_connect(store, &client, err);

	if (result == -ENOENT || result == -ECONNREFUSED) {
		*err = (struct error){0};
		return in_process(store, asked, ret_result, ret_locked, err);
	}
	if (result == 0) {
		interrupt_set_connection(client_fd(client));
		waiting_begin(&waiting, store, client);
		if (asked->fd >= 0)
			client_pass(client, asked->fd);
		result = client_call(client, asked->op, asked->args, &sink, ret_result, err);
		interrupt_set_connection(-1);
	}
	client_close(client);
	*ret_locked = result == -ESHUTDOWN && asked->rows == 0;
	if (result == -ESHUTDOWN && asked->rows > 0) {
		error_set(err, result, "the daemon has left, the answer is not complete");
		error_hint(err, "ask again");
	}
	return result;
}

/* What ends a daemon that does not answer. */
static void hint_force(const char *store, struct error *err)
{
	struct mount_search search = {.store = store};

	where_each(look_for_any, &search);
	if (search.mountpoint)
		served_hint_silent(store, search.mountpoint, err);
	free(search.mountpoint);
}

/* Takes over asked->args. */
static int run_asked(const char *store, struct asked *asked, json_t **ret_result, struct error *err)
{
	const struct op *op = op_find(asked->op);
	struct progress progress = progress_start(asked->title);
	struct patience patience = {0};
	bool locked;
	int result;

	asked->progress = asked->title ? &progress : NULL;
	asked->gathered = asked->row ? NULL : json_array();
	do {
		result = speaks_for_mounts(asked) ? check_no_dead_mount(store, false, err) : 0;
		locked = false;
		if (result == 0)
			result = attempt(store, asked, ret_result, &locked, err);
	} while (result < 0 && locked && !interrupt_came() && run_wait(&patience, store));
	progress_end(&progress);
	if (result == -ETIMEDOUT)
		hint_force(store, err);
	if (result < 0)
		hint_name_store(err, store);
	if (result == 0 && asked->gathered && op && op->rows)
		json_object_set(*ret_result, op->rows, asked->gathered);
	json_decref(asked->gathered);
	json_decref(asked->args);
	return result;
}

int run_op_at(const char *store, const char *op, json_t *args, const char *title, json_t **ret_result, struct error *err)
{
	return run_op_with(store, op, args, -1, title, ret_result, err);
}

int run_op_with(const char *store, const char *op, json_t *args, int fd, const char *title, json_t **ret_result, struct error *err)
{
	struct asked asked = {.op = op, .title = title, .args = args, .fd = fd};

	return run_asked(store, &asked, ret_result, err);
}

int run_op_rows_with(const char *store, const char *op, json_t *args, int fd, const char *title, run_row_fn row, void *row_arg, struct error *err)
{
	struct asked asked = {.op = op, .title = title, .args = args, .fd = fd, .row = row, .row_arg = row_arg};
	json_t *result = NULL;
	int r = run_asked(store, &asked, &result, err);

	json_decref(result);
	return r;
}

int run_op_rows_at(const char *store, const char *op, json_t *args, run_row_fn row, void *row_arg, json_t **ret_result, struct error *err)
{
	struct asked asked = {.op = op, .args = args, .fd = -1, .row = row, .row_arg = row_arg};

	return run_asked(store, &asked, ret_result, err);
}

int run_op_both_with(const char *store, const char *op, json_t *args, int fd, const char *title, struct rows rows, json_t **ret_result,
		     struct error *err)
{
	struct asked asked = {.op = op, .title = title, .args = args, .fd = fd, .row = rows.take, .row_arg = rows.arg};

	return run_asked(store, &asked, ret_result, err);
}

static int run_alone(struct asked *asked, int target_fd, json_t **ret_result, struct error *err)
{
	struct progress progress = progress_start(asked->title);
	struct op_context context;
	const struct op *op = op_find(asked->op);
	int result;

	asked->progress = asked->title ? &progress : NULL;
	asked->gathered = asked->row ? NULL : json_array();
	context = own_context(asked);
	context.target_fd = target_fd >= 0 ? &target_fd : NULL;
	result = op_run(&context, asked->op, asked->args, ret_result, err);
	progress_end(&progress);
	if (result == 0 && asked->gathered && op && op->rows)
		json_object_set(*ret_result, op->rows, asked->gathered);
	json_decref(asked->gathered);
	json_decref(asked->args);
	return result;
}

int run_op_alone(const char *op, json_t *args, int fd, int target_fd, const char *title, json_t **ret_result, struct error *err)
{
	struct asked asked = {.op = op, .title = title, .args = args, .fd = fd};

	return run_alone(&asked, target_fd, ret_result, err);
}

int run_op_alone_rows_with(const char *op, json_t *args, int fd, int target_fd, const char *title, run_row_fn row, void *row_arg, json_t **ret_result,
			   struct error *err)
{
	struct asked asked = {.op = op, .title = title, .args = args, .fd = fd, .row = row, .row_arg = row_arg};

	return run_alone(&asked, target_fd, ret_result, err);
}

int run_op_alone_rows(const char *op, json_t *args, int fd, run_row_fn row, void *row_arg, json_t **ret_result, struct error *err)
{
	return run_op_alone_rows_with(op, args, fd, -1, NULL, row, row_arg, ret_result, err);
}

static int run_and_tell(const struct cli *cli, struct asked *asked, json_t **ret_result)
{
	AUTO_FREE char *store = NULL;
	struct error err = {0};
	json_t *value = NULL;
	int result = run_find_store(cli, &store, &err);

	if (result == 0)
		result = run_asked(store, asked, &value, &err);
	else
		json_decref(asked->args);
	if (result == -ECANCELED && asked->interrupted)
		interrupt_end_with(asked->interrupted);
	if (result < 0)
		return exit_with(&err);
	if (ret_result)
		*ret_result = value;
	else
		json_decref(value);
	return EXIT_OK;
}

static int ignore_row(void *arg, json_t *row)
{
	return 0;
}

int run_op(const struct cli *cli, const char *op, json_t *args, const char *title, json_t **ret_result)
{
	struct asked asked = {.op = op, .title = title, .args = args, .fd = -1, .row = ret_result ? NULL : ignore_row};

	return run_and_tell(cli, &asked, ret_result);
}

int run_op_rows(const struct cli *cli, const char *op, json_t *args, run_row_fn row, void *row_arg, json_t **ret_result)
{
	struct asked asked = {.op = op, .args = args, .fd = -1, .row = row, .row_arg = row_arg};

	return run_and_tell(cli, &asked, ret_result);
}

int run_op_interruptible(const struct cli *cli, const char *op, json_t *args, const char *title, const char *interrupted, json_t **ret_result)
{
	struct asked asked = {.op = op, .title = title, .args = args, .fd = -1, .interrupted = interrupted};

	interrupt_watch();
	return run_and_tell(cli, &asked, ret_result);
}
