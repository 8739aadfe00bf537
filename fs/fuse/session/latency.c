#include "fs/fuse/session/latency.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/base/file.h"

#define DEVICE "/dev/cpu_dma_latency"
#define DRIVER "/sys/devices/system/cpu/cpuidle/current_driver"
#define DRIVER_MAX 64
/* Microseconds. A processor of a virtual machine sleeps or does not; others have a state from which they come back this soon. */
#define AWAKE_GUEST 0
#define AWAKE 3
#define ASLEEP 2000000000 /* the kernel's default: any delay is borne */
#define BURST 16          /* requests within ... */
#define BURST_MS 10
#define QUIET_MS 20 /* after so long without any it is over */

struct latency {
	int fd;
	int32_t awake;
	pthread_t thread;
	_Atomic uint64_t last_ms;    /* when a request came */
	_Atomic uint64_t window_ms;  /* since when requests are counted */
	atomic_uint count;
	atomic_bool held;

	pthread_mutex_t lock; /* guards the two below */
	pthread_cond_t changed;
	bool wanted, stop;
};

static void bear(const struct latency *latency, int32_t microseconds)
{
	/* what fails leaves the processors as they are */
	(void)!write(latency->fd, &microseconds, sizeof(microseconds));
}

/* The lock is held, and given up meanwhile. */
static void hold(struct latency *latency)
{
	bear(latency, latency->awake);
	atomic_store(&latency->held, true);
	while (!latency->stop && clock_ms() < atomic_load(&latency->last_ms) + QUIET_MS) {
		const struct timespec until = clock_after_ms(QUIET_MS);

		pthread_cond_clockwait(&latency->changed, &latency->lock, CLOCK_MONOTONIC, &until);
	}
	atomic_store(&latency->held, false);
	bear(latency, ASLEEP);
}

static void *latency_main(void *arg)
{
	struct latency *latency = arg;

	pthread_mutex_lock(&latency->lock);
	while (!latency->stop) {
		if (latency->wanted) {
			hold(latency);
			latency->wanted = false;
		} else {
			pthread_cond_wait(&latency->changed, &latency->lock);
		}
	}
	pthread_mutex_unlock(&latency->lock);
	return NULL;
}

static bool is_guest(void)
{
	AUTO_BUF driver = BUF_INIT;

	return file_read(DRIVER, DRIVER_MAX, &driver) == 0 && driver.len >= strlen("haltpoll") &&
	       memcmp(driver.data, "haltpoll", strlen("haltpoll")) == 0;
}

struct latency *latency_new(void)
{
	const int fd = open(DEVICE, O_WRONLY | O_CLOEXEC);
	struct latency *latency;

	if (fd < 0)
		return NULL;
	latency = xcalloc(1, sizeof(*latency));
	latency->fd = fd;
	latency->awake = is_guest() ? AWAKE_GUEST : AWAKE;
	pthread_mutex_init(&latency->lock, NULL);
	pthread_cond_init(&latency->changed, NULL);
	bear(latency, ASLEEP);
	if (pthread_create(&latency->thread, NULL, latency_main, latency)) {
		close(fd);
		free(latency);
		return NULL;
	}
	return latency;
}

void latency_free(struct latency *latency)
{
	if (!latency)
		return;
	pthread_mutex_lock(&latency->lock);
	latency->stop = true;
	pthread_cond_signal(&latency->changed);
	pthread_mutex_unlock(&latency->lock);
	pthread_join(latency->thread, NULL);
	close(latency->fd);
	pthread_cond_destroy(&latency->changed);
	pthread_mutex_destroy(&latency->lock);
	free(latency);
}

void latency_note(struct latency *latency)
{
	uint64_t now;

	if (!latency)
		return;
	now = clock_ms();
	atomic_store_explicit(&latency->last_ms, now, memory_order_relaxed);
	if (atomic_load_explicit(&latency->held, memory_order_relaxed))
		return;
	/* threads that count at once may lose one; that is no matter */
	if (now >= atomic_load(&latency->window_ms) + BURST_MS) {
		atomic_store(&latency->window_ms, now);
		atomic_store(&latency->count, 0);
	}
	if (atomic_fetch_add(&latency->count, 1) + 1 != BURST)
		return;
	pthread_mutex_lock(&latency->lock);
	latency->wanted = true;
	pthread_cond_signal(&latency->changed);
	pthread_mutex_unlock(&latency->lock);
}

bool latency_is_held(struct latency *latency)
{
	return latency && atomic_load(&latency->held);
}
