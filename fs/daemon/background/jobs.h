/*
 * What the daemon does by itself: on one thread the collector when it has work, and the schedules of snapshots and backups; on a second one the
 * identities of snapshots; on a third one scrubs by the schedule. All work at the pace of one pacer.
 *
 * An operation that wants to collect by itself pauses the first thread. Threads: any.
 */
#ifndef CORPUSFS_DAEMON_BACKGROUND_JOBS_H
#define CORPUSFS_DAEMON_BACKGROUND_JOBS_H

#include <jansson.h>

#include "fs/daemon/process/log.h"
#include "fs/daemon/process/mounts.h"
#include "lib/store/store.h"

struct jobs;

WARN_UNUSED int jobs_start(struct store *store, struct mounts *mounts, struct log *log, struct jobs **ret_jobs);
void jobs_stop(struct jobs *jobs); /* ends what runs, and frees; NULL is fine */

void jobs_pause(struct jobs *jobs); /* returns when nothing runs; counts */
void jobs_resume(struct jobs *jobs);

void jobs_pause_scrub(struct jobs *jobs); /* the same for scrubs by the schedule */
void jobs_resume_scrub(struct jobs *jobs);

json_t *jobs_status(struct jobs *jobs); /* {running, phase, done, total, versions, chunks, bytes} */

#endif
