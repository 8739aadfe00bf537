#include "fs/fuse/group/worker.h"

#include <pthread.h>
#include <stdbool.h>
#include <utlist.h>

#include "lib/base/buf.h"

struct job {
	void (*run)(void *arg);
	void *arg;
	struct job *prev, *next;
};

struct worker {
	pthread_t thread;
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t changed;
	struct job *jobs;
	bool running, leave;
};

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
		job->run(job->arg);
		free(job);
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

struct worker *worker_new(void)
{
	struct worker *worker = xcalloc(1, sizeof(*worker));

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

void worker_add(struct worker *worker, void (*run)(void *arg), void *arg)
{
	struct job *job = xcalloc(1, sizeof(*job));

	job->run = run;
	job->arg = arg;
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
