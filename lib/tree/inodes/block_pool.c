#include "lib/tree/inodes/block_pool.h"

#include <pthread.h>

#include "lib/base/buf.h"
#include "lib/base/pages.h"

/* An idle block holds the link to the next. */
struct block {
	struct block *next;
};

struct block_pool {
	pthread_mutex_t lock; /* guards all below */
	struct block *idle;
	size_t idle_count, keep;
	size_t least_idle; /* since block_pool_give_back */
	size_t used_count; /* taken and not given back */
};

struct block_pool *block_pool_new(size_t bytes)
{
	struct block_pool *pool = xcalloc(1, sizeof(*pool));

	pthread_mutex_init(&pool->lock, NULL);
	pool->keep = bytes / BLOCK_BYTES;
	return pool;
}

static void free_blocks(struct block *block)
{
	while (block) {
		struct block *next = block->next;

		free(block);
		block = next;
	}
}

void block_pool_free(struct block_pool *pool)
{
	if (!pool)
		return;
	free_blocks(pool->idle);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

void *block_take(struct block_pool *pool)
{
	struct block *block = NULL;

	if (pool) {
		pthread_mutex_lock(&pool->lock);
		pool->used_count++;
		block = pool->idle;
		if (block) {
			pool->idle = block->next;
			pool->idle_count--;
			pool->least_idle = MIN(pool->least_idle, pool->idle_count);
		}
		pthread_mutex_unlock(&pool->lock);
	}
	if (block)
		return block;
	/* first touching small pages costs more than copying the content into them */
	block = pages_alloc(BLOCK_BYTES);
	if (!block && pool) {
		pthread_mutex_lock(&pool->lock);
		pool->used_count--;
		pthread_mutex_unlock(&pool->lock);
	}
	return block;
}

void block_give(struct block_pool *pool, void *block)
{
	struct block *idle = block;

	pthread_mutex_lock(&pool->lock);
	pool->used_count--;
	if (pool->idle_count < pool->keep) {
		idle->next = pool->idle;
		pool->idle = idle;
		pool->idle_count++;
		block = NULL;
	}
	pthread_mutex_unlock(&pool->lock);
	free(block);
}

/* Takes so many idle blocks out of the pool, whose lock is held; for free_blocks(). */
static struct block *take_idle(struct block_pool *pool, size_t count)
{
	struct block *taken = NULL;

	for (; count > 0; count--) {
		struct block *block = pool->idle;

		pool->idle = block->next;
		pool->idle_count--;
		block->next = taken;
		taken = block;
	}
	pool->least_idle = MIN(pool->least_idle, pool->idle_count);
	return taken;
}

void block_pool_give_back(struct block_pool *pool)
{
	struct block *unneeded;

	pthread_mutex_lock(&pool->lock);
	unneeded = take_idle(pool, pool->least_idle);
	pool->least_idle = pool->idle_count;
	pthread_mutex_unlock(&pool->lock);
	free_blocks(unneeded);
}

void block_pool_shrink(struct block_pool *pool, uint64_t idle_bytes)
{
	const uint64_t most = idle_bytes / BLOCK_BYTES;
	struct block *excess;

	pthread_mutex_lock(&pool->lock);
	excess = take_idle(pool, pool->idle_count > most ? pool->idle_count - most : 0);
	pthread_mutex_unlock(&pool->lock);
	free_blocks(excess);
}

uint64_t block_pool_idle_bytes(struct block_pool *pool)
{
	uint64_t count;

	pthread_mutex_lock(&pool->lock);
	count = pool->idle_count;
	pthread_mutex_unlock(&pool->lock);
	return count * BLOCK_BYTES;
}

bool block_may_grow(struct block_pool *pool)
{
	bool may;

	pthread_mutex_lock(&pool->lock);
	may = pool->used_count < pool->keep;
	pthread_mutex_unlock(&pool->lock);
	return may;
}
