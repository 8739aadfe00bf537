#include "lib/base/pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>

#include <utlist.h>

#include "lib/base/buf.h"

/* Lives on the stack of its pool_run(). Guarded by the pool's mutex, but for fn and arg, which never change. */
struct job {
	void (*fn)(void *arg, size_t index);
	void *arg;
	size_t count;
	size_t next; /* first step nobody has taken */
	size_t done; /* steps that have returned */
	pthread_cond_t finished;
	struct job *prev_job, *next_job;
};

struct pool {
	pthread_mutex_t mutex; /* guards jobs, their counters, and stopping */
	pthread_cond_t work;   /* jobs got a job with free steps, or stopping was set */
	struct job *jobs;      /* those with steps that nobody has taken yet */
	bool stopping;
	unsigned thread_count;
	pthread_t *threads;
};

/* Takes one step of the job and runs it; the mutex is held on entry and return, but not while the step runs. */
static void run_step(struct pool *pool, struct job *job)
{
	size_t index = job->next++;

	if (job->next == job->count)
		DL_DELETE2(pool->jobs, job, prev_job, next_job);
	pthread_mutex_unlock(&pool->mutex);
	job->fn(job->arg, index);
	pthread_mutex_lock(&pool->mutex);
	if (++job->done == job->count)
		pthread_cond_signal(&job->finished);
}

static void *worker(void *arg)
{
	struct pool *pool = arg;

	pthread_mutex_lock(&pool->mutex);
	for (;;) {
		while (!pool->jobs && !pool->stopping)
			pthread_cond_wait(&pool->work, &pool->mutex);
		if (!pool->jobs)
			break;
		/* The oldest job moves to the end, so that jobs that run at once share the threads evenly. */
		struct job *job = pool->jobs;
		DL_DELETE2(pool->jobs, job, prev_job, next_job);
		DL_APPEND2(pool->jobs, job, prev_job, next_job);
		run_step(pool, job);
	}
	pthread_mutex_unlock(&pool->mutex);
	return NULL;
}

struct pool *pool_new(unsigned threads)
{
	struct pool *pool = xcalloc(1, sizeof(*pool));
	sigset_t all, before;

	pthread_mutex_init(&pool->mutex, NULL);
	pthread_cond_init(&pool->work, NULL);
	pool->threads = xcalloc(threads, sizeof(*pool->threads));
	/* Signals belong to the program's own threads. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (unsigned i = 0; i < threads; i++) {
		/* Fewer threads than asked for only make it slower: callers run what nobody else takes. */
		if (pthread_create(&pool->threads[pool->thread_count], NULL, worker, pool) != 0)
			break;
		pool->thread_count++;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return pool;
}

void pool_free(struct pool *pool)
{
	if (!pool)
		return;
	pthread_mutex_lock(&pool->mutex);
	pool->stopping = true;
	pthread_cond_broadcast(&pool->work);
	pthread_mutex_unlock(&pool->mutex);
	for (unsigned i = 0; i < pool->thread_count; i++)
		pthread_join(pool->threads[i], NULL);
	pthread_cond_destroy(&pool->work);
	pthread_mutex_destroy(&pool->mutex);
	free(pool->threads);
	free(pool);
}

unsigned pool_width(const struct pool *pool)
{
	return pool->thread_count + 1;
}

void pool_run(struct pool *pool, void (*fn)(void *arg, size_t index), void *arg, size_t count)
{
	struct job job = {.fn = fn, .arg = arg, .count = count};

	if (count == 0)
		return;
	if (count == 1 || pool->thread_count == 0) {
		for (size_t i = 0; i < count; i++)
			fn(arg, i);
		return;
	}
	pthread_cond_init(&job.finished, NULL);
	pthread_mutex_lock(&pool->mutex);
	DL_APPEND2(pool->jobs, &job, prev_job, next_job);
	pthread_cond_broadcast(&pool->work);
	while (job.next < job.count)
		run_step(pool, &job);
	while (job.done < job.count)
		pthread_cond_wait(&job.finished, &pool->mutex);
	pthread_mutex_unlock(&pool->mutex);
	pthread_cond_destroy(&job.finished);
}
