/*
 * An entry is LOADING (in its shard's table, one thread fills it), KEPT (in the table and the list, counted in `bytes`) or ALONE (in
 * neither, freed by the last release):
 *
 *   cache_claim -> LOADING -- cache_fill --> KEPT -- room_for --> freed    (only entries nobody refers to are thrown out)
 *                     |           \
 *                     +-cache_fail-+------> ALONE -- cache_release --> freed
 */
#include "lib/chunk/cache.h"

#include <pthread.h>
#include <stdlib.h>

#include <uthash.h>
#include <utlist.h>

#include "lib/base/buf.h"

#define SHARDS_MAX 16
/* A shard that holds fewer of the largest chunks than this would throw out what it just took in. */
#define SHARD_CHUNKS_MIN 8

enum state { LOADING, KEPT, ALONE };

struct cache_entry {
	uint64_t id;
	enum state state;
	unsigned refs;
	int error;
	uint32_t len;
	uint8_t *data;
	UT_hash_handle hh;
	struct cache_entry *prev, *next;
};

struct shard {
	pthread_mutex_t lock; /* guards all below and the entries, except data and len of filled ones, which no longer change */
	pthread_cond_t filled;
	struct cache_entry *table;
	struct cache_entry *recent; /* most recently used first */
	uint64_t bytes, budget;
};

struct cache {
	unsigned shard_count;
	struct shard shards[SHARDS_MAX];
};

struct cache *cache_new(uint64_t budget, uint32_t largest)
{
	uint64_t shards = budget / ((uint64_t)largest * SHARD_CHUNKS_MIN);
	struct cache *cache = xcalloc(1, sizeof(*cache));

	cache->shard_count = (unsigned)MAX(MIN(shards, SHARDS_MAX), 1);
	for (unsigned i = 0; i < cache->shard_count; i++) {
		pthread_mutex_init(&cache->shards[i].lock, NULL);
		pthread_cond_init(&cache->shards[i].filled, NULL);
		cache->shards[i].budget = budget / cache->shard_count;
	}
	return cache;
}

static uint64_t cost_of(const struct cache_entry *entry)
{
	return sizeof(*entry) + entry->len;
}

static void entry_free(struct cache_entry *entry)
{
	free(entry->data);
	free(entry);
}

static void throw_out(struct shard *shard, struct cache_entry *entry)
{
	HASH_DEL(shard->table, entry);
	DL_DELETE(shard->recent, entry);
	shard->bytes -= cost_of(entry);
	entry_free(entry);
}

void cache_free(struct cache *cache)
{
	if (!cache)
		return;
	for (unsigned i = 0; i < cache->shard_count; i++) {
		struct shard *shard = &cache->shards[i];

		while (shard->recent)
			throw_out(shard, shard->recent);
		pthread_cond_destroy(&shard->filled);
		pthread_mutex_destroy(&shard->lock);
	}
	free(cache);
}

uint64_t cache_budget(const struct cache *cache)
{
	return cache->shards[0].budget * cache->shard_count;
}

uint64_t cache_bytes(struct cache *cache)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < cache->shard_count; i++) {
		pthread_mutex_lock(&cache->shards[i].lock);
		bytes += cache->shards[i].bytes;
		pthread_mutex_unlock(&cache->shards[i].lock);
	}
	return bytes;
}

static struct shard *shard_of(struct cache *cache, uint64_t id)
{
	return &cache->shards[id % cache->shard_count];
}

static void touch(struct shard *shard, struct cache_entry *entry)
{
	if (entry->state != KEPT || entry == shard->recent)
		return;
	DL_DELETE(shard->recent, entry);
	DL_PREPEND(shard->recent, entry);
}

struct cache_entry *cache_find(struct cache *cache, uint64_t id)
{
	struct shard *shard = shard_of(cache, id);
	struct cache_entry *entry;

	pthread_mutex_lock(&shard->lock);
	HASH_FIND(hh, shard->table, &id, sizeof(id), entry);
	if (entry && entry->state == KEPT) {
		entry->refs++;
		touch(shard, entry);
	} else {
		entry = NULL;
	}
	pthread_mutex_unlock(&shard->lock);
	return entry;
}

struct cache_entry *cache_claim(struct cache *cache, uint64_t id, bool *ret_mine)
{
	struct shard *shard = shard_of(cache, id);
	struct cache_entry *entry;

	pthread_mutex_lock(&shard->lock);
	HASH_FIND(hh, shard->table, &id, sizeof(id), entry);
	*ret_mine = !entry;
	if (!entry) {
		entry = xcalloc(1, sizeof(*entry));
		entry->id = id;
		HASH_ADD(hh, shard->table, id, sizeof(entry->id), entry);
	}
	entry->refs++;
	while (!*ret_mine && entry->state == LOADING)
		pthread_cond_wait(&shard->filled, &shard->lock);
	touch(shard, entry);
	pthread_mutex_unlock(&shard->lock);
	return entry;
}

/* Throws out the oldest entries that nobody refers to until `cost` more fit; false if they do not. */
static bool room_for(struct shard *shard, uint64_t cost)
{
	struct cache_entry *entry = shard->recent ? shard->recent->prev : NULL; /* the list's tail */

	if (cost > shard->budget)
		return false;
	while (entry && shard->bytes + cost > shard->budget) {
		struct cache_entry *newer = entry == shard->recent ? NULL : entry->prev;

		if (!entry->refs)
			throw_out(shard, entry);
		entry = newer;
	}
	return shard->bytes + cost <= shard->budget;
}

static void set_alone(struct shard *shard, struct cache_entry *entry)
{
	HASH_DEL(shard->table, entry);
	entry->state = ALONE;
}

void cache_fill(struct cache *cache, struct cache_entry *entry, uint8_t *data, uint32_t len)
{
	struct shard *shard = shard_of(cache, entry->id);

	pthread_mutex_lock(&shard->lock);
	entry->data = data;
	entry->len = len;
	if (room_for(shard, cost_of(entry))) {
		entry->state = KEPT;
		shard->bytes += cost_of(entry);
		DL_PREPEND(shard->recent, entry);
	} else {
		set_alone(shard, entry);
	}
	pthread_cond_broadcast(&shard->filled);
	pthread_mutex_unlock(&shard->lock);
}

void cache_fail(struct cache *cache, struct cache_entry *entry, int error)
{
	struct shard *shard = shard_of(cache, entry->id);

	pthread_mutex_lock(&shard->lock);
	entry->error = error;
	set_alone(shard, entry);
	pthread_cond_broadcast(&shard->filled);
	pthread_mutex_unlock(&shard->lock);
}

void cache_release(struct cache *cache, struct cache_entry *entry)
{
	struct shard *shard = shard_of(cache, entry->id);
	bool last;

	pthread_mutex_lock(&shard->lock);
	last = --entry->refs == 0 && entry->state == ALONE;
	pthread_mutex_unlock(&shard->lock);
	if (last)
		entry_free(entry);
}

const uint8_t *cache_data(const struct cache_entry *entry, uint32_t *ret_len)
{
	*ret_len = entry->len;
	return entry->data;
}

int cache_error(const struct cache_entry *entry)
{
	return entry->error;
}
