/*
 * A read's life:
 *
 *   FREE --begun_start--> BUSY --begun_start--> BEGUN --begun_take--> BUSY --begun_put--> FREE
 *     ^                                           |
 *     +------- BUSY <--begun_start (of another, when it is old) -------+
 *
 * Who has made it BUSY owns all of it but the state, and works on it without the lock.
 */
#include "lib/chunk/begun.h"

#include <pthread.h>
#include <stdlib.h>

#include "lib/base/buf.h"
#include "lib/base/clock.h"

/* A read that nobody took by then is not wanted. */
#define OLD_MS 100

struct begun_read {
	enum { FREE, BUSY, BEGUN } state;
	uint64_t first, count; /* chunks */
	uint64_t since_ms;
	struct kv_raw raw;
	struct kv_value values[BEGUN_CHUNKS];
};

struct begun {
	struct backend *backend;
	pthread_mutex_t lock; /* guards the states and, of reads that are BEGUN, the rest; a leaf */
	struct begun_read reads[BEGUN_READS];
};

struct begun *begun_new(struct backend *backend)
{
	struct begun *begun = xcalloc(1, sizeof(*begun));

	begun->backend = backend;
	pthread_mutex_init(&begun->lock, NULL);
	return begun;
}

void begun_free(struct begun *begun)
{
	if (!begun)
		return;
	for (size_t i = 0; i < BEGUN_READS; i++)
		kv_raw_clear(&begun->reads[i].raw);
	pthread_mutex_destroy(&begun->lock);
	free(begun);
}

static void set_state(struct begun *begun, struct begun_read *read, int state)
{
	pthread_mutex_lock(&begun->lock);
	read->state = state;
	pthread_mutex_unlock(&begun->lock);
}

/* Caller holds the lock. */
static struct begun_read *find(struct begun *begun, uint64_t chunk)
{
	for (size_t i = 0; i < BEGUN_READS; i++) {
		struct begun_read *read = &begun->reads[i];
		if (read->state == BEGUN && chunk - read->first < read->count)
			return read;
	}
	return NULL;
}

/* BUSY then; NULL when there is no room, or when it was begun already. */
static struct begun_read *claim(struct begun *begun, uint64_t first, bool *ret_unfinished)
{
	struct begun_read *claimed = NULL;
	uint64_t now;

	pthread_mutex_lock(&begun->lock);
	now = clock_ms(); /* not before any that is noted */
	for (size_t i = 0; i < BEGUN_READS && !find(begun, first); i++) {
		struct begun_read *read = &begun->reads[i];
		if (read->state == FREE || (read->state == BEGUN && now - read->since_ms > OLD_MS))
			claimed = read;
	}
	if (claimed) {
		*ret_unfinished = claimed->state == BEGUN;
		claimed->state = BUSY;
	}
	pthread_mutex_unlock(&begun->lock);
	return claimed;
}

void begun_start(struct begun *begun, uint64_t first, uint32_t count)
{
	bool unfinished;
	struct begun_read *read = claim(begun, first, &unfinished);

	if (!read)
		return;
	if (unfinished)
		(void)backend_end_many(&read->raw, read->values);
	read->first = first;
	read->count = count;
	read->since_ms = clock_ms();
	set_state(begun, read, backend_begin_many(begun->backend, first, count, &read->raw) ? BEGUN : FREE);
}

size_t begun_take(struct begun *begun, uint64_t first, size_t count, struct begun_taken *ret_taken)
{
	struct begun_read *read;

	pthread_mutex_lock(&begun->lock);
	read = find(begun, first);
	if (read)
		read->state = BUSY;
	pthread_mutex_unlock(&begun->lock);
	if (!read)
		return 0;
	(void)backend_end_many(&read->raw, read->values);
	*ret_taken = (struct begun_taken){read, read->values + (first - read->first)};
	return MIN(count, read->count - (first - read->first));
}

void begun_put(struct begun *begun, const struct begun_taken *taken)
{
	set_state(begun, taken->read, FREE);
}
