/*
 * The supervisor: the process that starts the daemon and holds what must outlive it: the descriptor of /dev/fuse and the memory of each session
 * (kept.h), the store's lock, the memory of the journal. When the daemon dies it starts a new one, which goes on with them.
 *
 *   start --fork, exec--> daemon --READY--> serving --dies--> start (with what is held)
 *                           |                  |--ends for another to go on (`restart`)--> start (with the program that was passed)
 *                           |                  \--ends because it was asked to--> exit, with its code
 *                           |--dies before READY, and was the first--> exit
 *                           |--dies before READY, with a program that was passed--> start (with the program before that)
 *                           |--dies although it was told to end--> start, and the next one is told as well
 *                           \--GIVE_UP_STARTS in a row, for half a minute, die without having answered anything or served for a minute--> give up
 *
 * Who dies is followed by the same program, whatever lies at its path now. Daemons that die soon one after the other are started after longer
 * and longer pauses (5 s at most), so that nothing they do can keep a processor busy. As long as they answer something nobody gives up,
 * since only daemons can commit what the journal has.
 *
 * It must not die itself. So it has one thread, allocates nothing after its start, opens no file that could be missing, takes no locks, and
 * waits for the daemon or for word from it. If it is killed all the same, the daemon goes on by itself and says so in its log; then a
 * crash of the daemon ends the mounts, unless a service manager keeps what the supervisor held (service.h).
 *
 * A daemon that was killed may not be gone at once: a thread of it can wait in the kernel for pages that only a daemon could write. But it
 * runs no more, which the closing of the pipe `life` tells, and the next one is what it waits for (fs/fuse/session/aborter.c has the trick).
 *
 * Giving up ends the kernel's connections, so that nobody waits for ever, and leaves a line in the store's log.
 */
#ifndef CORPUSFS_SUPERVISE_SUPERVISOR_H
#define CORPUSFS_SUPERVISE_SUPERVISOR_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "fs/supervise/untold.h"

#define SUPERVISOR_ARGUMENT "--supervised" /* of the program, when it is to be the daemon: PAGE SOCKET LIFE READY, descriptors, READY may be -1 */
#define SUPERVISOR_NAME "corpusfs-super"   /* what `ps -o comm` shows */
/*
 * The number of all that one daemon leaves to the next: this page, kept.h, lib/tree/inodes/journal.h, the options (fs/daemon/serve/heritage.h). It
 * is raised with any change of them: a program takes over only from one with the same number.
 */
#define SUPERVISOR_HERITAGE 5
#define SUPERVISOR_SESSIONS 128
#define SUPERVISOR_DEAD_MAX 16 /* more than die before one has taken the store */
#define SUPERVISOR_OPTIONS_MAX 65536

/* What the daemon passes (pass.h); each is answered by one packet of the same kind and number, with SUPERVISOR_REFUSED if it is not kept. */
#define SUPERVISOR_REFUSED 0x100U
enum supervisor_word {
	SUPERVISOR_KEEP = 1, /* the session's /dev/fuse, memory and, unless it has none, the file that ends its connection */
	SUPERVISOR_DROP,     /* the session has ended */
	SUPERVISOR_STORE,    /* the lock and the journal's memory, in this order */
	SUPERVISOR_LOG,      /* where to say that it gives up */
	SUPERVISOR_PROGRAM,  /* the program that the next daemon is to be */
};

/* Memory that supervisor and daemon share. Numbers of descriptors are the supervisor's, which the daemon inherits. */
struct supervisor_page {
	uint64_t magic;
	uint32_t heritage; /* SUPERVISOR_HERITAGE */
	/* The daemon that came last, and when it started (lib/base/procfs.h): it says so before it takes anything. 0: none yet. */
	pid_t daemon;
	uint64_t daemon_started;
	/* The daemons before this one, the last one first, ended by 0. None runs any more, but the system may show each. */
	pid_t dead[SUPERVISOR_DEAD_MAX + 1];
	int dead_status;     /* of the last, as of wait(2), if dead_known */
	bool dead_known;
	bool dead_asked;     /* it ended for the next one to go on (restart) */
	uint32_t restarts, crashes; /* so often another one went on because that was asked for, or because one had died */
	int lock_fd, journal_fd;    /* -1: none */
	struct supervisor_session {
		_Atomic uint32_t used;
		int fuse_fd, memory_fd, abort_fd;
	} sessions[SUPERVISOR_SESSIONS];
	/* By the daemon. */
	_Atomic uint64_t ready_ms; /* since when it serves, of CLOCK_MONOTONIC; 0: not yet */
	_Atomic uint32_t progress; /* it has answered a request */
	_Atomic uint32_t leaving;  /* it ends because it was asked, whatever its exit code */
	_Atomic int left;          /* it has done all it had to, and has only to go; its exit code and 1 */
	_Atomic uint32_t restart;  /* it ends, and a new one is to go on */
	/* By the supervisor. */
	_Atomic uint32_t fell_back; /* the program that was passed last did not come up */
	_Atomic uint32_t over;      /* it ends, and has nothing to tell a service manager any more */
	char options[SUPERVISOR_OPTIONS_MAX];
	struct untold untold; /* the daemons' own; the supervisor does not look at it */
};
#define SUPERVISOR_MAGIC 0x3170757373667063ULL

/* A page of zeros with its descriptor. -ENOMEM and others. */
int supervisor_page_new(struct supervisor_page **ret_page, int *ret_fd);
/*
 * Runs until the daemon has ended for good; returns the exit code. ready_fd is passed on to the first daemon and closed. goes_on: the page is what
 * an earlier supervisor has left (service.h), which was killed; the daemon that may have outlived it is ended, and another goes on.
 */
int supervisor_run(struct supervisor_page *page, int page_fd, int ready_fd, bool goes_on);

#endif
