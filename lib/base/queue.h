/* A bounded queue of pointers between threads. Any thread. */
#ifndef CORPUSFS_BASE_QUEUE_H
#define CORPUSFS_BASE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>

struct queue;

struct queue *queue_new(size_t limit);
void queue_free(struct queue *queue); /* must be empty; NULL is fine */
void queue_push(struct queue *queue, void *item); /* waits while it is full */
void *queue_pop(struct queue *queue);             /* waits for an item; NULL: it is closed and empty */
void queue_close(struct queue *queue);            /* no push comes any more */

#endif
