/*
 * Backups by the clock (corpusfs backup schedule), and healing from them (lib/verify/heal_plan.h). What is due is made by a process of its own,
 * `corpusfs tick` for this store, which comes back through the socket: passwords, repositories and scratch space are no matter of the daemon's, and
 * what happens to that process does not happen to the daemon. One at a time. One thread.
 */
#ifndef CORPUSFS_DAEMON_BACKGROUND_BACKUPS_H
#define CORPUSFS_DAEMON_BACKGROUND_BACKUPS_H

#include <sys/types.h>

#include "fs/daemon/process/log.h"
#include "lib/store/store.h"

struct backups {
	uint64_t due_ms; /* when to look again */
	uint64_t tell_ms; /* when to tell again what is late: once a day */
	pid_t child;     /* 0: none */
	int64_t healed;  /* when content was healed for the last time before it began */
};

void backups_look(struct backups *backups, struct store *store, struct log *log); /* now and then; does not wait */
/*
 * Ends the process, which leaves the repository whole, and what it began to the next mount or tick: it has noted that it began. It also ends by itself
 * when the thread that called backups_look() ends, as it does when the daemon dies.
 */
void backups_stop(struct backups *backups, struct log *log);

#endif
