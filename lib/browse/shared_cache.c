#include "lib/browse/shared_cache.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include <uthash.h>
#include <utlist.h>

#include "lib/base/buf.h"

/*
 *   MAKING --made--> READY          shared_cache_get, shared_cache_find or shared_cache_claim, of who came first
 *      `------failed--> (gone from the table; freed by the last who waits)
 */
struct cached {
	struct blob_id id;
	UT_hash_handle hh;
	struct cached *prev, *next; /* in the order of use, while nobody uses it */
	unsigned users;
	bool is_ready;
	int failure; /* while it is MAKING: 0 */
	void *value;
	size_t cost;
};

struct shared_cache {
	struct shared_cache_kind kind;
	size_t limit;
	pthread_mutex_t lock; /* guards all below, and all of struct cached but a value that is ready */
	pthread_cond_t made;
	struct cached *table, *unused; /* the least recently used first */
	size_t cost;
};

struct shared_cache *shared_cache_new(const struct shared_cache_kind *kind, size_t limit)
{
	struct shared_cache *cache = xcalloc(1, sizeof(*cache));

	cache->kind = *kind;
	cache->limit = limit;
	pthread_mutex_init(&cache->lock, NULL);
	pthread_cond_init(&cache->made, NULL);
	return cache;
}

static void free_cached(struct shared_cache *cache, struct cached *cached)
{
	if (cached->value)
		cache->kind.free(cached->value);
	free(cached);
}

void shared_cache_free(struct shared_cache *cache)
{
	struct cached *cached, *next;

	if (!cache)
		return;
	HASH_ITER (hh, cache->table, cached, next) {
		HASH_DEL(cache->table, cached);
		free_cached(cache, cached);
	}
	pthread_cond_destroy(&cache->made);
	pthread_mutex_destroy(&cache->lock);
	free(cache);
}

/* What is over the limit and unused, taken out of the table; to be freed without the lock. */
static struct cached *take_surplus(struct shared_cache *cache)
{
	struct cached *surplus = NULL;

	while (cache->cost > cache->limit && cache->unused) {
		struct cached *oldest = cache->unused;

		DL_DELETE(cache->unused, oldest);
		HASH_DEL(cache->table, oldest);
		cache->cost -= oldest->cost;
		DL_APPEND(surplus, oldest);
	}
	return surplus;
}

static void free_surplus(struct shared_cache *cache, struct cached *surplus)
{
	struct cached *cached, *next;

	DL_FOREACH_SAFE (surplus, cached, next)
		free_cached(cache, cached);
}

/* Waits for who makes it. The lock is held. */
static int wait_made(struct shared_cache *cache, struct cached *cached)
{
	while (!cached->is_ready && cached->failure == 0)
		pthread_cond_wait(&cache->made, &cache->lock);
	return cached->failure;
}

/* The lock is held. */
static struct cached *begin(struct shared_cache *cache, const struct blob_id *id)
{
	struct cached *cached = xcalloc(1, sizeof(*cached));

	cached->id = *id;
	cached->users = 1;
	HASH_ADD(hh, cache->table, id, sizeof(cached->id), cached);
	return cached;
}

/* The lock is held. */
static void end(struct shared_cache *cache, struct cached *cached, int result)
{
	if (result == 0) {
		cached->is_ready = true;
		cache->cost += cached->cost;
	} else {
		cached->failure = result;
		HASH_DEL(cache->table, cached);
	}
	pthread_cond_broadcast(&cache->made);
}

/* The lock is held, and given up meanwhile. */
static int make(struct shared_cache *cache, struct cached *cached, int (*fn)(void *arg, const struct blob_id *id, void **ret_value, size_t *ret_cost))
{
	int r;

	pthread_mutex_unlock(&cache->lock);
	r = fn(cache->kind.arg, &cached->id, &cached->value, &cached->cost);
	pthread_mutex_lock(&cache->lock);
	end(cache, cached, r);
	return r;
}

/* Of who has nothing of it. The lock is held, and given up. */
static void leave(struct shared_cache *cache, struct cached *cached, struct cached *surplus)
{
	const bool is_last = --cached->users == 0;

	pthread_mutex_unlock(&cache->lock);
	free_surplus(cache, surplus);
	if (is_last)
		free_cached(cache, cached);
}

int shared_cache_get(struct shared_cache *cache, const struct blob_id *id, struct cached **ret_cached)
{
	struct cached *cached, *surplus;
	int r = -EAGAIN;

	while (r == -EAGAIN) {
		surplus = NULL;
		pthread_mutex_lock(&cache->lock);
		HASH_FIND(hh, cache->table, id, sizeof(*id), cached);
		if (cached) {
			if (cached->users++ == 0)
				DL_DELETE(cache->unused, cached);
			r = wait_made(cache, cached);
		} else {
			cached = begin(cache, id);
			r = make(cache, cached, cache->kind.make);
			surplus = take_surplus(cache);
		}
		if (r < 0)
			leave(cache, cached, surplus);
	}
	if (r < 0)
		return r;
	pthread_mutex_unlock(&cache->lock);
	free_surplus(cache, surplus);
	*ret_cached = cached;
	return r;
}

int shared_cache_find(struct shared_cache *cache, const struct blob_id *id, struct cached **ret_cached)
{
	struct cached *cached, *surplus = NULL;
	int r = 0;

	pthread_mutex_lock(&cache->lock);
	HASH_FIND(hh, cache->table, id, sizeof(*id), cached);
	if (cached && cached->is_ready) {
		if (cached->users++ == 0)
			DL_DELETE(cache->unused, cached);
	} else if (cached || !cache->kind.make_quickly) {
		r = -EAGAIN;
	} else {
		cached = begin(cache, id);
		r = make(cache, cached, cache->kind.make_quickly);
		surplus = take_surplus(cache);
		if (r < 0) {
			leave(cache, cached, surplus);
			return r;
		}
	}
	pthread_mutex_unlock(&cache->lock);
	free_surplus(cache, surplus);
	if (r == 0)
		*ret_cached = cached;
	return r;
}

bool shared_cache_has(struct shared_cache *cache, const struct blob_id *id)
{
	struct cached *cached;

	pthread_mutex_lock(&cache->lock);
	HASH_FIND(hh, cache->table, id, sizeof(*id), cached);
	pthread_mutex_unlock(&cache->lock);
	return cached != NULL;
}

bool shared_cache_claim(struct shared_cache *cache, const struct blob_id *id, struct cached **ret_cached)
{
	struct cached *cached;
	bool is_there;

	pthread_mutex_lock(&cache->lock);
	HASH_FIND(hh, cache->table, id, sizeof(*id), cached);
	is_there = cached != NULL;
	if (!is_there)
		*ret_cached = begin(cache, id);
	pthread_mutex_unlock(&cache->lock);
	return !is_there;
}

void shared_cache_made(struct shared_cache *cache, struct cached *cached, int result, void *value, size_t cost)
{
	pthread_mutex_lock(&cache->lock);
	cached->value = value;
	cached->cost = cost;
	end(cache, cached, result);
	if (result < 0) {
		leave(cache, cached, NULL);
		return;
	}
	pthread_mutex_unlock(&cache->lock);
	shared_cache_put(cache, cached);
}

void *cached_value(const struct cached *cached)
{
	return cached->value;
}

void shared_cache_put(struct shared_cache *cache, struct cached *cached)
{
	struct cached *surplus;

	if (!cached)
		return;
	pthread_mutex_lock(&cache->lock);
	if (--cached->users == 0)
		DL_APPEND(cache->unused, cached);
	surplus = take_surplus(cache);
	pthread_mutex_unlock(&cache->lock);
	free_surplus(cache, surplus);
}

size_t shared_cache_cost(struct shared_cache *cache)
{
	size_t cost;

	pthread_mutex_lock(&cache->lock);
	cost = cache->cost;
	pthread_mutex_unlock(&cache->lock);
	return cost;
}
