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
#include "lib/backup/heads.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/browse/cache_dir.h"
#include "lib/repository/objects_kept.h"
#include "lib/repository/objects_open.h"

#define LARGE_BYTES (512 << 10)
#define LEAVE_MS 1000 /* for the session to end after it was detached; who has a file open then loses it */

struct backups_daemon {
	const struct backups_daemon_options *options;
	struct log *log;
	struct cache_dir cache_dir;
	struct disk_cache *disk; /* in it; NULL: there is none */
	struct browse *browse;
	struct backups *backups;
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

/* The version stays what it is, whatever is published meanwhile. */
static int open_published(struct backups_daemon *daemon, struct browse_options *browse, struct error *err)
{
	struct head head;
	int r = head_find(browse->repository, daemon->options->backup, &head, err);

	if (r < 0) {
		repository_close(browse->repository);
		return r;
	}
	browse->backup = head.backup;
	browse->only_dataset = true;
	r = browse_open(browse, &daemon->browse, err);
	head_clear(&head);
	return r;
}

static int open_place(void *arg, struct objects **ret_objects, struct error *err)
{
	const struct backups_daemon_options *options = ((struct backups_daemon *)arg)->options;
	const struct buf *description = options->description;
	int fd;

	if (description)
		fd = file_in_memory("corpusfs-repository", description->data, description->len);
	else
		fd = open(options->repository, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return error_set(err, description ? fd : -errno, "%s: %s", options->repository, error_text(description ? fd : -errno));
	return objects_open(fd, false, ret_objects, err);
}

static int open_place_again(void *arg, struct objects **ret_objects)
{
	return open_place(arg, ret_objects, NULL);
}

/* The copies of the repository's small objects in the cache. */
static int open_copies(const struct backups_daemon *daemon, struct objects **ret_copies, struct error *err)
{
	struct objects_left left;
	int fd, r = cache_dir_place(&daemon->cache_dir, daemon->options->repository, &fd);

	if (r < 0)
		return error_set(err, r, "the cache %s: %s", daemon->options->cache_dir, error_text(r));
	*ret_copies = objects_dir_open(fd);
	/* Nobody else uses it. */
	(void)!objects_clean(*ret_copies, time(NULL) + 1, false, &left);
	return 0;
}

static void tell_away(struct backups_daemon *daemon, const struct error *why)
{
	AUTO_FREE char *text = xasprintf("what=\"the place cannot be reached, and what is in the cache is shown: %s\"", why->text);

	tell_problem(daemon, text);
}

/*
 * With a cache, the place may be away, if it was not when the cache was filled. A place that answers, and says no, is not: nobody is to see old content
 * for a wrong key or a wrong name.
 */
static int open_with_cache(struct backups_daemon *daemon, struct objects **ret_objects, struct error *err)
{
	const struct backups_daemon_options *options = daemon->options;
	struct objects_kept_options kept = {.open = open_place_again, .arg = daemon, .patience_ms = options->patience_ms};
	const struct disk_cache_options disk = {.limit = options->cache_dir_bytes, .problem = tell_problem, .arg = daemon};
	struct disk_cache_options with_dir = disk;
	struct error why = {0};
	uint64_t size;
	int r = cache_dir_open(options->cache_dir, &daemon->cache_dir, err);

	if (r == 0)
		r = open_copies(daemon, &kept.copies, err);
	if (r < 0)
		return r;
	r = open_place(daemon, &kept.place, &why);
	if (r < 0 && (!objects_is_away(r) || kept.copies->place->size(kept.copies, OBJECT_CONFIG, "", &size) < 0)) {
		objects_close(kept.copies);
		*err = why;
		return r;
	}
	if (r < 0)
		tell_away(daemon, &why);
	with_dir.dir = daemon->cache_dir.dir;
	daemon->disk = disk_cache_new(&with_dir);
	*ret_objects = objects_kept_open(&kept);
	return 0;
}

static int open_backups(struct backups_daemon *daemon, struct error *err)
{
	const struct backups_daemon_options *options = daemon->options;
	struct browse_options browse = {.backup = options->backup, .cache_bytes = options->cache_bytes, .problem = tell_problem, .arg = daemon};
	struct objects *objects;
	int r = options->cache_dir ? open_with_cache(daemon, &objects, err) : open_place(daemon, &objects, err);

	if (r == 0)
		r = repository_open(objects, options->password, &browse.repository, err);
	browse.disk = daemon->disk;
	if (r < 0 || !options->is_published)
		return r < 0 ? r : browse_open(&browse, &daemon->browse, err);
	return open_published(daemon, &browse, err);
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
	const struct backups_options mount = {.mountpoint = options->mountpoint, .source = options->repository, .allow_other = options->allow_other,
	                                      .debug = options->debug, .extra = options->extra, .ended = session_ended, .arg = daemon};
	struct backups_options with_browse = mount;
	const dev_t below = device_of(options->mountpoint);
	int r = process_tune(err);

	if (r == 0)
		r = process_take_signals(&daemon->signal_fd, &daemon->event_fd, err);
	if (r == 0)
		r = open_backups(daemon, err);
	with_browse.browse = daemon->browse;
	if (r == 0)
		r = backups_start(&with_browse, &daemon->backups, err);
	if (r == 0) {
		daemon->abort_fd = open_abort(options->mountpoint, below);
		be_found(daemon);
	}
	/* Last: until then libfuse says what is wrong on standard error, which is the caller's. */
	if (r == 0)
		r = open_log(daemon, err);
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
	struct backups_daemon daemon = {.options = arg, .log = log_new(), .cache_dir = {-1, -1}, .signal_fd = -1, .event_fd = -1, .abort_fd = -1,
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
		log_line(daemon.log, "info", "mounted", "mountpoint=%s repository=%s pid=%d", daemon.options->mountpoint, daemon.options->repository, (int)getpid());
	(void)!message_send(ready_fd, r < 0 ? message_from_error(&err) : json_pack("{s:{}}", "result"));
	close(ready_fd);
	if (r == 0)
		serve(&daemon);
	/* Another mount may use it now, however long the place takes, for which those that follow wait. */
	disk_cache_stop(daemon.disk);
	cache_dir_unlock(&daemon.cache_dir);
	backups_free(daemon.backups);
	browse_stop(daemon.browse);
	disk_cache_free(daemon.disk);
	cache_dir_close(&daemon.cache_dir);
	browse_close(daemon.browse);
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
