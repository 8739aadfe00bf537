/*
 * When a request is sent a second time beside the first, because its answer is late: a few servers of many are slow at any time, and who reads waits for the
 * slowest of all that he needs (J. Dean, L. Barroso, "The Tail at Scale", CACM 2013). Late is what nothing came of for twice as long as 95 of 100
 * answers took to begin.
 *
 * Each answer lets a twentieth of a request be sent again, so that a place that is slow as a whole is not asked twice for everything, and one that does not
 * answer not at all. What was not used is not saved up for long, and old answers count less and less: after a calm or a slow hour, what is late and how much
 * may be sent again follows from what came since.
 *
 * Threads: any.
 */
#ifndef CORPUSFS_REPOSITORY_HEDGE_H
#define CORPUSFS_REPOSITORY_HEDGE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define HEDGE_TIMES 32
#define HEDGE_KNOWN 32             /* answers, from which on it is known how long they take */
#define HEDGE_RECENT 1024          /* when there are so many, each counts half from then on */
#define HEDGE_UNKNOWN_MS 2000      /* late until HEDGE_KNOWN */
#define HEDGE_LEAST_MS 100         /* nothing is late before */
#define HEDGE_SHARE 20             /* for so many answers one may be sent again: 5% more, as they propose, */
#define HEDGE_SAVED 4              /* and so many without any; no more are saved up */
#define HEDGE_BYTES_MAX (8U << 20) /* what is longer is not asked for twice, since both stand in memory: HEDGE_SAVED times this when nobody answers */

struct hedge {
	pthread_mutex_t lock; /* guards what follows */
	uint64_t credit;      /* in answers: HEDGE_SHARE let one be sent again */
	uint64_t again;       /* so many were */
	uint64_t answers, by_time[HEDGE_TIMES]; /* that took less than 2^i ms to begin, but not less than half of that */
};

void hedge_init(struct hedge *hedge);
void hedge_clear(struct hedge *hedge);

uint64_t hedge_late_ms(struct hedge *hedge);           /* after so long without a byte, a request that is sent now is late */
void hedge_answered(struct hedge *hedge, uint64_t ms); /* an answer began after so long, or would have begun later */
bool hedge_may(struct hedge *hedge);                   /* true: the caller sends one a second time, which counts */
uint64_t hedge_count(struct hedge *hedge);             /* so many were */

#endif
