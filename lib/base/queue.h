/*
 * A bounded queue of pointers between threads. Who waits because it is full goes on when half of it is free: with one item at a time, the threads
 * would wake each other for each. Any thread.
 */
#ifndef CORPUSFS_BASE_QUEUE_H
#define CORPUSFS_BASE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>

struct queue;

struct queue *queue_new(size_t limit);
void queue_free(struct queue *queue); /* must be empty; NULL is fine */
void queue_push(struct queue *queue, void *item); /* waits while it is full */
bool queue_try_push(struct queue *queue, void *item); /* false: it is full */
void *queue_pop(struct queue *queue);             /* waits for an item; NULL: it is closed and empty */
void *queue_try_pop(struct queue *queue);         /* NULL: there is none at the moment */
void queue_close(struct queue *queue);            /* no push comes any more */

#endif
