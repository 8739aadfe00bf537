#include "fs/daemon/background/pacer.h"

#include <errno.h>
#include <pthread.h>
#include <utlist.h>

#include "lib/base/buf.h"
#include "lib/base/clock.h"

#define LOAD_WINDOW_MS 250
#define BUSY_PER_SECOND 50 /* requests answered by the mounts */
#define SLEEP_BUSY 9       /* time slept for time worked */
#define SLEEP_IDLE 1
#define SLEEP_MAX_MS 1000

struct pacer {
	uint64_t (*requests)(void *arg);
	void *arg;

	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t change;
	struct pacer_loop *loops;
	struct pacer_load load;
	unsigned working;
	bool stopped;
};

void pacer_load_note(struct pacer_load *load, uint64_t now_ms, uint64_t requests)
{
	const uint64_t passed = now_ms - load->since_ms;

	/* another loop may have been first */
	if (now_ms < load->since_ms + LOAD_WINDOW_MS)
		return;
	/* The sum falls when a mount goes. */
	load->busy = requests > load->requests && (requests - load->requests) * 1000 / passed > BUSY_PER_SECOND;
	load->requests = requests;
	load->since_ms = now_ms;
}

uint64_t pacer_sleep_ms(const struct pacer_load *load, unsigned loops, uint64_t worked_ms)
{
	return MIN(worked_ms * loops * (load->busy ? SLEEP_BUSY : SLEEP_IDLE), (uint64_t)SLEEP_MAX_MS * loops);
}

struct pacer *pacer_new(uint64_t (*requests)(void *arg), void *arg)
{
	struct pacer *pacer = xcalloc(1, sizeof(*pacer));

	*pacer = (struct pacer){.requests = requests, .arg = arg};
	pthread_mutex_init(&pacer->lock, NULL);
	pthread_cond_init(&pacer->change, NULL);
	return pacer;
}

/* Caller holds the lock. */
static void tell(struct pacer *pacer, struct pacer_loop *loop)
{
	atomic_store(&loop->cancelled, loop->holds > 0 || pacer->stopped);
	pthread_cond_broadcast(&pacer->change);
}

void pacer_stop(struct pacer *pacer)
{
	struct pacer_loop *loop;

	pthread_mutex_lock(&pacer->lock);
	pacer->stopped = true;
	DL_FOREACH (pacer->loops, loop)
		tell(pacer, loop);
	pthread_mutex_unlock(&pacer->lock);
}

void pacer_free(struct pacer *pacer)
{
	if (!pacer)
		return;
	pthread_cond_destroy(&pacer->change);
	pthread_mutex_destroy(&pacer->lock);
	free(pacer);
}

void pacer_join(struct pacer *pacer, struct pacer_loop *loop)
{
	*loop = (struct pacer_loop){.pacer = pacer};
	pthread_mutex_lock(&pacer->lock);
	DL_APPEND(pacer->loops, loop);
	tell(pacer, loop);
	pthread_mutex_unlock(&pacer->lock);
}

void pacer_leave(struct pacer_loop *loop)
{
	struct pacer *pacer = loop->pacer;

	pthread_mutex_lock(&pacer->lock);
	DL_DELETE(pacer->loops, loop);
	pthread_mutex_unlock(&pacer->lock);
}

static void add_holds(struct pacer_loop *loop, int change)
{
	struct pacer *pacer = loop->pacer;

	pthread_mutex_lock(&pacer->lock);
	loop->holds += (unsigned)change;
	tell(pacer, loop);
	pthread_mutex_unlock(&pacer->lock);
}

void pacer_hold(struct pacer_loop *loop)
{
	add_holds(loop, 1);
}

void pacer_release(struct pacer_loop *loop)
{
	add_holds(loop, -1);
}

bool pacer_rest(struct pacer_loop *loop, uint64_t ms)
{
	struct pacer *pacer = loop->pacer;
	const struct timespec until = clock_after_ms(ms);
	bool cancelled;

	pthread_mutex_lock(&pacer->lock);
	while (!(cancelled = atomic_load(&loop->cancelled)) &&
	       pthread_cond_clockwait(&pacer->change, &pacer->lock, CLOCK_MONOTONIC, &until) == 0)
		;
	pthread_mutex_unlock(&pacer->lock);
	return !cancelled;
}

void pacer_begin(struct pacer_loop *loop)
{
	struct pacer *pacer = loop->pacer;

	pthread_mutex_lock(&pacer->lock);
	pacer->working++;
	pthread_mutex_unlock(&pacer->lock);
	loop->worked_from_us = clock_us();
}

/* Not under the lock: whoever counts the requests has locks of his own. */
static void measure_load(struct pacer *pacer)
{
	const uint64_t now_ms = clock_ms();
	uint64_t requests;
	bool due;

	pthread_mutex_lock(&pacer->lock);
	due = now_ms - pacer->load.since_ms >= LOAD_WINDOW_MS;
	pthread_mutex_unlock(&pacer->lock);
	if (!due)
		return;
	requests = pacer->requests(pacer->arg);
	pthread_mutex_lock(&pacer->lock);
	pacer_load_note(&pacer->load, now_ms, requests);
	pthread_mutex_unlock(&pacer->lock);
}

int pacer_step(struct pacer_loop *loop)
{
	struct pacer *pacer = loop->pacer;
	const uint64_t worked_ms = (clock_us() - loop->worked_from_us) / 1000;
	uint64_t sleep_ms;

	measure_load(pacer);
	pthread_mutex_lock(&pacer->lock);
	sleep_ms = pacer_sleep_ms(&pacer->load, pacer->working, worked_ms);
	pthread_mutex_unlock(&pacer->lock);
	if (sleep_ms == 0)
		return atomic_load(&loop->cancelled) ? -ECANCELED : 0;
	if (!pacer_rest(loop, sleep_ms))
		return -ECANCELED;
	loop->worked_from_us = clock_us();
	return 0;
}

void pacer_end(struct pacer_loop *loop)
{
	struct pacer *pacer = loop->pacer;

	pthread_mutex_lock(&pacer->lock);
	pacer->working--;
	pthread_mutex_unlock(&pacer->lock);
}
