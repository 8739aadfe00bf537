/*
 * Whether an operation goes on, for a command that hears nothing of it: its thread has used the processor, or the process has written, as the
 * threads do that it waits for. What others have written meanwhile counts, too: better a sign too many than a command that gives up too early.
 */
#ifndef CORPUSFS_DAEMON_CONTROL_SIGNS_H
#define CORPUSFS_DAEMON_CONTROL_SIGNS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct signs {
	clockid_t clock; /* of the thread */
	uint64_t used_ns, written;
};

void signs_begin(struct signs *signs);  /* in the operation's thread */
bool signs_of_life(struct signs *signs); /* since it began, or since this was true last. Any thread, while the other one lives */

#endif
