#include "fs/daemon/serve/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>

#include "fs/daemon/control/control.h"
#include "fs/daemon/control/message.h"
#include "fs/daemon/process/process.h"
#include "fs/daemon/serve/heritage.h"
#include "fs/daemon/serve/requests.h"
#include "fs/daemon/serve/restart.h"
#include "fs/supervise/service.h"
#include "lib/base/clock.h"
#include "lib/base/escape.h"
#include "lib/ops/json.h"
#include "lib/store/datasets.h"

#define TELL_EVERY_MS 5000
#define LOST_NAMED 64U
#define RESUME_OVER_MS 5000 /* for a supervisor that has nothing to do to end */

struct daemon {
	const struct daemon_options *options;
	struct store *store;
	struct log *log;
	struct mounts *mounts;
	struct jobs *jobs;
	struct control *control;
	struct requests requests;
	struct keeper *keeper; /* NULL: there is no supervisor */
	bool is_alone;         /* it has gone */
	int event_fd, signal_fd, journal_fd;
	uint64_t tell_ms; /* for so long one waits for the disk before the log hears of it again */
};

/* A store on media that cannot be written, or of somebody else: there is no place in it for a log and a socket. */
static bool has_room_for_files(const struct daemon *daemon)
{
	return faccessat(store_dir_fd(daemon->store), ".", W_OK, AT_EACCESS) == 0;
}

static int open_log(struct daemon *daemon, struct error *err)
{
	if (!daemon->options->foreground && !has_room_for_files(daemon))
		return log_to_syslog(daemon->log);
	int result = daemon->options->foreground ? 0 : log_to_file(daemon->log, store_dir_fd(daemon->store), DAEMON_LOG);

	return result < 0 ? error_set(err, result, "%s/" DAEMON_LOG ": %s", daemon->options->store,
	                              result == -EUCLEAN ? "it is not a regular file" : error_text(result))
	                  : 0;
}

/* Standard error is the caller's until the log is open. */
static void tell_waiting(void *arg, const char *text)
{
	fprintf(stderr, "corpusfs: %s\n", text);
}

static void log_lost(void *arg, const char *text)
{
	struct daemon *daemon = arg;

	log_line(daemon->log, "error", "lost", "text=\"%s has taken the store; nothing is written any more\"", text);
}

static void log_damaged(void *arg, const struct store_damage *damage)
{
	struct daemon *daemon = arg;
	AUTO_FREE char *path = escape_text(damage->path, ESCAPE_BYTES | ESCAPE_CONTROL);
	AUTO_FREE char *chunk = damage->chunk ? xasprintf("%llu", (unsigned long long)damage->chunk) : xstrdup("-");

	log_line(daemon->log, "error", "damaged", "dataset=%s snapshot=%s offset=%llu chunk=%s path=\"%s\"", damage->dataset,
		 damage->snapshot, (unsigned long long)damage->offset, chunk, path);
}

static int open_store(struct daemon *daemon, struct error *err)
{
	struct store_options options = daemon->options->store_options;

	options.notice = tell_waiting;
	options.lost = log_lost;
	options.met_damage = log_damaged;
	options.notice_arg = daemon;
	if (daemon->keeper) {
		int result = heritage_take(daemon->keeper, &options, &daemon->journal_fd, err);
		if (result < 0)
			return result;
	}
	return store_open(daemon->options->store, &options, &daemon->store, err);
}

static bool is_heir(const struct daemon *daemon)
{
	return daemon->keeper && keeper_page(daemon->keeper)->dead[0];
}

static struct dataset_info dataset_of(struct daemon *daemon, const struct replay_lost *file)
{
	struct dataset_info dataset = {.name = ""};
	struct view *view;

	if (store_view_by_number(daemon->store, file->view, &view) == 0) {
		(void)!dataset_get_by_id(daemon->store, view_dataset(view), &dataset);
		store_view_put(daemon->store, view);
	}
	return dataset;
}

static void log_not_replayed(struct daemon *daemon, const struct replayed *replayed)
{
	for (size_t i = 0; i < MIN(replayed->lost.count, LOST_NAMED); i++) {
		const struct replay_lost *lost = &replayed->lost.items[i];

		log_line(daemon->log, "error", "not-replayed",
		         "dataset=%s inode=%llu changes=%llu error=\"%s\" text=\"the file cannot be read, so what was written to it last and not synced is lost\"",
		         dataset_of(daemon, lost).name, (unsigned long long)lost->ino, (unsigned long long)lost->records, error_text(lost->error));
	}
	if (replayed->lost.count > LOST_NAMED)
		log_line(daemon->log, "error", "not-replayed", "files=%zu text=\"more than are named here\"", replayed->lost.count);
}

/* Now and then a line, which `status` shows to who asks meanwhile. Whoever ends us by a signal does not want to wait. */
static bool wait_for_disk(void *arg, const struct replay_lost *file, uint64_t waited_ms)
{
	struct daemon *daemon = arg;

	if (waited_ms >= daemon->tell_ms) {
		daemon->tell_ms = waited_ms + TELL_EVERY_MS;
		log_line(daemon->log, "warning", DAEMON_LOG_WAITS,
			 "dataset=%s inode=%llu error=\"%s\" text=\"what was written last is kept in memory and waits for the disk, for %u s of %u\"",
			 dataset_of(daemon, file).name, (unsigned long long)file->ino, error_text(file->error), (unsigned)(waited_ms / 1000),
			 REPLAY_PATIENCE_MS / 1000);
	}
	return poll(&(struct pollfd){.fd = daemon->signal_fd, .events = POLLIN}, 1, 0) != 1;
}

/* To every fsync of these files, and to whoever asks whether all is on disk. */
static void tell_not_replayed(struct daemon *daemon, const struct replayed *replayed)
{
	store_mark_lost(daemon->store, replayed);
	for (size_t i = 0; i < replayed->lost.count; i++) {
		const struct replay_lost *lost = &replayed->lost.items[i];

		mounts_note_lost(daemon->mounts, lost->view, lost->ino, lost->error);
	}
}

/* What was accepted before is there again before anybody asks for it; what was open is, before orphans are reaped. */
static int resume(struct daemon *daemon, struct error *err)
{
	struct replayed replayed;
	int result = store_replay(daemon->store, wait_for_disk, daemon, &replayed);

	if (result < 0)
		return error_set(err, result, "what was not committed cannot be taken over: %s", error_text(result));
	log_not_replayed(daemon, &replayed);
	log_line(daemon->log, "info", "replayed", "records=%llu bytes=%llu dropped=%llu", (unsigned long long)replayed.records,
	         (unsigned long long)replayed.bytes, (unsigned long long)replayed.dropped);
	result = mounts_resume(daemon->mounts, daemon->keeper, err);
	if (result == 0)
		tell_not_replayed(daemon, &replayed);
	else if (result == MOUNTS_NONE && replayed.lost.count > 0)
		store_note_failure(daemon->store, replayed.lost.items[0].error); /* for who asks how the store was closed */
	replayed_clear(&replayed);
	if (result < 0)
		return result;
	store_reap_orphans(daemon->store);
	return mounts_serve(daemon->mounts, err);
}

static int start_mounts(struct daemon *daemon, json_t **ret_result, struct error *err)
{
	json_t *mount;
	int result;

	daemon->mounts = mounts_new(daemon->store, daemon->log, daemon->event_fd, daemon->keeper);
	if (!daemon->mounts)
		return error_set(err, -EAGAIN, "no thread could be started: %s", error_text(-EAGAIN));
	if (is_heir(daemon))
		return resume(daemon, err);
	mount = json_deep_to_bytes(daemon->options->mount);
	result = mounts_start(daemon->mounts, mount, ret_result, err);
	json_decref(mount);
	return result;
}

static int start(struct daemon *daemon, json_t **ret_result, struct error *err)
{
	const struct daemon_options *options = daemon->options;
	int result = process_tune(err);

	if (result == 0)
		result = process_take_signals(&daemon->signal_fd, &daemon->event_fd, err);
	if (result == 0)
		result = open_store(daemon, err);
	if (result == 0)
		result = open_log(daemon, err);
	if (result == 0 && daemon->keeper)
		result = heritage_leave(daemon->keeper, daemon->store, daemon->journal_fd, err);
	if (result == 0)
		result = start_mounts(daemon, ret_result, err);
	if (result < 0)
		return result;
	result = jobs_start(daemon->store, daemon->mounts, daemon->log, &daemon->jobs);
	if (result < 0)
		return error_set(err, result, "no thread could be started: %s", error_text(result));
	if (!has_room_for_files(daemon))
		return 0;
	daemon->requests = (struct requests){
		.store = daemon->store, .mounts = daemon->mounts, .jobs = daemon->jobs, .keeper = daemon->keeper,
		.unsupervised = options->unsupervised, .event_fd = daemon->event_fd,
		.journal_fd = daemon->keeper ? daemon->journal_fd : -1};
	result = control_start(store_dir_fd(daemon->store), &(struct control_handler){.run = requests_run, .arg = &daemon->requests},
	                       &daemon->control, err);
	if (result == 0)
		log_line(daemon->log, "info", "started", "version=%s pid=%d store=%s", CORPUSFS_VERSION, (int)getpid(),
		         options->store);
	return result;
}

/* All is done, however long the process takes to go. Returns the exit code. */
static int has_left(struct daemon *daemon, bool failed)
{
	if (daemon->keeper)
		atomic_store(&keeper_page(daemon->keeper)->left, failed ? 2 : 1);
	return failed;
}

/* Nobody is to go on, whatever the exit code. */
static void leave_for_good(struct daemon *daemon)
{
	if (daemon->keeper)
		atomic_store(&keeper_page(daemon->keeper)->leaving, 1);
}

/*
 * Files are open in mounts that were to stop. Everything that was written is committed; the kernel ends the sessions
 * when the process ends, and what the store then still has open is as after a power cut, which it is made for.
 */
static void __attribute__((noreturn)) abandon(struct daemon *daemon, size_t mounts)
{
	int result = store_sync(daemon->store);

	if (result == 0)
		result = mounts_result(daemon->mounts);
	if (result == 0)
		result = mounts_lost(daemon->mounts, NULL);
	leave_for_good(daemon);
	control_remove_socket(daemon->control);
	log_line(daemon->log, result < 0 ? "error" : "warning", "left", "pid=%d mounts_in_use=%zu sync=%s", (int)getpid(), mounts,
	         result < 0 ? error_text(result) : "done");
	_exit(has_left(daemon, result < 0));
}

static void take_signal(struct daemon *daemon)
{
	struct signalfd_siginfo info;
	size_t left;

	if (read(daemon->signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	log_line(daemon->log, "info", "signal", "name=%s pid=%u", sigabbrev_np((int)info.ssi_signo), info.ssi_pid);
	left = mounts_stop_all(daemon->mounts);
	if (left > 0)
		abandon(daemon, left);
}

static void serve(struct daemon *daemon)
{
	struct pollfd polls[] = {{.fd = daemon->signal_fd, .events = POLLIN},
	                         {.fd = daemon->event_fd, .events = POLLIN},
	                         {.fd = daemon->keeper && !daemon->is_alone ? keeper_socket(daemon->keeper) : -1}};
	uint64_t count;

	while (!mounts_finished(daemon->mounts)) {
		if (poll(polls, ARRAY_SIZE(polls), -1) < 0 && errno != EINTR)
			return;
		(void)!read(daemon->event_fd, &count, sizeof(count));
		take_signal(daemon);
		if (atomic_load(&daemon->requests.restart))
			restart_now(&daemon->requests, daemon->control, daemon->log);
		if (polls[2].revents) {
			polls[2].fd = -1;
			daemon->is_alone = true;
			log_line(daemon->log, "warning", "alone", "text=\"the supervisor has gone: if the daemon dies, its mounts end\"");
		}
		mounts_reap(daemon->mounts);
	}
}

/* Also for a start that failed half-way. Returns whether all that was written is on disk: how closing the store went, and the mounts before. */
static int leave(struct daemon *daemon)
{
	bool started = daemon->control != NULL;
	int result = 0;

	if (daemon->mounts) {
		mounts_stop_all(daemon->mounts);
		serve(daemon);
		store_note_failure(daemon->store, mounts_result(daemon->mounts));
	}
	if (daemon->control)
		control_stop(daemon->control);
	jobs_stop(daemon->jobs);
	mounts_free(daemon->mounts);
	if (daemon->store)
		result = store_close(daemon->store);
	control_finish(daemon->control, result);
	if (result < 0)
		log_line(daemon->log, "error", "close", "text=\"%s\"", store_close_failure(result));
	else if (started)
		log_line(daemon->log, "info", "left", "pid=%d", (int)getpid());
	log_free(daemon->log);
	if (daemon->signal_fd >= 0)
		close(daemon->signal_fd);
	if (daemon->event_fd >= 0)
		close(daemon->event_fd);
	return result;
}

static int run_foreground(const struct daemon_options *options, json_t **ret_result, struct error *err)
{
	struct daemon daemon = {.options = options, .log = log_new(), .signal_fd = -1, .event_fd = -1};
	int result = start(&daemon, ret_result, err), closed;

	if (result == 0)
		serve(&daemon);
	closed = leave(&daemon);
	if (result == 0 && closed < 0)
		result = error_set(err, closed, "not all that was written is on disk: %s", store_close_failure(closed));
	return result;
}

/* All is left as it was found, for the next one. */
static void __attribute__((noreturn)) fail_as_heir(struct daemon *daemon, struct error *err, int result)
{
	error_default(err, result, "the daemon could not go on");
	log_line(daemon->log, "error", "not-resumed", "pid=%d text=\"%s\"", (int)getpid(), err->text);
	_exit(1);
}

static int run(struct daemon *daemon, int ready_fd)
{
	json_t *result_json = NULL;
	struct error err = {0};
	int result = start(daemon, &result_json, &err);

	if (result < 0 && is_heir(daemon) && result != MOUNTS_NONE)
		fail_as_heir(daemon, &err, result);
	if (result < 0) {
		leave_for_good(daemon);
		/* The caller hears of it when the store is free again, so that it can try at once. */
		const int closed = leave(daemon);
		if (closed < 0 && is_heir(daemon))
			result = error_set(&err, closed, "not all that was written is on disk: %s", store_close_failure(closed));
		error_default(&err, result, "the daemon could not start");
		if (ready_fd >= 0)
			(void)!message_send(ready_fd, message_from_error(&err));
		/* the last mount ended with the daemon before, and nothing is left to do */
		return has_left(daemon, !is_heir(daemon) || closed < 0);
	}
	if (daemon->keeper)
		atomic_store(&keeper_page(daemon->keeper)->ready_ms, clock_ms());
	/* A caller that has gone does not matter: the mount stands. */
	if (ready_fd >= 0) {
		(void)!message_send(ready_fd, json_pack("{s:o}", "result", result_json ? result_json : json_null()));
		close(ready_fd);
	}
	serve(daemon);
	leave_for_good(daemon);
	return has_left(daemon, leave(daemon) < 0);
}

static int run_background(void *arg, int ready_fd)
{
	struct daemon daemon = {.options = arg, .log = log_new(), .signal_fd = -1, .event_fd = -1};

	return run(&daemon, ready_fd);
}

int daemon_supervised(char **words)
{
	struct daemon daemon = {.log = log_new(), .signal_fd = -1, .event_fd = -1, .journal_fd = -1};
	struct daemon_options options = {.store = ""};
	json_t *all = NULL;
	int ready_fd, result = keeper_attach(words, &daemon.keeper, &ready_fd);

	if (result == 0)
		result = heritage_read(keeper_page(daemon.keeper), &all, &options.store_options);
	if (result < 0) {
		fprintf(stderr, "corpusfs: started by something that is no supervisor: %s\n", error_text(result));
		return 1;
	}
	options.store = json_string_value(json_object_get(all, "store"));
	options.mount = json_object_get(all, "mount");
	daemon.options = &options;
	result = run(&daemon, ready_fd);
	json_decref(all);
	return result;
}

static int run_supervisor(void *arg, int ready_fd)
{
	struct daemon_options options = *(const struct daemon_options *)arg;
	struct supervisor_page *page;
	int page_fd, result;

	/* for all daemons to come: the journal is as large as the write buffer */
	store_choose_budgets(&options.store_options);
	result = heritage_try(&options.store_options);
	if (result == 0)
		result = supervisor_page_new(&page, &page_fd);
	if (result == 0)
		result = heritage_write(page, options.store, &options.store_options, options.mount);
	if (result == 0)
		return supervisor_run(page, page_fd, ready_fd, false);
	/* a mount that ends with its daemon is better than none, unless somebody says otherwise */
	options.unsupervised = result == -E2BIG    ? "its options are too long"
	                       : result == -EACCES ? "this user may not start the program"
	                                           : "there is no memory for it";
	if (json_is_true(json_object_get(options.mount, "supervise"))) {
		struct error err = {0};

		(void)error_set(&err, result, "there can be no supervisor: %s", options.unsupervised);
		error_hint(&err, "without -o supervise the mount ends when its daemon dies");
		(void)!message_send(ready_fd, message_from_error(&err));
		return 1;
	}
	return run_background(&options, ready_fd);
}

int daemon_start(const struct daemon_options *options, json_t **ret_result, struct error *err)
{
	if (options->foreground)
		return run_foreground(options, ret_result, err);
	return process_spawn(options->unsupervised ? run_background : run_supervisor, (void *)options, PROCESS_KEEPS_NONE, ret_result, err);
}

static void tell_ended(unsigned mounts)
{
	struct log *log = log_new();

	log_line(log, "error", "not-whole", "mounts=%u text=\"the service manager has not kept all that they need, so they have ended\"", mounts);
	log_free(log);
}

static int run_resumed(void *arg, int ready_fd)
{
	const struct service_taken *taken = arg;

	if (taken->log_fd >= 0) {
		dup2(taken->log_fd, STDERR_FILENO);
		close(taken->log_fd);
	}
	if (taken->ended > 0)
		tell_ended(taken->ended);
	return supervisor_run(taken->page, taken->page_fd, ready_fd, true);
}

int daemon_resume(struct error *err)
{
	struct service_taken taken;
	json_t *value = NULL;
	int result = service_take(&taken, err);

	if (result <= 0)
		return result;
	result = process_spawn(run_resumed, &taken, SERVICE_FD_MIN, &value, err);
	json_decref(value);
	if (result != MOUNTS_NONE)
		return result < 0 ? result : 1;
	/* The next supervisor tells the manager of the same names. */
	for (const uint64_t end = clock_ms() + RESUME_OVER_MS; !atomic_load(&taken.page->over) && clock_ms() < end;)
		clock_pause_us(1000);
	*err = (struct error){0};
	return 0;
}
