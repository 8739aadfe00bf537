/*
 * What a mount has open, files and directories alike. When a session ends, the kernel drops releases that it had not
 * sent yet (the last close(2) does not wait for its own); what they would have closed is closed by opens_end().
 *
 *   opens_add() before the reply by which the kernel learns of the handle; opens_remove() by whoever closes it.
 *
 * Threads: any, except opens_end and opens_clear: no request may be running any more.
 */
#ifndef CORPUSFS_FUSE_GROUP_OPENS_H
#define CORPUSFS_FUSE_GROUP_OPENS_H

#include <pthread.h>

struct mount;

/* In the handle, which `close` frees. */
struct opened {
	void (*close)(struct mount *mount, struct opened *opened);
	struct opened *prev, *next; /* the list's; its lock */
};

struct opens {
	pthread_mutex_t lock; /* guards the list and its members */
	struct opened *list;
};

void opens_init(struct opens *opens);
void opens_clear(struct opens *opens); /* after opens_end */

void opens_add(struct opens *opens, struct opened *opened);
void opens_remove(struct opens *opens, struct opened *opened);
void opens_end(struct opens *opens, struct mount *mount);

#endif
