/*
 * The pace of all that works in the background. A loop that works in the background works for a moment and then sleeps: as long as it has
 * worked, and nine times as long while the mounts are busy. Loops that work at the same time share that: two sleep twice as long. So
 * readers meet background work on a tenth of one processor, however many loops there are.
 *
 *   pacer = pacer_new(requests, arg)        how many requests the mounts have answered so far
 *   pacer_join(pacer, &loop)
 *     pacer_rest(&loop, ms)                 nothing to do for so long; false: the loop is to end what it does
 *     pacer_begin(&loop)                    work begins
 *       pacer_step(&loop)                   now and then within it; sleeps. -ECANCELED: the work is to end
 *     pacer_end(&loop)
 *   pacer_leave(&loop)
 *   pacer_stop(pacer)                       all loops are to end, and those that sleep wake up
 *   pacer_free(pacer)                       when all have left
 *
 * Threads: any; a loop is one thread's, but for pacer_hold and pacer_release.
 */
#ifndef CORPUSFS_DAEMON_BACKGROUND_PACER_H
#define CORPUSFS_DAEMON_BACKGROUND_PACER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/base/clean.h"

struct pacer;

struct pacer_loop {
	struct pacer *pacer;
	struct pacer_loop *prev, *next; /* the pacer's; its lock */
	uint64_t worked_from_us;
	unsigned holds;        /* of pacer_hold; the pacer's lock */
	atomic_bool cancelled; /* held, or the pacer has stopped; for an operation's context too */
};

struct pacer *pacer_new(uint64_t (*requests)(void *arg), void *arg);
void pacer_stop(struct pacer *pacer);
void pacer_free(struct pacer *pacer); /* NULL is fine */

void pacer_join(struct pacer *pacer, struct pacer_loop *loop);
void pacer_leave(struct pacer_loop *loop);
/* Any thread: the loop is to end what it does, and gets no further until as many have released it as have held it. */
void pacer_hold(struct pacer_loop *loop);
void pacer_release(struct pacer_loop *loop);

bool pacer_rest(struct pacer_loop *loop, uint64_t ms);
void pacer_begin(struct pacer_loop *loop);
WARN_UNUSED int pacer_step(struct pacer_loop *loop);
void pacer_end(struct pacer_loop *loop);

/* How many requests are how much; the pacer asks it as it goes. */
struct pacer_load {
	uint64_t since_ms, requests;
	bool busy;
};
void pacer_load_note(struct pacer_load *load, uint64_t now_ms, uint64_t requests);
/* For how long one of `loops` loops that work sleeps after it has worked for so long. */
uint64_t pacer_sleep_ms(const struct pacer_load *load, unsigned loops, uint64_t worked_ms);

#endif
