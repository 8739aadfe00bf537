/*
 * Which of a session's threads wait for requests. The kernel gives requests to waiting threads in turn, so with many of them each request of
 * a single client meets a thread that has slept long, on another processor, with cold caches: a third more time for creating and removing
 * files. So threads beyond those that are needed are parked, and called back as soon as nobody waits for the next request. That is, but for
 * the moment a called thread takes to wake up, one waits or all are at work.
 *
 *   parked <--returned, and long enough two others were waiting-- at work
 *      \--called by one that goes to work and leaves nobody--> waiting
 *
 *   parking_return(parking)            before waiting for the first time, and after each request; may park the caller
 *   wait for a request, then
 *   parking_take(parking)              before working on it
 *   parking_end(parking)               there will be no more requests: nobody stays parked
 *
 * Threads: any.
 */
#ifndef CORPUSFS_FUSE_SESSION_PARKING_H
#define CORPUSFS_FUSE_SESSION_PARKING_H

#include <pthread.h>
#include <stdbool.h>

struct parking {
	pthread_mutex_t lock; /* guards all below; a leaf */
	pthread_cond_t called;
	unsigned waiting; /* for requests, or called to do so */
	unsigned parked, calls;
	unsigned plenty; /* returns in a row, since somebody was missing, that found enough waiting */
	bool ended;
};

void parking_init(struct parking *parking);
void parking_clear(struct parking *parking);
void parking_return(struct parking *parking);
void parking_take(struct parking *parking);
void parking_end(struct parking *parking);

#endif
