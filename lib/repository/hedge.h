/*
 * When a request is sent a second time beside the first, because its answer is late: a few servers of many are slow at any time, and who reads waits for the
 * slowest of all that he needs (J. Dean, L. Barroso, "The Tail at Scale", CACM 2013). Late is what nothing came of for twice as long as 95 of 100
 * answers took to begin. Of sixteen requests one may be sent again, so that a place that is slow as a whole is not asked twice for everything.
 *
 * Threads: any.
 */
#ifndef CORPUSFS_REPOSITORY_HEDGE_H
#define CORPUSFS_REPOSITORY_HEDGE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define HEDGE_TIMES 32
#define HEDGE_KNOWN 32          /* answers, from which on it is known how long they take */
#define HEDGE_UNKNOWN_MS 2000   /* late until then */
#define HEDGE_LEAST_MS 100      /* nothing is late before */
#define HEDGE_SHARE 16          /* of so many one may be sent again, */
#define HEDGE_FIRST 2           /* and so many of the first */

struct hedge {
	pthread_mutex_t lock; /* guards what follows */
	uint64_t requests, again;
	uint64_t answers, by_time[HEDGE_TIMES]; /* that took less than 2^i ms to begin, but not less than half of that */
};

void hedge_init(struct hedge *hedge);
void hedge_clear(struct hedge *hedge);

/* A request is sent; returns after how many milliseconds without a byte it is late. */
uint64_t hedge_begin(struct hedge *hedge);
void hedge_answered(struct hedge *hedge, uint64_t ms); /* its answer began after so long */
bool hedge_may(struct hedge *hedge);                   /* true: the caller sends one a second time, which counts */

#endif
