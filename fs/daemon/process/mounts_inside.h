/* The inside of the daemon's list of mounts. Internal to fs/daemon/process. */
#ifndef CORPUSFS_DAEMON_PROCESS_MOUNTS_INSIDE_H
#define CORPUSFS_DAEMON_PROCESS_MOUNTS_INSIDE_H

#include <pthread.h>

#include "fs/daemon/process/entry.h"
#include "fs/daemon/process/mounts.h"

struct mounts {
	struct store *store;
	struct log *log;
	struct mount_group *group;
	struct leases *leases;
	int event_fd;

	pthread_mutex_t lock;  /* guards all below and all of each entry but what never changes */
	pthread_cond_t change; /* an entry started or ended */
	struct entry *entries; /* starting or serving */
	struct entry *ended;   /* to be freed when nobody refers to them */
	unsigned starting;
	int result; /* of the first mount that has ended with one while leaving */
	bool leaving;
};

bool mounts_want_lease(void *mounts, uint32_t dataset); /* for struct leases_options */
void mounts_log(void *mounts, const char *level, const char *text);

#endif
