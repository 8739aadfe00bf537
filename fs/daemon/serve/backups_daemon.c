#include "fs/daemon/serve/backups_daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <malloc.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "fs/daemon/control/message.h"
#include "fs/daemon/process/behind.h"
#include "fs/daemon/process/log.h"
#include "fs/daemon/process/process.h"
#include "fs/fuse/backups/backups.h"
#include "fs/fuse/session/aborter.h"
#include "fs/fuse/session/system.h"
#include "lib/base/buf.h"
#include "lib/browse/follow.h"

#define LARGE_BYTES (512 << 10)
#define LEAVE_MS 1000 /* for the session to end after it was detached; who has a file open then loses it */

struct backups_daemon {
	const struct backups_daemon_options *options;
	struct log *log;
	struct browsing browsing;
	struct backups *backups;
	struct follow *follow; /* NULL: it does not */
	int signal_fd, event_fd, abort_fd;
	int behind_fd; /* who unmounts finds this process by it; -1: nobody does */
};

static void tell_problem(void *arg, const char *text)
{
	log_line(((struct backups_daemon *)arg)->log, "error", "backups", "%s", text);
}

static void session_ended(void *arg)
{
	const uint64_t one = 1;

	(void)!write(((struct backups_daemon *)arg)->event_fd, &one, sizeof(one));
}

static int drop(void *arg, const char *name)
{
	return backups_drop(((struct backups_daemon *)arg)->backups, name);
}

static void tell_moved(void *arg, uint64_t number, const char *name)
{
	log_line(((struct backups_daemon *)arg)->log, "info", "moved", "version=%llu name=%s", (unsigned long long)number, name);
}

static int follow(struct backups_daemon *daemon, struct error *err)
{
	const struct follow_options options = {.browsing = &daemon->browsing, .drop = drop, .moved = tell_moved, .arg = daemon};

	return daemon->options->browsing.follows ? follow_start(&options, &daemon->follow, err) : 0;
}

static int open_log(struct backups_daemon *daemon, struct error *err)
{
	const char *path = daemon->options->log;
	AUTO_FREE char *copy = xstrdup_or_null(path), *other = xstrdup_or_null(path);
	AUTO_CLOSE int dir = path ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	int r = 0;

	if (!path)
		r = log_to_syslog(daemon->log);
	else
		r = dir < 0 ? -errno : log_to_file(daemon->log, dir, basename(other));
	return r < 0 ? error_set(err, r, "the log %s: %s", path ? path : "", error_text(r)) : 0;
}

static dev_t device_of(const char *path)
{
	struct stat st;

	return stat(path, &st) < 0 ? 0 : st.st_dev;
}

/* -1: it is not to be had, or somebody has unmounted it already. `below`: what was there before. */
static int open_abort(const char *mountpoint, dev_t below)
{
	const dev_t device = device_of(mountpoint);

	return device == 0 || device == below ? -1 : aborter_open(minor(device));
}

/* Until it ends. Without, who unmounts does not wait for that. */
static void be_found(struct backups_daemon *daemon)
{
	struct system_mount mount;

	if (system_find_mount(daemon->options->mountpoint, &mount) == 0)
		daemon->behind_fd = behind_listen(mount.minor);
}

static int start(struct backups_daemon *daemon, struct error *err)
{
	const struct backups_daemon_options *options = daemon->options;
	struct browsing_options browsing = options->browsing;
	struct backups_options mount = {.mountpoint = options->mountpoint, .source = browsing.repository, .allow_other = options->allow_other,
	                                .follows = browsing.follows, .debug = options->debug, .extra = options->extra, .ended = session_ended, .arg = daemon};
	const dev_t below = device_of(options->mountpoint);
	int r = process_tune(err);

	browsing.problem = tell_problem;
	browsing.arg = daemon;
	if (r == 0)
		r = process_take_signals(&daemon->signal_fd, &daemon->event_fd, err);
	if (r == 0)
		r = browsing_open(&browsing, &daemon->browsing, err);
	mount.browse = daemon->browsing.browse;
	if (r == 0)
		r = backups_start(&mount, &daemon->backups, err);
	if (r == 0) {
		daemon->abort_fd = open_abort(options->mountpoint, below);
		be_found(daemon);
	}
	/* Last: until then libfuse says what is wrong on standard error, which is the caller's. */
	if (r == 0)
		r = open_log(daemon, err);
	if (r == 0)
		r = follow(daemon, err);
	return r;
}

/* True: the session has ended. */
static bool wait_end(const struct backups_daemon *daemon, int ms)
{
	return poll(&(struct pollfd){.fd = daemon->event_fd, .events = POLLIN}, 1, ms) == 1;
}

static void serve(struct backups_daemon *daemon)
{
	struct pollfd polls[] = {{.fd = daemon->event_fd, .events = POLLIN}, {.fd = daemon->signal_fd, .events = POLLIN}};

	while (poll(polls, ARRAY_SIZE(polls), -1) < 0 && errno == EINTR)
		;
	if (polls[0].revents)
		return;
	log_line(daemon->log, "info", "signal", "text=\"the mount goes\"");
	(void)!system_umount(daemon->options->mountpoint, true);
	if (wait_end(daemon, LEAVE_MS))
		return;
	/*
	 * With the process, its connection ends, but not before its last thread, which may wait for the repository's place for ever. Nothing was written
	 * that could be lost.
	 */
	if (daemon->abort_fd >= 0)
		(void)!write(daemon->abort_fd, "1", 1);
	_exit(0);
}

static int run(void *arg, int ready_fd)
{
	struct backups_daemon daemon = {.options = arg, .log = log_new(), .browsing = {.cache_dir = {-1, -1}}, .signal_fd = -1, .event_fd = -1, .abort_fd = -1,
	                                .behind_fd = -1};
	struct error err = {0};
	int r;

	/* Blobs of megabytes come and go in many threads: each goes back to the system, not to its thread's heap. */
	(void)mallopt(M_MMAP_THRESHOLD, LARGE_BYTES);
	r = start(&daemon, &err);

	if (r < 0 && daemon.backups) {
		(void)!system_umount(daemon.options->mountpoint, true);
		(void)wait_end(&daemon, -1);
	}
	/* Before the caller goes on: it may look for it. */
	if (r == 0)
		log_line(daemon.log, "info", "mounted", "mountpoint=%s repository=%s pid=%d", daemon.options->mountpoint, daemon.options->browsing.repository, (int)getpid());
	(void)!message_send(ready_fd, r < 0 ? message_from_error(&err) : json_pack("{s:{}}", "result"));
	close(ready_fd);
	if (r == 0)
		serve(&daemon);
	/* First, so that another mount may use it now: those that follow wait for the place. */
	browsing_leave_cache(&daemon.browsing);
	follow_end(daemon.follow);
	backups_free(daemon.backups);
	browsing_close(&daemon.browsing);
	if (r == 0)
		log_line(daemon.log, "info", "left", "pid=%d", (int)getpid());
	log_free(daemon.log);
	if (daemon.abort_fd >= 0)
		close(daemon.abort_fd);
	return r < 0;
}

int backups_daemon_start(const struct backups_daemon_options *options, struct error *err)
{
	struct backups_daemon_options copy = *options;
	json_t *result = NULL;
	int r = process_spawn(run, &copy, PROCESS_KEEPS_NONE, &result, err);

	json_decref(result);
	return r;
}
