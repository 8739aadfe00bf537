#include "fs/fuse/session/buffers.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "fs/fuse/session/session.h"

void buffers_init(struct buffers *buffers)
{
	*buffers = (struct buffers){0};
	pthread_mutex_init(&buffers->lock, NULL);
}

void buffers_clear(struct buffers *buffers)
{
	while (buffers->count)
		free(buffers->spare[--buffers->count]);
	pthread_mutex_destroy(&buffers->lock);
}

void *buffers_get(struct buffers *buffers)
{
	void *buffer = NULL;

	pthread_mutex_lock(&buffers->lock);
	if (buffers->count)
		buffer = buffers->spare[--buffers->count];
	pthread_mutex_unlock(&buffers->lock);
	return buffer ? buffer : malloc(SESSION_TRANSFER_MAX);
}

void buffers_put(struct buffers *buffers, void *buffer)
{
	pthread_mutex_lock(&buffers->lock);
	if (buffers->count < SPARE_BUFFERS)
		buffers->spare[buffers->count++] = steal_ptr(buffer);
	pthread_mutex_unlock(&buffers->lock);
	free(buffer);
}

void *request_buffer_new(size_t size, bool stays)
{
	void *buffer = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | (stays ? MAP_POPULATE : 0), -1, 0);

	if (buffer == MAP_FAILED)
		return NULL;
	if (stays) {
		madvise(buffer, size, MADV_DONTFORK);
		/* against swapping; not permitted to everybody */
		(void)!mlock(buffer, size);
	}
	return buffer;
}

void request_buffer_free(void *buffer, size_t size)
{
	if (buffer)
		munmap(buffer, size);
}
