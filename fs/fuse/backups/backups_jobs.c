#include "fs/fuse/backups/backups_jobs.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "lib/base/buf.h"
#include "lib/base/queue.h"

struct backups_jobs {
	struct queue *queue;
	pthread_t *threads;
	unsigned count;
};

static void *work(void *arg)
{
	struct backups_jobs *jobs = arg;
	struct backups_job *job;

	while ((job = queue_pop(jobs->queue)) != NULL) {
		/* Who may wait has no reason to give up; but nobody is left without an answer. */
		if (job->run(job, true) == -EAGAIN)
			fuse_reply_err(job->req, EIO);
		free(job->name);
		free(job);
	}
	return NULL;
}

struct backups_jobs *backups_jobs_new(unsigned threads, size_t places)
{
	struct backups_jobs *jobs = xcalloc(1, sizeof(*jobs));

	jobs->queue = queue_new(places);
	jobs->threads = xcalloc(threads, sizeof(*jobs->threads));
	while (jobs->count < threads && pthread_create(&jobs->threads[jobs->count], NULL, work, jobs) == 0)
		jobs->count++;
	if (jobs->count > 0)
		return jobs;
	backups_jobs_free(jobs);
	return NULL;
}

void backups_jobs_free(struct backups_jobs *jobs)
{
	if (!jobs)
		return;
	queue_close(jobs->queue);
	for (unsigned i = 0; i < jobs->count; i++)
		pthread_join(jobs->threads[i], NULL);
	queue_free(jobs->queue);
	free(jobs->threads);
	free(jobs);
}

void backups_jobs_add(struct backups_jobs *jobs, const struct backups_job *job)
{
	struct backups_job *copy = xmalloc(sizeof(*copy));

	*copy = *job;
	queue_push(jobs->queue, copy);
}

void backups_jobs_try(struct backups_jobs *jobs, const struct backups_job *job)
{
	struct backups_job *copy = xmalloc(sizeof(*copy));

	*copy = *job;
	if (!queue_try_push(jobs->queue, copy))
		free(copy);
}
