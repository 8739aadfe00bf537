#include "fs/fuse/group/recent.h"

#include "lib/base/clock.h"

#define LATELY_MS 60000

void recent_init(struct recent *recent)
{
	*recent = (struct recent){0};
	pthread_mutex_init(&recent->lock, NULL);
}

void recent_clear(struct recent *recent)
{
	pthread_mutex_destroy(&recent->lock);
}

void recent_note(struct recent *recent, pid_t thread, uint32_t view)
{
	pthread_mutex_lock(&recent->lock);
	recent->listings[recent->next] = (struct recent_listing){.thread = thread, .view = view, .at_ms = clock_ms()};
	recent->next = (recent->next + 1) % RECENT_MAX;
	pthread_mutex_unlock(&recent->lock);
}

bool recent_has(struct recent *recent, pid_t thread, uint32_t view)
{
	uint64_t now_ms;
	bool has = false;

	pthread_mutex_lock(&recent->lock);
	now_ms = clock_ms(); /* not before any that is noted */
	for (unsigned i = 0; i < RECENT_MAX && thread != 0; i++) {
		const struct recent_listing *listing = &recent->listings[i];

		has |= listing->thread == thread && listing->view == view && now_ms - listing->at_ms < LATELY_MS;
	}
	pthread_mutex_unlock(&recent->lock);
	return has;
}
