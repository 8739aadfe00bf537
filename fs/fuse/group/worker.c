#include "fs/fuse/group/worker.h"

#include <pthread.h>
#include <stdbool.h>
#include <utlist.h>

#include "fs/fuse/group/mount_group.h"
#include "lib/base/buf.h"

struct job {
	struct mount *mount; /* a reference */
	uint64_t request;
	void (*run)(void *arg);
	void *arg;
	struct job *prev, *next;
};

struct worker {
	enum session_place place;
	pthread_t thread;
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t changed;
	struct job *jobs;
	bool running, leave;
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

static void *worker_main(void *arg)
{
	struct worker *worker = arg;

	pthread_mutex_lock(&worker->lock);
	for (;;) {
		struct job *job = worker->jobs;

		if (!job && worker->leave)
			break;
		if (!job) {
			pthread_cond_wait(&worker->changed, &worker->lock);
			continue;
		}
		DL_DELETE(worker->jobs, job);
		worker->running = true;
		pthread_mutex_unlock(&worker->lock);
		job_run(worker, job);
		pthread_mutex_lock(&worker->lock);
		worker->running = false;
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

void worker_add(struct worker *worker, struct mount *mount, uint64_t request, void (*run)(void *arg), void *arg)
{
	struct job *job = xcalloc(1, sizeof(*job));

	mount_get(mount);
	*job = (struct job){.mount = mount, .request = request, .run = run, .arg = arg};
	pthread_mutex_lock(&worker->lock);
	DL_APPEND(worker->jobs, job);
	pthread_cond_broadcast(&worker->changed);
	pthread_mutex_unlock(&worker->lock);
}

void worker_drain(struct worker *worker)
{
	pthread_mutex_lock(&worker->lock);
	while (worker->jobs || worker->running)
		pthread_cond_wait(&worker->changed, &worker->lock);
	pthread_mutex_unlock(&worker->lock);
}
