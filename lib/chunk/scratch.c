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
	struct scratch_pool *shelf = xcalloc(1, sizeof(*shelf));

	pthread_mutex_init(&shelf->lock, NULL);
	return shelf;
}

void scratch_pool_free(struct scratch_pool *shelf)
{
	struct scratch *tools, *next;

	if (!shelf)
		return;
	LL_FOREACH_SAFE (shelf->idle, tools, next) {
		digest_free(tools->digest);
		codec_free(tools->codec);
		kv_raw_clear(&tools->raw);
		free(tools);
	}
	pthread_mutex_destroy(&shelf->lock);
	free(shelf);
}

struct scratch *scratch_take(struct scratch_pool *shelf)
{
	struct scratch *tools;

	pthread_mutex_lock(&shelf->lock);
	tools = shelf->idle;
	if (tools)
		LL_DELETE(shelf->idle, tools);
	pthread_mutex_unlock(&shelf->lock);
	if (tools)
		return tools;
	tools = xcalloc(1, sizeof(*tools));
	tools->digest = digest_new();
	tools->codec = codec_new();
	return tools;
}

void scratch_put(struct scratch_pool *shelf, struct scratch *tools)
{
	pthread_mutex_lock(&shelf->lock);
	LL_PREPEND(shelf->idle, tools);
	pthread_mutex_unlock(&shelf->lock);
}
