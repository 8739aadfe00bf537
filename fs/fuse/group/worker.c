#include "fs/fuse/group/worker.h"

#include <pthread.h>
#include <utlist.h>

#include "fs/fuse/group/mount_group.h"
#include "lib/base/buf.h"
#include "lib/base/clock.h"

#define PUT_OFF_MS 5

struct job {
	struct mount *mount; /* a reference */
	uint64_t request;
	void (*run)(void *arg);
	void *arg;
	uint64_t due_ms; /* not before; 0: at once */
	struct job *prev, *next;
};

struct worker {
	enum session_place place;
	pthread_t thread;
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t changed;
	struct job *jobs;
	const struct mount *running; /* whose job runs */
	bool leave;
};

static void job_run(const struct worker *worker, struct job *job)
{
	_Atomic uint64_t *running = job->request ? &job->mount->kept->running[worker->place] : NULL;

	/* if the daemon dies meanwhile, it may have died of this request */
	if (running)
		atomic_store(running, job->request);
	job->run(job->arg);
	if (running)
		atomic_store(running, 0);
	mount_put(job->mount);
	free(job);
}

/* The first that is due; NULL: none is, *ret_ms is when one will be. 0: there is none. Caller holds the lock. */
static struct job *due(const struct worker *worker, uint64_t *ret_ms)
{
	const uint64_t now_ms = worker->jobs ? clock_ms() : 0;
	struct job *job;

	*ret_ms = 0;
	DL_FOREACH (worker->jobs, job) {
		if (job->due_ms <= now_ms)
			return job;
		if (!*ret_ms || job->due_ms < *ret_ms)
			*ret_ms = job->due_ms;
	}
	return NULL;
}

static void wait_for_change(struct worker *worker, uint64_t until_ms)
{
	if (until_ms) {
		const struct timespec until = {.tv_sec = (time_t)(until_ms / 1000), .tv_nsec = (long)(until_ms % 1000) * 1000000};

		pthread_cond_clockwait(&worker->changed, &worker->lock, CLOCK_MONOTONIC, &until);
	} else {
		pthread_cond_wait(&worker->changed, &worker->lock);
	}
}

static void *worker_main(void *arg)
{
	struct worker *worker = arg;

	pthread_mutex_lock(&worker->lock);
	for (;;) {
		uint64_t due_ms;
		struct job *job = due(worker, &due_ms);

		if (!worker->jobs && worker->leave)
			break;
		if (!job) {
			wait_for_change(worker, due_ms);
			continue;
		}
		DL_DELETE(worker->jobs, job);
		worker->running = job->mount;
		pthread_mutex_unlock(&worker->lock);
		job_run(worker, job);
		pthread_mutex_lock(&worker->lock);
		worker->running = NULL;
		pthread_cond_broadcast(&worker->changed);
	}
	pthread_mutex_unlock(&worker->lock);
	return NULL;
}

static void free_unstarted(struct worker *worker)
{
	pthread_cond_destroy(&worker->changed);
	pthread_mutex_destroy(&worker->lock);
	free(worker);
}

struct worker *worker_new(enum session_place place)
{
	struct worker *worker = xcalloc(1, sizeof(*worker));

	worker->place = place;
	pthread_mutex_init(&worker->lock, NULL);
	pthread_cond_init(&worker->changed, NULL);
	if (pthread_create(&worker->thread, NULL, worker_main, worker) == 0)
		return worker;
	free_unstarted(worker);
	return NULL;
}

void worker_free(struct worker *worker)
{
	if (!worker)
		return;
	pthread_mutex_lock(&worker->lock);
	worker->leave = true;
	pthread_cond_broadcast(&worker->changed);
	pthread_mutex_unlock(&worker->lock);
	pthread_join(worker->thread, NULL);
	free_unstarted(worker);
}

static void add(struct worker *worker, const struct job *job)
{
	struct job *added = xmalloc(sizeof(*added));

	*added = *job;
	mount_get(added->mount);
	pthread_mutex_lock(&worker->lock);
	DL_APPEND(worker->jobs, added);
	pthread_cond_broadcast(&worker->changed);
	pthread_mutex_unlock(&worker->lock);
}

void worker_add(struct worker *worker, struct mount *mount, uint64_t request, void (*run)(void *arg), void *arg)
{
	add(worker, &(struct job){.mount = mount, .request = request, .run = run, .arg = arg});
}

bool worker_put_off(struct worker *worker, struct mount *mount, uint64_t request, void (*run)(void *arg), void *arg, uint64_t until_ms)
{
	const uint64_t now_ms = clock_ms();

	if (now_ms < until_ms)
		add(worker, &(struct job){.mount = mount, .request = request, .run = run, .arg = arg, .due_ms = now_ms + PUT_OFF_MS});
	return now_ms < until_ms;
}

/* Caller holds the lock. */
static bool has_job(const struct worker *worker, const struct mount *mount)
{
	const struct job *job;

	DL_FOREACH (worker->jobs, job) {
		if (job->mount == mount)
			return true;
	}
	return worker->running == mount;
}

void worker_drain(struct worker *worker, const struct mount *mount)
{
	pthread_mutex_lock(&worker->lock);
	while (has_job(worker, mount))
		pthread_cond_wait(&worker->changed, &worker->lock);
	pthread_mutex_unlock(&worker->lock);
}
