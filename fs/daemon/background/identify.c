#include "fs/daemon/background/identify.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/identity/identity.h"

#define LOOK_EVERY_MS 500
#define RETRY_AFTER_MS 60000
#define LOAD_WINDOW_MS 250
#define BUSY_PER_SECOND 50 /* requests served by the mounts */
#define PACE_BUSY 9        /* time slept for time worked */
#define PACE_IDLE 1
#define SLEEP_MAX_MS 1000

struct identify {
	struct store *store;
	struct mounts *mounts;
	struct log *log;
	pthread_t thread;

	/* the thread's own */
	uint64_t worked_from_ms, load_ms, load_requests;
	bool busy;

	pthread_mutex_t lock; /* guards stop */
	pthread_cond_t change;
	bool stop;
};

/* True: it is time to end. */
static bool sleep_ms(struct identify *identify, uint64_t ms)
{
	struct timespec until = clock_after_ms(ms);

	pthread_mutex_lock(&identify->lock);
	while (!identify->stop && pthread_cond_clockwait(&identify->change, &identify->lock, CLOCK_MONOTONIC, &until) == 0)
		;
	bool stop = identify->stop;
	pthread_mutex_unlock(&identify->lock);
	return stop;
}

static void measure_load(struct identify *identify)
{
	uint64_t now = clock_ms(), requests, passed = now - identify->load_ms;

	if (passed < LOAD_WINDOW_MS)
		return;
	requests = mounts_requests(identify->mounts);
	/* The sum falls when a mount goes. */
	identify->busy = requests > identify->load_requests && (requests - identify->load_requests) * 1000 / passed > BUSY_PER_SECOND;
	identify->load_requests = requests;
	identify->load_ms = now;
}

static bool pace(void *arg)
{
	struct identify *identify = arg;
	uint64_t worked_ms = clock_ms() - identify->worked_from_ms;

	measure_load(identify);
	bool stop = sleep_ms(identify, MIN(worked_ms * (identify->busy ? PACE_BUSY : PACE_IDLE), (uint64_t)SLEEP_MAX_MS));
	identify->worked_from_ms = clock_ms();
	return stop;
}

static void *identify_main(void *arg)
{
	struct identify *identify = arg;
	uint64_t wait_ms = LOOK_EVERY_MS;

	while (!sleep_ms(identify, wait_ms)) {
		identify->worked_from_ms = clock_ms();
		int result = identity_step(identify->store, pace, identify);
		wait_ms = result > 0 ? 0 : LOOK_EVERY_MS;
		if (result < 0 && result != -ECANCELED) {
			log_line(identify->log, "warning", "identity", "text=\"%s\"", strerror(-result));
			wait_ms = RETRY_AFTER_MS;
		}
	}
	return NULL;
}

static void identify_free(struct identify *identify)
{
	pthread_cond_destroy(&identify->change);
	pthread_mutex_destroy(&identify->lock);
	free(identify);
}

int identify_start(struct store *store, struct mounts *mounts, struct log *log, struct identify **ret_identify)
{
	struct identify *identify = xcalloc(1, sizeof(*identify));

	identify->store = store;
	identify->mounts = mounts;
	identify->log = log;
	pthread_mutex_init(&identify->lock, NULL);
	pthread_cond_init(&identify->change, NULL);
	int result = -pthread_create(&identify->thread, NULL, identify_main, identify);
	if (result < 0) {
		identify_free(identify);
		return result;
	}
	*ret_identify = identify;
	return 0;
}

void identify_stop(struct identify *identify)
{
	if (!identify)
		return;
	pthread_mutex_lock(&identify->lock);
	identify->stop = true;
	pthread_cond_broadcast(&identify->change);
	pthread_mutex_unlock(&identify->lock);
	pthread_join(identify->thread, NULL);
	identify_free(identify);
}
