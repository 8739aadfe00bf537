/*
 * Which threads have listed which views and found them empty, lately: the last few of them, for a minute. A request knows its caller by the
 * number of a thread alone.
 *
 * Threads: any.
 */
#ifndef CORPUSFS_FUSE_GROUP_RECENT_H
#define CORPUSFS_FUSE_GROUP_RECENT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define RECENT_MAX 64

struct recent {
	pthread_mutex_t lock; /* guards all below */
	struct recent_listing {
		pid_t thread; /* 0: none */
		uint32_t view;
		uint64_t at_ms;
	} listings[RECENT_MAX];
	unsigned next; /* to be replaced */
};

void recent_init(struct recent *recent);
void recent_clear(struct recent *recent);
void recent_note(struct recent *recent, pid_t thread, uint32_t view);
bool recent_has(struct recent *recent, pid_t thread, uint32_t view);

#endif
