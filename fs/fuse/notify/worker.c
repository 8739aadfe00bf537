#include "fs/fuse/notify/worker.h"

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
	struct worker *slow = arg;

	pthread_mutex_lock(&slow->lock);
	for (;;) {
		struct job *job = slow->jobs;

		if (!job && slow->leave)
			break;
		if (!job) {
			pthread_cond_wait(&slow->changed, &slow->lock);
			continue;
		}
		DL_DELETE(slow->jobs, job);
		slow->running = true;
		pthread_mutex_unlock(&slow->lock);
		job->run(job->arg);
		free(job);
		pthread_mutex_lock(&slow->lock);
		slow->running = false;
		pthread_cond_broadcast(&slow->changed);
	}
	pthread_mutex_unlock(&slow->lock);
	return NULL;
}

struct worker *worker_new(void)
{
	struct worker *slow = xcalloc(1, sizeof(*slow));

	pthread_mutex_init(&slow->lock, NULL);
	pthread_cond_init(&slow->changed, NULL);
	if (pthread_create(&slow->thread, NULL, worker_main, slow))
		abort();
	return slow;
}

void worker_free(struct worker *slow)
{
	if (!slow)
		return;
	pthread_mutex_lock(&slow->lock);
	slow->leave = true;
	pthread_cond_broadcast(&slow->changed);
	pthread_mutex_unlock(&slow->lock);
	pthread_join(slow->thread, NULL);
	pthread_cond_destroy(&slow->changed);
	pthread_mutex_destroy(&slow->lock);
	free(slow);
}

void worker_add(struct worker *slow, void (*run)(void *arg), void *arg)
{
	struct job *job = xcalloc(1, sizeof(*job));

	job->run = run;
	job->arg = arg;
	pthread_mutex_lock(&slow->lock);
	DL_APPEND(slow->jobs, job);
	pthread_cond_broadcast(&slow->changed);
	pthread_mutex_unlock(&slow->lock);
}

void worker_drain(struct worker *slow)
{
	pthread_mutex_lock(&slow->lock);
	while (slow->jobs || slow->running)
		pthread_cond_wait(&slow->changed, &slow->lock);
	pthread_mutex_unlock(&slow->lock);
}
