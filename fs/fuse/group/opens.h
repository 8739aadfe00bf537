/*
 * What a mount has open, files and directories alike, and by which number the kernel knows it. The numbers and what stands behind them are kept
 * (fs/supervise/kept.h), so that a daemon that goes on with the session knows what is open.
 *
 * When a session ends, the kernel drops releases that it had not sent yet (the last close(2) does not wait for its own); what they would have
 * closed is closed by opens_end().
 *
 *   opens_add() before the reply by which the kernel learns of the handle; opens_remove() by whoever closes it.
 *   opens_resume() of each that an earlier daemon had open, before there are requests
 *
 * Threads: any, except opens_resume, opens_end and opens_clear: no request may be running.
 */
#ifndef CORPUSFS_FUSE_GROUP_OPENS_H
#define CORPUSFS_FUSE_GROUP_OPENS_H

#include <pthread.h>

#include "fs/supervise/kept.h"

struct mount;

/* In the handle, which `close` frees. */
struct opened {
	void (*close)(struct mount *mount, struct opened *opened);
	uint64_t number;
};

struct opens {
	struct kept_session *kept;
	pthread_mutex_t lock;    /* guards what follows, and places of `kept` being taken and given */
	uint32_t *free_list;
	size_t free_count, free_cap;
	struct opened **handles; /* by place; read without the lock, since the kernel does not use a number before or after its time */
};

struct open_what {
	uint64_t node;
	uint32_t flags;   /* KEPT_OPEN_* */
	uint64_t request; /* without the bit of a repetition */
};

WARN_UNUSED int opens_init(struct opens *opens, struct kept_session *kept); /* -ENOMEM */
void opens_clear(struct opens *opens); /* after opens_end */

WARN_UNUSED int opens_add(struct opens *opens, struct opened *opened, const struct open_what *what); /* sets its number; -ENFILE */
struct opened *opens_get(const struct opens *opens, uint64_t number); /* NULL: there is none */
uint32_t opens_flags(const struct opens *opens, uint64_t number); /* of what the kernel has open, even if there is no handle for it */
struct opened *opens_of_request(struct opens *opens, uint64_t request); /* that it opened, its answer having been lost; NULL */
void opens_remove(struct opens *opens, uint64_t number); /* also of what is not open any more */
void opens_end(struct opens *opens, struct mount *mount);

/* `open` gives the handle, or NULL if that cannot be opened any more; its number is set afterwards. */
void opens_resume(struct opens *opens, struct opened *(*open)(void *arg, const struct kept_open *kept), void *arg);

#endif
