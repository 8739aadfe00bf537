/*
 * Which process something belongs to, written down where others find it, and whether that process still lives. Numbers of processes are used again, and
 * mean something only where they were given: in a container or on another machine the same number is another process. So a mark says when the process
 * was started, and where both count. Any thread.
 */
#ifndef CORPUSFS_BASE_PROCESS_MARK_H
#define CORPUSFS_BASE_PROCESS_MARK_H

#include "lib/base/procfs.h"

struct process_mark {
	pid_t pid;
	uint64_t started;             /* clock ticks after the boot; 0: not known */
	char place[PROCFS_PLACE_MAX]; /* where these count (procfs_place); "": not known */
	char host[65];
	char machine[PROCFS_MACHINE_MAX]; /* /etc/machine-id; "": not known */
};

enum process_state {
	PROCESS_UNKNOWN, /* it runs, or ran, where its number means nothing here */
	PROCESS_HIDDEN,  /* there is one of that number, of which nothing is told; it may be another one */
	PROCESS_GONE,
	PROCESS_BEFORE,  /* it ran on this machine before that was started anew; or it runs, or ran, on a clone of it */
	PROCESS_LIVES,
	PROCESS_STOPPED, /* it lives, and a signal or a debugger has stopped it */
};

/* Of a process that runs where we do. */
void process_mark_of(pid_t pid, struct process_mark *ret_mark);

/*
 * What became of the process. PROCESS_BEFORE: host and machine are the same, the boot is another one, and neither that process nor ours is in a container,
 * for containers of one image may have both of two machines. So may clones of a machine: who asks must know when the process lived.
 */
enum process_state process_mark_look(const struct process_mark *mark);
/* The same of a process whose number counts here. started 0: not known, and none of that number is another one. */
enum process_state process_look(pid_t pid, uint64_t started);

#endif
