#include "fs/daemon/background/jobs.h"

#include <errno.h>
#include <string.h>

#include "fs/daemon/background/identify.h"
#include "lib/base/clock.h"
#include "lib/reclaim/gc.h"
#include "lib/kv/kv.h"
#include "lib/ops/ops.h"

#define LOOK_EVERY_MS 1000
#define RETRY_AFTER_MS 60000
#define LOAD_WINDOW_MS 250
#define BUSY_PER_SECOND 50 /* requests served by the mounts */
#define PACE_BUSY 9        /* time slept for time worked */
#define PACE_IDLE 1
#define SLEEP_MAX_MS 1000

/* Operations that are run now and then, if the table has them. */
static const struct {
	const char *op;
	unsigned every_ms;
} periodic[] = {{"snapshot.tick", 60000}};

struct jobs {
	struct store *store;
	struct mounts *mounts;
	struct log *log;
	struct identify *identify;
	pthread_t thread;
	atomic_bool interrupted; /* stop or pause: what runs ends early */

	/* the thread's own */
	uint64_t gc_after_ms, worked_from_us;
	uint64_t due_ms[ARRAY_SIZE(periodic)];
	uint64_t load_ms, load_requests;
	bool busy, stopped;

	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t change;
	struct gc_progress progress;
	unsigned paused;
	bool running, collecting, stop;
};

static void sleep_ms(struct jobs *jobs, uint64_t ms)
{
	struct timespec until = clock_after_ms(ms);

	pthread_mutex_lock(&jobs->lock);
	while (!atomic_load(&jobs->interrupted) && pthread_cond_timedwait(&jobs->change, &jobs->lock, &until) == 0)
		;
	pthread_mutex_unlock(&jobs->lock);
}

static void measure_load(struct jobs *jobs)
{
	uint64_t now = clock_ms(), requests, passed = now - jobs->load_ms;

	if (passed < LOAD_WINDOW_MS)
		return;
	requests = mounts_requests(jobs->mounts);
	/* The sum falls when a mount goes. */
	jobs->busy = requests > jobs->load_requests && (requests - jobs->load_requests) * 1000 / passed > BUSY_PER_SECOND;
	jobs->load_requests = requests;
	jobs->load_ms = now;
}

static int gc_step(void *arg, const struct gc_progress *progress)
{
	struct jobs *jobs = arg;
	uint64_t worked_ms = (clock_us() - jobs->worked_from_us) / 1000;

	pthread_mutex_lock(&jobs->lock);
	jobs->progress = *progress;
	pthread_mutex_unlock(&jobs->lock);
	measure_load(jobs);
	if (worked_ms > 0) {
		sleep_ms(jobs, MIN(worked_ms * (jobs->busy ? PACE_BUSY : PACE_IDLE), (uint64_t)SLEEP_MAX_MS));
		jobs->worked_from_us = clock_us();
	}
	return atomic_load(&jobs->interrupted) ? -ECANCELED : 0;
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
	jobs->worked_from_us = clock_us();
	result = gc_run(jobs->store, &options, &done, &err);
	pthread_mutex_lock(&jobs->lock);
	jobs->collecting = false;
	jobs->progress = (struct gc_progress){0};
	pthread_mutex_unlock(&jobs->lock);
	if (result == 0) {
		log_line(jobs->log, "info", "gc", "versions=%llu chunks=%llu bytes=%llu", (unsigned long long)done.versions,
		         (unsigned long long)done.chunks, (unsigned long long)done.bytes);
	} else if (result != -ECANCELED) {
		jobs->gc_after_ms = clock_ms() + RETRY_AFTER_MS;
		log_line(jobs->log, "error", "gc", "text=\"%s\"", err.code ? err.text : strerror(-result));
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

static void run_periodic(struct jobs *jobs)
{
	struct op_context context = {.store = jobs->store, .uid = geteuid(), .gid = getegid(), .cancelled = &jobs->interrupted};

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
		if (!store_read_only(jobs->store))
			run_periodic(jobs);
		if (!store_read_only(jobs->store) && clock_ms() >= jobs->gc_after_ms && gc_wanted(jobs->store))
			collect(jobs);
		end_round(jobs);
		sleep_ms(jobs, LOOK_EVERY_MS);
	}
	return NULL;
}

int jobs_start(struct store *store, struct mounts *mounts, struct log *log, struct jobs **ret_jobs)
{
	struct jobs *jobs = xcalloc(1, sizeof(*jobs));
	pthread_condattr_t monotonic;
	int result;

	jobs->store = store;
	jobs->mounts = mounts;
	jobs->log = log;
	pthread_mutex_init(&jobs->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&jobs->change, &monotonic);
	pthread_condattr_destroy(&monotonic);
	result = identify_start(store, mounts, log, &jobs->identify);
	if (result == 0)
		result = -pthread_create(&jobs->thread, NULL, jobs_main, jobs);
	if (result < 0) {
		identify_stop(jobs->identify);
		free(jobs);
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
	atomic_store(&jobs->interrupted, true);
	pthread_cond_broadcast(&jobs->change);
	pthread_mutex_unlock(&jobs->lock);
	pthread_join(jobs->thread, NULL);
	identify_stop(jobs->identify);
	pthread_cond_destroy(&jobs->change);
	pthread_mutex_destroy(&jobs->lock);
	free(jobs);
}

void jobs_pause(struct jobs *jobs)
{
	pthread_mutex_lock(&jobs->lock);
	jobs->paused++;
	atomic_store(&jobs->interrupted, true);
	pthread_cond_broadcast(&jobs->change);
	while (jobs->running)
		pthread_cond_wait(&jobs->change, &jobs->lock);
	pthread_mutex_unlock(&jobs->lock);
}

void jobs_resume(struct jobs *jobs)
{
	pthread_mutex_lock(&jobs->lock);
	jobs->paused--;
	atomic_store(&jobs->interrupted, jobs->stop || jobs->paused > 0);
	pthread_cond_broadcast(&jobs->change);
	pthread_mutex_unlock(&jobs->lock);
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
