#include "fs/fuse/group/opens.h"

#include <utlist.h>

#include "lib/base/buf.h"

void opens_init(struct opens *opens)
{
	*opens = (struct opens){0};
	pthread_mutex_init(&opens->lock, NULL);
}

void opens_clear(struct opens *opens)
{
	pthread_mutex_destroy(&opens->lock);
}

void opens_add(struct opens *opens, struct opened *opened)
{
	pthread_mutex_lock(&opens->lock);
	DL_APPEND(opens->list, opened);
	pthread_mutex_unlock(&opens->lock);
}

void opens_remove(struct opens *opens, struct opened *opened)
{
	pthread_mutex_lock(&opens->lock);
	DL_DELETE(opens->list, opened);
	pthread_mutex_unlock(&opens->lock);
}

void opens_end(struct opens *opens, struct mount *mount)
{
	struct opened *opened, *next, *left;

	pthread_mutex_lock(&opens->lock);
	left = steal_ptr(opens->list);
	pthread_mutex_unlock(&opens->lock);
	DL_FOREACH_SAFE (left, opened, next)
		opened->close(mount, opened);
}
