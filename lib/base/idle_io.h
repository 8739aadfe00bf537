/*
 * Reading when nobody else wants the disk: between begin and end the calling thread's requests are served after those of others, where the
 * disk's scheduler knows priorities. Each call belongs to one thread.
 */
#ifndef CORPUSFS_BASE_IDLE_IO_H
#define CORPUSFS_BASE_IDLE_IO_H

struct idle_io {
	int before; /* the thread's priority; -1: it could not be changed */
};

void idle_io_begin(struct idle_io *idle);
void idle_io_end(struct idle_io *idle);

#endif
