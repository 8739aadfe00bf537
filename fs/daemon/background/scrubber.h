/*
 * Scrubs by the schedule (corpusfs scrub schedule), on a thread of its own and at the pacer's pace. What was begun goes on when the daemon is
 * started again. An operation that wants to scrub by itself pauses it. Threads: any.
 */
#ifndef CORPUSFS_DAEMON_BACKGROUND_SCRUBBER_H
#define CORPUSFS_DAEMON_BACKGROUND_SCRUBBER_H

#include "fs/daemon/background/pacer.h"
#include "fs/daemon/process/log.h"
#include "lib/store/store.h"

struct scrubber;

WARN_UNUSED int scrubber_start(struct store *store, struct pacer *pacer, struct log *log, struct scrubber **ret_scrubber);
void scrubber_free(struct scrubber *scrubber); /* after pacer_stop; NULL is fine */

void scrubber_pause(struct scrubber *scrubber); /* returns when it does nothing; counts */
void scrubber_resume(struct scrubber *scrubber);

#endif
