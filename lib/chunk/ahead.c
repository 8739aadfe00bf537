/*
 * A block's life:
 *
 *   FREE --enqueue--> QUEUED --read_block--> READING --read_block--> READY --enqueue (of another, when nobody reads it)--> QUEUED
 *
 * Blocks are taken again in the order in which they were last used.
 */
#include "lib/chunk/ahead.h"

#include <pthread.h>
#include <stdlib.h>

#include "lib/base/buf.h"
#include "lib/base/clock.h"

#define THREADS 2
#define STREAMS 16
/* A read that begins so many chunks behind the end of another continues its stream. */
#define NEAR 8
/* One that begins so many chunks before it is still in it: several processes that share the work do not come in order. */
#define BEHIND 16
/* Chunks ahead of a reader: the eighth part of what it has read in a row. */
#define WINDOW_SHARE 8
#define WINDOW_MAX (3 * AHEAD_BLOCK_CHUNKS)
/* Fewer are not worth a read of their own. */
#define BLOCK_MIN 4
/* The room of removed records is given back so often. */
#define REFRESH_MS 10000

struct stream {
	uint64_t start, next; /* what was read in a row */
	uint64_t asked;       /* blocks were queued for what is below */
	uint64_t used;        /* grows with each read; 0: free */
};

struct ahead_block {
	enum { FREE, QUEUED, READING, READY } state;
	uint64_t first, count; /* chunks */
	uint64_t used;        /* grows with each use; while QUEUED, with its place in the queue */
	unsigned refs;        /* of readers */
	bool was_taken;       /* somebody used what is in it */
	struct stream *stream; /* that it was read for; may have become another's */
	struct kv_raw raw;    /* with values: the thread's that reads it; then nobody changes them */
	struct kv_value values[AHEAD_BLOCK_CHUNKS];
};

struct ahead {
	struct backend *backend;
	pthread_t threads[THREADS];
	unsigned thread_count;

	pthread_mutex_t lock; /* guards all below; a leaf */
	pthread_cond_t work;  /* a block was queued, or stop was set */
	pthread_cond_t ready; /* a block was read */
	bool stop;
	struct stream streams[STREAMS];
	struct ahead_block blocks[AHEAD_BLOCKS];
	uint64_t refresh_ms; /* when it is due again */
	uint64_t uses;
	uint64_t chunks; /* found, ever */
};

/* --- the threads that read --- */

static struct ahead_block *next_queued(struct ahead *ahead)
{
	struct ahead_block *oldest = NULL;

	for (size_t i = 0; i < AHEAD_BLOCKS; i++) {
		struct ahead_block *block = &ahead->blocks[i];
		if (block->state == QUEUED && (!oldest || block->used < oldest->used))
			oldest = block;
	}
	return oldest;
}

/* Caller holds the lock, which is let go meanwhile. */
static void read_block(struct ahead *ahead, struct ahead_block *block)
{
	size_t found;

	block->state = READING;
	pthread_mutex_unlock(&ahead->lock);
	found = backend_get_many(ahead->backend, block->first, block->count, &block->raw, block->values);
	pthread_mutex_lock(&ahead->lock);
	block->state = READY;
	ahead->chunks += found;
	pthread_cond_broadcast(&ahead->ready);
}

/* One thread does it for all. Caller holds the lock, which is let go meanwhile. */
static void refresh(struct ahead *ahead)
{
	ahead->refresh_ms = clock_ms() + REFRESH_MS;
	pthread_mutex_unlock(&ahead->lock);
	backend_refresh(ahead->backend);
	pthread_mutex_lock(&ahead->lock);
}

static void *ahead_main(void *arg)
{
	struct ahead *ahead = arg;
	struct ahead_block *block;

	pthread_mutex_lock(&ahead->lock);
	while (!ahead->stop) {
		block = next_queued(ahead);
		if (block) {
			read_block(ahead, block);
			continue;
		}
		const struct timespec until = clock_after_ms(REFRESH_MS);
		pthread_cond_clockwait(&ahead->work, &ahead->lock, CLOCK_MONOTONIC, &until);
		if (clock_ms() >= ahead->refresh_ms)
			refresh(ahead);
	}
	pthread_mutex_unlock(&ahead->lock);
	return NULL;
}

struct ahead *ahead_new(struct backend *backend)
{
	struct ahead *ahead = xcalloc(1, sizeof(*ahead));

	ahead->backend = backend;
	pthread_mutex_init(&ahead->lock, NULL);
	pthread_cond_init(&ahead->work, NULL);
	pthread_cond_init(&ahead->ready, NULL);
	ahead->refresh_ms = clock_ms() + REFRESH_MS;
	/* without threads nothing is read ahead: see enqueue */
	while (ahead->thread_count < THREADS && pthread_create(&ahead->threads[ahead->thread_count], NULL, ahead_main, ahead) == 0)
		ahead->thread_count++;
	return ahead;
}

void ahead_free(struct ahead *ahead)
{
	if (!ahead)
		return;
	pthread_mutex_lock(&ahead->lock);
	ahead->stop = true;
	pthread_cond_broadcast(&ahead->work);
	pthread_mutex_unlock(&ahead->lock);
	for (unsigned i = 0; i < ahead->thread_count; i++)
		pthread_join(ahead->threads[i], NULL);
	for (size_t i = 0; i < AHEAD_BLOCKS; i++)
		kv_raw_clear(&ahead->blocks[i].raw);
	pthread_cond_destroy(&ahead->work);
	pthread_cond_destroy(&ahead->ready);
	pthread_mutex_destroy(&ahead->lock);
	free(ahead);
}

/* --- the lock is held --- */

static struct ahead_block *least_used(struct ahead *ahead)
{
	struct ahead_block *least = NULL;

	for (size_t i = 0; i < AHEAD_BLOCKS; i++) {
		struct ahead_block *block = &ahead->blocks[i];
		if ((block->state == FREE || (block->state == READY && !block->refs)) && (!least || block->used < least->used))
			least = block;
	}
	return least;
}

/* False when there is no room now. */
static bool enqueue(struct ahead *ahead, struct stream *stream, uint64_t first, uint64_t count)
{
	struct ahead_block *block = least_used(ahead);

	if (!block || !ahead->thread_count)
		return false;
	if (block->state == READY && !block->was_taken) {
		/* its reader has gone elsewhere */
		block->stream->start = block->stream->next;
		block->was_taken = true;
		if (block->stream == stream)
			return false;
	}
	block->state = QUEUED;
	block->first = first;
	block->count = count;
	block->used = ++ahead->uses;
	block->was_taken = false;
	block->stream = stream;
	pthread_cond_signal(&ahead->work);
	return true;
}

/* The stream that a read from `first` on continues, or is still in; else the least used one, begun anew. */
static struct stream *stream_of(struct ahead *ahead, uint64_t first)
{
	struct stream *least = &ahead->streams[0];

	for (size_t i = 0; i < STREAMS; i++) {
		struct stream *stream = &ahead->streams[i];
		if (stream->used && first + BEHIND >= stream->next && first <= stream->next + NEAR)
			return stream;
		if (stream->used < least->used)
			least = stream;
	}
	*least = (struct stream){.start = first, .next = first};
	return least;
}

static struct ahead_block *find_block(struct ahead *ahead, uint64_t id)
{
	for (size_t i = 0; i < AHEAD_BLOCKS; i++) {
		struct ahead_block *block = &ahead->blocks[i];
		if (block->state != FREE && id - block->first < block->count)
			return block;
	}
	return NULL;
}

static uint64_t window_of(const struct stream *stream)
{
	return MIN((stream->next - stream->start) / WINDOW_SHARE, WINDOW_MAX);
}

/* A stream that is read ahead for is about to come to the chunk. */
static bool is_followed(const struct ahead *ahead, uint64_t id)
{
	for (size_t i = 0; i < STREAMS; i++) {
		const struct stream *stream = &ahead->streams[i];
		const uint64_t window = window_of(stream);

		if (stream->used && window >= BLOCK_MIN && id + BEHIND >= stream->next && id <= stream->next + window + NEAR)
			return true;
	}
	return false;
}

/* Half of the window is always ahead of the reader. */
static void extend(struct ahead *ahead, struct stream *stream)
{
	const uint64_t window = window_of(stream), end = stream->next + window;

	if (stream->asked >= stream->next + (window + 1) / 2)
		return;
	stream->asked = MAX(stream->asked, stream->next);
	while (end >= stream->asked + BLOCK_MIN) {
		const struct ahead_block *block = find_block(ahead, stream->asked);
		const uint64_t count = block ? block->first + block->count - stream->asked : MIN(end - stream->asked, AHEAD_BLOCK_CHUNKS);

		if (!block && !enqueue(ahead, stream, stream->asked, count))
			return;
		stream->asked += count;
	}
}

/* --- */

void ahead_note(struct ahead *ahead, uint64_t first, uint32_t count)
{
	struct stream *stream;

	pthread_mutex_lock(&ahead->lock);
	stream = stream_of(ahead, first);
	stream->next = MAX(stream->next, first + count);
	stream->used = ++ahead->uses;
	extend(ahead, stream);
	pthread_mutex_unlock(&ahead->lock);
}

size_t ahead_take(struct ahead *ahead, uint64_t first, size_t count, struct ahead_taken *ret_taken)
{
	struct ahead_block *block;
	size_t found = 0;

	pthread_mutex_lock(&ahead->lock);
	block = find_block(ahead, first);
	if (block) {
		block->refs++;
		while (block->state != READY)
			pthread_cond_wait(&ahead->ready, &ahead->lock);
		block->used = ++ahead->uses;
		block->was_taken = true;
		*ret_taken = (struct ahead_taken){block, block->values + (first - block->first)};
		found = MIN(count, block->count - (first - block->first));
	}
	pthread_mutex_unlock(&ahead->lock);
	return found;
}

bool ahead_has(struct ahead *ahead, uint64_t id)
{
	pthread_mutex_lock(&ahead->lock);
	const bool has = find_block(ahead, id) || is_followed(ahead, id);
	pthread_mutex_unlock(&ahead->lock);
	return has;
}

void ahead_put(struct ahead *ahead, const struct ahead_taken *taken)
{
	pthread_mutex_lock(&ahead->lock);
	taken->block->refs--;
	pthread_mutex_unlock(&ahead->lock);
}

uint64_t ahead_chunks(struct ahead *ahead)
{
	pthread_mutex_lock(&ahead->lock);
	const uint64_t chunks = ahead->chunks;
	pthread_mutex_unlock(&ahead->lock);
	return chunks;
}
