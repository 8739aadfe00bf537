/*
 * Whether an operation goes on, for a command that hears nothing of it: its thread has used the processor; or the process has, or has read and
 * written, as the threads do that it waits for; or bytes came or went over the network for it. What a daemon does that rests is no sign: its
 * lock beats (lib/store/lock.c). What others have the daemon do counts: better a sign too many than a command that gives up too early.
 */
#ifndef CORPUSFS_DAEMON_CONTROL_SIGNS_H
#define CORPUSFS_DAEMON_CONTROL_SIGNS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* What was used: as it stood when somebody looked, and how much more than who rests had used by then. */
struct sign {
	uint64_t at, more;
};

struct signs {
	clockid_t clock; /* of the thread */
	uint64_t looked_ms, net_bytes;
	struct sign thread, process, bytes;
};

/* In the operation's thread. Times are clock_ms(); net_bytes: what has come and gone over the network so far. */
void signs_begin(struct signs *signs, uint64_t now_ms, uint64_t net_bytes);
/* Since it began, or since this was true last. Any thread, while the other one lives. */
bool signs_of_life(struct signs *signs, uint64_t now_ms, uint64_t net_bytes);

#endif
