#include "fs/daemon/background/scrubber.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/verify/scrub.h"

#define LOOK_EVERY_MS 2000
#define RETRY_AFTER_MS 600000

struct scrubber {
	struct store *store;
	struct log *log;
	struct pacer_loop loop;
	pthread_t thread;
	atomic_uint pauses;
	pthread_mutex_t working; /* held while it scrubs */
};

static int step(void *arg, const struct scrub_progress *progress)
{
	struct scrubber *scrubber = arg;

	(void)progress;
	return atomic_load(&scrubber->pauses) ? -ECANCELED : pacer_step(&scrubber->loop);
}

/* How long to wait then. */
static uint64_t scrub(struct scrubber *scrubber)
{
	struct scrub_options options = {.progress = step, .arg = scrubber};
	struct scrub_counts counts;
	struct error err = {0};
	int result;

	pacer_begin(&scrubber->loop);
	result = scrub_run(scrubber->store, &options, &counts, &err);
	pacer_end(&scrubber->loop);
	if (result == 0)
		log_line(scrubber->log, counts.damaged ? "error" : "info", "scrub", "chunks=%llu bytes=%llu damaged=%llu%s",
			 (unsigned long long)counts.chunks, (unsigned long long)counts.bytes, (unsigned long long)counts.damaged,
			 counts.damaged ? " hint=\"corpusfs damage\"" : "");
	else if (result != -ECANCELED && result != -EBUSY)
		log_line(scrubber->log, "error", "scrub", "text=\"%s\"", err.text);
	return result == 0 || result == -ECANCELED || result == -EBUSY ? LOOK_EVERY_MS : RETRY_AFTER_MS;
}

static void *scrubber_main(void *arg)
{
	struct scrubber *scrubber = arg;
	uint64_t wait_ms = LOOK_EVERY_MS;

	while (pacer_rest(&scrubber->loop, wait_ms)) {
		pthread_mutex_lock(&scrubber->working);
		wait_ms = !atomic_load(&scrubber->pauses) && scrub_due(scrubber->store, clock_now().tv_sec) ? scrub(scrubber) : LOOK_EVERY_MS;
		pthread_mutex_unlock(&scrubber->working);
	}
	return NULL;
}

int scrubber_start(struct store *store, struct pacer *pacer, struct log *log, struct scrubber **ret_scrubber)
{
	struct scrubber *scrubber = xcalloc(1, sizeof(*scrubber));
	int result;

	scrubber->store = store;
	scrubber->log = log;
	pthread_mutex_init(&scrubber->working, NULL);
	pacer_join(pacer, &scrubber->loop);
	result = -pthread_create(&scrubber->thread, NULL, scrubber_main, scrubber);
	if (result < 0) {
		pacer_leave(&scrubber->loop);
		pthread_mutex_destroy(&scrubber->working);
		free(scrubber);
		return result;
	}
	*ret_scrubber = scrubber;
	return 0;
}

void scrubber_free(struct scrubber *scrubber)
{
	if (!scrubber)
		return;
	pthread_join(scrubber->thread, NULL);
	pacer_leave(&scrubber->loop);
	pthread_mutex_destroy(&scrubber->working);
	free(scrubber);
}

void scrubber_pause(struct scrubber *scrubber)
{
	atomic_fetch_add(&scrubber->pauses, 1);
	pthread_mutex_lock(&scrubber->working);
	pthread_mutex_unlock(&scrubber->working);
}

void scrubber_resume(struct scrubber *scrubber)
{
	atomic_fetch_sub(&scrubber->pauses, 1);
}
