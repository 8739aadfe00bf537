/* Memory for requests and replies. Internal to fs/fuse/session. Threads: any. */
#ifndef CORPUSFS_FUSE_SESSION_BUFFERS_H
#define CORPUSFS_FUSE_SESSION_BUFFERS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#define SPARE_BUFFERS 16

/* For read replies, of SESSION_TRANSFER_MAX bytes. */
struct buffers {
	pthread_mutex_t lock; /* guards what follows */
	void *spare[SPARE_BUFFERS];
	unsigned count;
};

void buffers_init(struct buffers *buffers);
void buffers_clear(struct buffers *buffers);
void *buffers_get(struct buffers *buffers); /* NULL: no memory */
void buffers_put(struct buffers *buffers, void *buffer);

/*
 * Where the kernel copies requests to. A thread that is killed meanwhile gets no page any more that is not there, and then the kernel gives EIO to
 * whoever made the request. So where another daemon would go on (`stays`), all pages are there, writable, and stay so when this process
 * forks. NULL: no memory.
 */
void *request_buffer_new(size_t size, bool stays);
void request_buffer_free(void *buffer, size_t size); /* NULL is fine */

#endif
