#include "lib/chunk/scratch.h"

#include <pthread.h>
#include <stdlib.h>

#include <utlist.h>

#include "lib/base/buf.h"

struct scratch_pool {
	pthread_mutex_t lock; /* guards `idle` */
	struct scratch *idle;
};

struct scratch_pool *scratch_pool_new(void)
{
	struct scratch_pool *pool = xcalloc(1, sizeof(*pool));

	pthread_mutex_init(&pool->lock, NULL);
	return pool;
}

void scratch_pool_free(struct scratch_pool *pool)
{
	struct scratch *tools, *next;

	if (!pool)
		return;
	LL_FOREACH_SAFE (pool->idle, tools, next) {
		digest_free(tools->digest);
		codec_free(tools->codec);
		kv_raw_clear(&tools->raw);
		free(tools);
	}
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

struct scratch *scratch_take(struct scratch_pool *pool)
{
	struct scratch *tools;

	pthread_mutex_lock(&pool->lock);
	tools = pool->idle;
	if (tools)
		LL_DELETE(pool->idle, tools);
	pthread_mutex_unlock(&pool->lock);
	if (tools)
		return tools;
	tools = xcalloc(1, sizeof(*tools));
	tools->digest = digest_new();
	tools->codec = codec_new();
	return tools;
}

void scratch_put(struct scratch_pool *pool, struct scratch *tools)
{
	pthread_mutex_lock(&pool->lock);
	LL_PREPEND(pool->idle, tools);
	pthread_mutex_unlock(&pool->lock);
}
