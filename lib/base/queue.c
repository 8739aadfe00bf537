#include "lib/base/queue.h"

#include <pthread.h>

#include "lib/base/buf.h"

struct queue {
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t has_items, has_room;
	void **items; /* a ring */
	size_t limit, first, count;
	bool closed;
};

struct queue *queue_new(size_t limit)
{
	struct queue *queue = xcalloc(1, sizeof(*queue));

	pthread_mutex_init(&queue->lock, NULL);
	pthread_cond_init(&queue->has_items, NULL);
	pthread_cond_init(&queue->has_room, NULL);
	queue->items = xcalloc(limit, sizeof(*queue->items));
	queue->limit = limit;
	return queue;
}

void queue_free(struct queue *queue)
{
	if (!queue)
		return;
	pthread_cond_destroy(&queue->has_items);
	pthread_cond_destroy(&queue->has_room);
	pthread_mutex_destroy(&queue->lock);
	free(queue->items);
	free(queue);
}

/* The lock is held, and there is room. */
static void add(struct queue *queue, void *item)
{
	queue->items[(queue->first + queue->count++) % queue->limit] = item;
	pthread_cond_signal(&queue->has_items);
}

void queue_push(struct queue *queue, void *item)
{
	pthread_mutex_lock(&queue->lock);
	while (queue->count == queue->limit)
		pthread_cond_wait(&queue->has_room, &queue->lock);
	add(queue, item);
	pthread_mutex_unlock(&queue->lock);
}

bool queue_try_push(struct queue *queue, void *item)
{
	bool has_room;

	pthread_mutex_lock(&queue->lock);
	has_room = queue->count < queue->limit;
	if (has_room)
		add(queue, item);
	pthread_mutex_unlock(&queue->lock);
	return has_room;
}

/* The lock is held. */
static void *take(struct queue *queue)
{
	void *item;

	if (queue->count == 0)
		return NULL;
	item = queue->items[queue->first];
	queue->first = (queue->first + 1) % queue->limit;
	queue->count--;
	if (queue->count <= queue->limit / 2)
		pthread_cond_broadcast(&queue->has_room);
	return item;
}

void *queue_pop(struct queue *queue)
{
	void *item;

	pthread_mutex_lock(&queue->lock);
	while (queue->count == 0 && !queue->closed)
		pthread_cond_wait(&queue->has_items, &queue->lock);
	item = take(queue);
	pthread_mutex_unlock(&queue->lock);
	return item;
}

void *queue_try_pop(struct queue *queue)
{
	void *item;

	pthread_mutex_lock(&queue->lock);
	item = take(queue);
	pthread_mutex_unlock(&queue->lock);
	return item;
}

void queue_close(struct queue *queue)
{
	pthread_mutex_lock(&queue->lock);
	queue->closed = true;
	pthread_cond_broadcast(&queue->has_items);
	pthread_mutex_unlock(&queue->lock);
}
