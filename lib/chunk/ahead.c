#include "lib/chunk/ahead.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/file.h"
#include "lib/format/key.h"

#define REGION_CHUNKS 64 /* 4 MiB of plain bytes at the usual size of chunks */
/* So many different chunks of a region say that the rest is wanted. */
#define DENSE 8
/* A sequential reader has so many regions asked for before it. */
#define REGIONS_AHEAD 4
#define SLOTS 4096
#define QUEUE 256
#define PERIOD_MS (10 * 60 * 1000ULL)
#define MEMINFO_MAX 16384

struct region {
	uint64_t number;
	uint64_t seen;   /* bit i: chunk i was read */
	uint64_t period; /* in which it was first read; 0: unused */
	bool asked;
};

struct ahead {
	struct kv_tables *bulk, *small;
	pthread_t thread;
	bool started;

	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t work;
	bool stop;
	struct region regions[SLOTS]; /* by number modulo SLOTS; a newer one takes the place of an older */
	uint64_t queue[QUEUE];        /* regions to be asked for: a ring */
	size_t head, count;
	uint64_t period, period_end_ms;
	uint64_t left;  /* bytes that may be asked for in this period */
	uint64_t bytes; /* asked for, ever */
};

static uint64_t memory_available(void)
{
	static const char label[] = "MemAvailable:";
	AUTO_BUF text = BUF_INIT;
	const char *at;

	if (file_read("/proc/meminfo", MEMINFO_MAX, &text) < 0)
		return 0;
	buf_add_u8(&text, 0);
	at = strstr((const char *)text.data, label);
	return at ? strtoull(at + strlen(label), NULL, 10) * 1024 : 0;
}

static void ask(struct ahead *ahead, uint64_t number)
{
	const uint64_t first = number * REGION_CHUNKS;
	uint64_t bytes;

	pthread_mutex_unlock(&ahead->lock);
	bytes = kv_tables_ask(first & CHUNK_BULK ? ahead->bulk : ahead->small, first, first + REGION_CHUNKS);
	pthread_mutex_lock(&ahead->lock);
	ahead->bytes += bytes;
	ahead->left -= MIN(bytes, ahead->left);
}

static void begin_period(struct ahead *ahead)
{
	ahead->left = memory_available() / 2;
	ahead->period_end_ms = clock_ms() + PERIOD_MS;
	ahead->period++;
}

static void *ahead_main(void *arg)
{
	struct ahead *ahead = arg;

	pthread_mutex_lock(&ahead->lock);
	while (!ahead->stop) {
		if (!ahead->count) {
			pthread_cond_wait(&ahead->work, &ahead->lock);
			continue;
		}
		uint64_t number = ahead->queue[ahead->head];
		ahead->head = (ahead->head + 1) % QUEUE;
		ahead->count--;
		if (clock_ms() >= ahead->period_end_ms)
			begin_period(ahead);
		if (ahead->left)
			ask(ahead, number);
	}
	pthread_mutex_unlock(&ahead->lock);
	return NULL;
}

struct ahead *ahead_new(struct kv_tables *bulk, struct kv_tables *small)
{
	struct ahead *ahead = xcalloc(1, sizeof(*ahead));

	ahead->bulk = bulk;
	ahead->small = small;
	begin_period(ahead);
	pthread_mutex_init(&ahead->lock, NULL);
	pthread_cond_init(&ahead->work, NULL);
	/* without a thread everything works, only slower */
	ahead->started = pthread_create(&ahead->thread, NULL, ahead_main, ahead) == 0;
	return ahead;
}

void ahead_free(struct ahead *ahead)
{
	if (!ahead)
		return;
	pthread_mutex_lock(&ahead->lock);
	ahead->stop = true;
	pthread_cond_signal(&ahead->work);
	pthread_mutex_unlock(&ahead->lock);
	if (ahead->started)
		pthread_join(ahead->thread, NULL);
	pthread_cond_destroy(&ahead->work);
	pthread_mutex_destroy(&ahead->lock);
	free(ahead);
}

/* --- the lock is held --- */

static struct region *region_of(struct ahead *ahead, uint64_t number)
{
	struct region *region = &ahead->regions[number % SLOTS];

	if (region->number != number || region->period != ahead->period)
		*region = (struct region){.number = number, .period = ahead->period};
	return region;
}

static bool was_asked(const struct ahead *ahead, uint64_t number)
{
	const struct region *region = &ahead->regions[number % SLOTS];

	return region->number == number && region->period == ahead->period && region->asked;
}

/* When the queue is full, the next chunk that is read there asks again. */
static void enqueue(struct ahead *ahead, uint64_t number)
{
	struct region *region = region_of(ahead, number);

	if (region->asked || ahead->count == QUEUE)
		return;
	region->asked = true;
	ahead->queue[(ahead->head + ahead->count++) % QUEUE] = number;
	pthread_cond_signal(&ahead->work);
}

static void note(struct ahead *ahead, uint64_t number, unsigned index)
{
	struct region *region = region_of(ahead, number);
	const bool first = !region->seen;

	region->seen |= 1ULL << index;
	if (!region->asked && __builtin_popcountll(region->seen) >= DENSE)
		enqueue(ahead, number);
	else if (!first)
		return;
	if (!was_asked(ahead, number) || !was_asked(ahead, number - 1))
		return;
	for (uint64_t i = 1; i <= REGIONS_AHEAD; i++)
		enqueue(ahead, number + i);
}

bool ahead_note(struct ahead *ahead, uint64_t id)
{
	bool asked;

	pthread_mutex_lock(&ahead->lock);
	asked = was_asked(ahead, id / REGION_CHUNKS);
	note(ahead, id / REGION_CHUNKS, (unsigned)(id % REGION_CHUNKS));
	pthread_mutex_unlock(&ahead->lock);
	return asked;
}

uint64_t ahead_bytes(struct ahead *ahead)
{
	pthread_mutex_lock(&ahead->lock);
	const uint64_t bytes = ahead->bytes;
	pthread_mutex_unlock(&ahead->lock);
	return bytes;
}
