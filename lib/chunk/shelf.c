#include "lib/chunk/shelf.h"

#include <pthread.h>
#include <stdlib.h>

#include <utlist.h>

#include "lib/base/buf.h"

struct shelf {
	pthread_mutex_t lock; /* guards `idle` */
	struct tools *idle;
};

struct shelf *shelf_new(void)
{
	struct shelf *shelf = xcalloc(1, sizeof(*shelf));

	pthread_mutex_init(&shelf->lock, NULL);
	return shelf;
}

void shelf_free(struct shelf *shelf)
{
	struct tools *tools, *next;

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

struct tools *shelf_take(struct shelf *shelf)
{
	struct tools *tools;

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

void shelf_put(struct shelf *shelf, struct tools *tools)
{
	pthread_mutex_lock(&shelf->lock);
	LL_PREPEND(shelf->idle, tools);
	pthread_mutex_unlock(&shelf->lock);
}
