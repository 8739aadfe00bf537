#include "fs/fuse/group/listers.h"

void listers_init(struct listers *listers)
{
	*listers = (struct listers){0};
	pthread_mutex_init(&listers->lock, NULL);
}

void listers_clear(struct listers *listers)
{
	pthread_mutex_destroy(&listers->lock);
}

static struct lister *place_of(struct listers *listers, pid_t thread)
{
	return &listers->places[(unsigned)thread % LISTERS_PLACES];
}

bool listers_list(struct listers *listers, pid_t thread, uint64_t directory, bool from_start, uint64_t now_ms)
{
	struct lister *lister = place_of(listers, thread);
	bool wants;

	if (thread == 0)
		return from_start;
	pthread_mutex_lock(&listers->lock);
	if (lister->thread != thread)
		*lister = (struct lister){.thread = thread, .directory = directory, .is_first = true};
	if (lister->directory != directory) {
		lister->directory = directory;
		lister->lookups = 0;
		lister->is_first = false;
	}
	wants = now_ms < lister->wants_until_ms || (lister->is_first && from_start);
	pthread_mutex_unlock(&listers->lock);
	return wants;
}

void listers_look_up(struct listers *listers, pid_t thread, uint64_t directory, uint64_t now_ms)
{
	struct lister *lister = place_of(listers, thread);

	pthread_mutex_lock(&listers->lock);
	if (thread != 0 && lister->thread == thread && lister->directory == directory && ++lister->lookups >= LISTERS_LOOKUPS)
		lister->wants_until_ms = now_ms + LISTERS_WANT_MS;
	pthread_mutex_unlock(&listers->lock);
}
