#include "fs/daemon/background/jobs.h"

#include <errno.h>
#include <string.h>

#include "fs/daemon/background/backups.h"
#include "fs/daemon/background/identify.h"
#include "fs/daemon/background/memory.h"
#include "fs/daemon/background/pacer.h"
#include "fs/daemon/background/scrubber.h"
#include "lib/base/clock.h"
#include "lib/reclaim/gc.h"
#include "lib/kv/kv.h"
#include "lib/ops/ops.h"
#include "lib/store/uncommitted.h"
#include "lib/tree/content/tree.h"

#define LOOK_EVERY_MS 1000
#define RETRY_AFTER_MS 60000
#define ROOM_GROWN (16U << 20) /* is worth another try to give room back on a disk that was too full for it */
#define GIVE_BACK_EVERY_MS 10000 /* what was not needed for so long; a program that pauses should find it */

/* Operations that are run now and then, if the table has them. */
static const struct {
	const char *op;
	unsigned every_ms;
} periodic[] = {{"snapshot.tick", 60000}};

struct jobs {
	struct store *store;
	struct log *log;
	struct pacer *pacer;
	struct pacer_loop loop; /* cancelled while paused */
	struct identify *identify;
	struct scrubber *scrubber;
	pthread_t thread;

	/* the thread's own */
	uint64_t gc_after_ms, gc_room; /* what was free when the disk was too full to give all room back; 0: it was not */
	uint64_t due_ms[ARRAY_SIZE(periodic)];
	struct memory memory;
	uint64_t give_back_ms;
	struct backups backups;
	bool stopped, commits_fail;

	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t change;
	struct gc_progress progress;
	unsigned paused;
	bool running, collecting, stop;
};

static int gc_step(void *arg, const struct gc_progress *progress)
{
	struct jobs *jobs = arg;

	pthread_mutex_lock(&jobs->lock);
	jobs->progress = *progress;
	pthread_mutex_unlock(&jobs->lock);
	return pacer_step(&jobs->loop);
}

static uint64_t free_bytes(struct jobs *jobs)
{
	struct tree_usage usage;

	tree_usage(store_tree(jobs->store), &usage);
	return usage.free_bytes;
}

static bool gc_is_due(struct jobs *jobs)
{
	return clock_ms() >= jobs->gc_after_ms && (!jobs->gc_room || free_bytes(jobs) >= jobs->gc_room + ROOM_GROWN) && gc_wanted(jobs->store);
}

static void collect(struct jobs *jobs)
{
	struct gc_options options = {.progress = gc_step, .arg = jobs};
	struct gc_progress done = {0};
	struct error err = {0};
	int result;

	pthread_mutex_lock(&jobs->lock);
	jobs->collecting = true;
	pthread_mutex_unlock(&jobs->lock);
	pacer_begin(&jobs->loop);
	result = gc_run(jobs->store, &options, &done, &err);
	pacer_end(&jobs->loop);
	pthread_mutex_lock(&jobs->lock);
	jobs->collecting = false;
	jobs->progress = (struct gc_progress){0};
	pthread_mutex_unlock(&jobs->lock);
	if (result == 0) {
		jobs->gc_room = done.no_room ? MAX(free_bytes(jobs), 1) : 0;
		if (done.no_room)
			log_line(jobs->log, "warning", "gc", "text=\"the disk is too full to give all room of what was removed back; it is tried again when there is more\"");
		log_line(jobs->log, "info", "gc", "versions=%llu chunks=%llu bytes=%llu", (unsigned long long)done.versions,
		         (unsigned long long)done.chunks, (unsigned long long)done.bytes);
	} else if (result != -ECANCELED) {
		jobs->gc_after_ms = clock_ms() + RETRY_AFTER_MS;
		log_line(jobs->log, "error", "gc", "text=\"%s\"", err.code ? err.text : error_text(result));
	}
}

/* RocksDB stops writing when its log could not be written, and begins again by itself when there is room; the sync asks whether it has. */
static void watch_database(struct jobs *jobs)
{
	struct kv *kv = store_kv(jobs->store);
	const bool stopped = kv_stopped(kv) && kv_sync(kv) < 0;
	char message[KV_MESSAGE_MAX];

	if (stopped == jobs->stopped)
		return;
	jobs->stopped = stopped;
	if (!stopped) {
		log_line(jobs->log, "info", "resumed", "store=%s", store_path(jobs->store));
		return;
	}
	kv_last_error(kv, message);
	log_line(jobs->log, "error", "stopped", "text=\"%s\" hint=\"unmount and mount again\"", message);
}

/* Who wrote it may never ask: a program that does not call fsync(2) is told of nothing. */
static void watch_commits(struct jobs *jobs)
{
	struct tree_usage usage;
	bool fails;

	tree_usage(store_tree(jobs->store), &usage);
	fails = usage.failing_inodes > 0;
	if (fails && !jobs->commits_fail) {
		AUTO_FREE char *file = uncommitted_file(jobs->store, NULL, 0);

		log_line(jobs->log, "warning", "uncommitted", "files=%llu file=\"%s\" text=\"%s\" hint=\"what was written is kept in memory and tried again\"",
		         (unsigned long long)usage.failing_inodes, file ? file : "", error_text(usage.failing_error));
	} else if (!fails && jobs->commits_fail) {
		log_line(jobs->log, "info", "committed", "text=\"what could not be written is committed\"");
	}
	jobs->commits_fail = fails;
}

/* Content is told of by who reads it; this is for the tables' blocks, whatever is in them. */
static void watch_damage(struct jobs *jobs)
{
	char message[KV_MESSAGE_MAX];

	chunks_save_damage(store_chunks(jobs->store));
	if (kv_damage_told(store_kv(jobs->store), message))
		log_line(jobs->log, "error", "damaged-table", "text=\"%s\" hint=\"corpusfs damage\"", message);
}

static void run_periodic(struct jobs *jobs)
{
	struct op_context context = {
		.store = jobs->store, .role = OP_OWNER, .uid = geteuid(), .gid = getegid(), .cancelled = &jobs->loop.cancelled};

	for (size_t i = 0; i < ARRAY_SIZE(periodic); i++) {
		struct error err = {0};
		json_t *args, *result_json = NULL;
		if (clock_ms() < jobs->due_ms[i] || !op_find(periodic[i].op))
			continue;
		jobs->due_ms[i] = clock_ms() + periodic[i].every_ms;
		args = json_object();
		int result = op_run(&context, periodic[i].op, args, &result_json, &err);
		if (result < 0 && result != -ECANCELED)
			log_line(jobs->log, "error", periodic[i].op, "text=\"%s\"", err.text);
		json_decref(result_json);
		json_decref(args);
	}
}

static void give_back(struct jobs *jobs)
{
	memory_give_back(&jobs->memory);
	if (clock_ms() < jobs->give_back_ms)
		return;
	jobs->give_back_ms = clock_ms() + GIVE_BACK_EVERY_MS;
	tree_give_back(store_tree(jobs->store));
}

/* False: it is time to stop. */
static bool begin_round(struct jobs *jobs)
{
	pthread_mutex_lock(&jobs->lock);
	while (jobs->paused > 0 && !jobs->stop)
		pthread_cond_wait(&jobs->change, &jobs->lock);
	jobs->running = !jobs->stop;
	bool running = jobs->running;
	pthread_mutex_unlock(&jobs->lock);
	return running;
}

static void end_round(struct jobs *jobs)
{
	pthread_mutex_lock(&jobs->lock);
	jobs->running = false;
	pthread_cond_broadcast(&jobs->change);
	pthread_mutex_unlock(&jobs->lock);
}

static void *jobs_main(void *arg)
{
	struct jobs *jobs = arg;

	while (begin_round(jobs)) {
		watch_database(jobs);
		watch_commits(jobs);
		watch_damage(jobs);
		if (!store_read_only(jobs->store)) {
			run_periodic(jobs);
			backups_look(&jobs->backups, jobs->store, jobs->log);
		}
		if (!store_read_only(jobs->store) && gc_is_due(jobs))
			collect(jobs);
		give_back(jobs);
		end_round(jobs);
		(void)!pacer_rest(&jobs->loop, LOOK_EVERY_MS);
	}
	return NULL;
}

static uint64_t answered(void *arg)
{
	return mounts_requests(arg);
}

static void jobs_free(struct jobs *jobs)
{
	pacer_stop(jobs->pacer);
	backups_stop(&jobs->backups, jobs->log);
	identify_free(jobs->identify);
	scrubber_free(jobs->scrubber);
	pacer_leave(&jobs->loop);
	pacer_free(jobs->pacer);
	pthread_cond_destroy(&jobs->change);
	pthread_mutex_destroy(&jobs->lock);
	free(jobs);
}

int jobs_start(struct store *store, struct mounts *mounts, struct log *log, struct jobs **ret_jobs)
{
	struct jobs *jobs = xcalloc(1, sizeof(*jobs));
	int result;

	jobs->store = store;
	jobs->log = log;
	jobs->pacer = pacer_new(answered, mounts);
	pacer_join(jobs->pacer, &jobs->loop);
	pthread_mutex_init(&jobs->lock, NULL);
	pthread_cond_init(&jobs->change, NULL);
	result = identify_start(store, jobs->pacer, log, &jobs->identify);
	if (result == 0)
		result = scrubber_start(store, jobs->pacer, log, &jobs->scrubber);
	if (result == 0)
		result = -pthread_create(&jobs->thread, NULL, jobs_main, jobs);
	if (result < 0) {
		jobs_free(jobs);
		return result;
	}
	*ret_jobs = jobs;
	return 0;
}

void jobs_stop(struct jobs *jobs)
{
	if (!jobs)
		return;
	pthread_mutex_lock(&jobs->lock);
	jobs->stop = true;
	pthread_cond_broadcast(&jobs->change);
	pthread_mutex_unlock(&jobs->lock);
	pacer_stop(jobs->pacer);
	pthread_join(jobs->thread, NULL);
	watch_damage(jobs); /* what was met since it looked last */
	jobs_free(jobs);
}

/* Who holds the loop has paused the jobs before, and goes on doing so until he has released it: no round begins cancelled, and puts off what is due. */
void jobs_pause(struct jobs *jobs)
{
	pthread_mutex_lock(&jobs->lock);
	jobs->paused++;
	pthread_mutex_unlock(&jobs->lock);
	pacer_hold(&jobs->loop);
	pthread_mutex_lock(&jobs->lock);
	while (jobs->running)
		pthread_cond_wait(&jobs->change, &jobs->lock);
	pthread_mutex_unlock(&jobs->lock);
}

void jobs_resume(struct jobs *jobs)
{
	pacer_release(&jobs->loop);
	pthread_mutex_lock(&jobs->lock);
	jobs->paused--;
	pthread_cond_broadcast(&jobs->change);
	pthread_mutex_unlock(&jobs->lock);
}

void jobs_pause_scrub(struct jobs *jobs)
{
	scrubber_pause(jobs->scrubber);
}

void jobs_resume_scrub(struct jobs *jobs)
{
	scrubber_resume(jobs->scrubber);
}

json_t *jobs_status(struct jobs *jobs)
{
	pthread_mutex_lock(&jobs->lock);
	struct gc_progress progress = jobs->progress;
	bool collecting = jobs->collecting;
	pthread_mutex_unlock(&jobs->lock);
	return json_pack("{s:b, s:s, s:I, s:I, s:I, s:I, s:I}", "running", collecting, "phase",
	                 progress.phase ? progress.phase : "", "done", (json_int_t)progress.done, "total",
	                 (json_int_t)progress.total, "versions", (json_int_t)progress.versions, "chunks",
	                 (json_int_t)progress.chunks, "bytes", (json_int_t)progress.bytes);
}
