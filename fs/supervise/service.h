/*
 * The descriptor store of a service manager (systemd's: sd_notify(3), FDSTORE). Where $NOTIFY_SOCKET and $FDSTORE say that there is one (a
 * version before 254 does not set the second: the unit does), what the supervisor holds is held there as well, so that the mounts outlive the
 * end of all processes of the service at once, by the OOM killer for example. The program that the manager then starts is passed all of it
 * ($LISTEN_FDS, sd_listen_fds(3)), and goes on (supervisor_run).
 *
 *   page                        the memory of supervisor.h     log   where the supervisor says what happens
 *   lock, journal               of the store
 *   fuse.N, memory.N, abort.N   of session N
 *
 * A manager that is not there, or does not take it, does not matter: nobody waits for it. The protocol is a datagram of text with a descriptor,
 * which is little beside libsystemd in a process that must not fail.
 */
#ifndef CORPUSFS_SUPERVISE_SERVICE_H
#define CORPUSFS_SUPERVISE_SERVICE_H

#include "fs/supervise/supervisor.h"
#include "lib/base/error.h"

#define SERVICE_FD_MIN 64
#define SERVICE_PAGE "page"
#define SERVICE_LOG "log"
#define SERVICE_LOCK "lock"
#define SERVICE_JOURNAL "journal"

/* What a manager had kept. Its descriptors, and those that the page names, have numbers from SERVICE_FD_MIN on. */
struct service_taken {
	struct supervisor_page *page;
	int page_fd, log_fd; /* log_fd -1: none */
	unsigned ended; /* so many mounts were ended, of which a part was missing */
};

bool service_keeps(void); /* there is such a manager */
void service_is_main(void); /* the service lives as long as this process */
/* One name, one descriptor: what it had before is forgotten. fd -1: that is all. */
void service_keep(const char *name, int fd);
void service_keep_session(unsigned number, const struct supervisor_session *session);
void service_forget_session(unsigned number);
void service_forget(const struct supervisor_page *page); /* all that it has; NULL: all there could be */

/*
 * 1: the manager passed what an earlier program had left, and the variables are gone. 0: nothing. -EXDEV: that program was of another heritage; its
 * connections have been ended, so that nobody waits for ever.
 */
WARN_UNUSED int service_take(struct service_taken *ret_taken, struct error *err);

#endif
