/*
 * Requests that may have to wait: each runs in one of several threads, and is answered there; and what nobody waits for. Internal to
 * fs/fuse/backups.
 *
 * Threads: any.
 */
#ifndef CORPUSFS_FUSE_BACKUPS_BACKUPS_JOBS_H
#define CORPUSFS_FUSE_BACKUPS_BACKUPS_JOBS_H

#include <fuse_lowlevel.h>

#include <stdbool.h>

#include "lib/base/clean.h"

struct backups_jobs;
struct browse;

struct backups_job {
	/* Answers the request: 0. Or -EAGAIN, if it may not wait and would have to. */
	int (*run)(const struct backups_job *job, bool may_wait);
	fuse_req_t req;
	struct browse *browse; /* of a job that answers no request; else NULL */
	fuse_ino_t id;
	size_t size;
	off_t offset;
	char *name; /* owned, or NULL */
	bool brings; /* it fills the cache */
};

/* `places`: how many may wait for a thread. NULL: no thread could be started. */
struct backups_jobs *backups_jobs_new(unsigned threads, size_t places);
void backups_jobs_free(struct backups_jobs *jobs); /* runs what is left first; NULL is fine */
void backups_jobs_add(struct backups_jobs *jobs, const struct backups_job *job); /* takes over the name; waits for a place */
void backups_jobs_try(struct backups_jobs *jobs, const struct backups_job *job); /* without a place: not at all. Has no name */

#endif
