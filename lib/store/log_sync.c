#include "lib/store/log_sync.h"

#include <stdbool.h>

#include "lib/base/buf.h"
#include "lib/base/clock.h"

#define STEP_MS 250

struct log_sync {
	struct kv *kv;
	pthread_t thread;
	pthread_mutex_t mutex; /* guards `stop` */
	pthread_cond_t change;
	bool stop;
};

/* False when it is time to stop. */
static bool wait_step(struct log_sync *sync)
{
	struct timespec until = clock_after_ms(STEP_MS);
	int waited = 0;

	pthread_mutex_lock(&sync->mutex);
	while (!sync->stop && waited == 0)
		waited = pthread_cond_clockwait(&sync->change, &sync->mutex, CLOCK_MONOTONIC, &until);
	bool stop = sync->stop;
	pthread_mutex_unlock(&sync->mutex);
	return !stop;
}

static void *sync_main(void *arg)
{
	struct log_sync *sync = arg;

	for (unsigned step = 1; wait_step(sync); step++) {
		int ignored = 0;
		if (kv_unsynced_ms(sync->kv) + STEP_MS > LOG_SYNC_MS)
			ignored = kv_sync(sync->kv);
		if (step % (LOG_SYNC_MS / STEP_MS) == 0) {
			ignored = kv_keep_known(sync->kv);
			kv_go_on(sync->kv);
		}
		(void)ignored;
	}
	return NULL;
}

int log_sync_start(struct kv *kv, struct log_sync **ret_sync)
{
	struct log_sync *sync = xcalloc(1, sizeof(*sync));

	sync->kv = kv;
	pthread_mutex_init(&sync->mutex, NULL);
	pthread_cond_init(&sync->change, NULL);
	int result = -pthread_create(&sync->thread, NULL, sync_main, sync);
	if (result < 0) {
		free(sync);
		return result;
	}
	*ret_sync = sync;
	return 0;
}

void log_sync_stop(struct log_sync *sync)
{
	if (!sync)
		return;
	pthread_mutex_lock(&sync->mutex);
	sync->stop = true;
	pthread_cond_broadcast(&sync->change);
	pthread_mutex_unlock(&sync->mutex);
	pthread_join(sync->thread, NULL);
	pthread_cond_destroy(&sync->change);
	pthread_mutex_destroy(&sync->mutex);
	free(sync);
}
