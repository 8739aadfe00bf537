/*
 * The daemon: one process per store that is mounted. It holds the store's lock, serves the mounts and, on
 * STORE/socket, the operations of lib/ops; it leaves when its last mount has ended.
 *
 *   starting --first mount answers--> serving --last mount ended, SIGTERM or SIGINT--> leaving --store closed--> exit 0
 *   daemon_start: store_open,         serve()                                         leave(): control_stop,
 *   mounts_start, control_start                                                       store_close, control_finish
 *
 * It is started by a supervisor where there can be one (fs/supervise/supervisor.h), which starts another when it dies: that one finds the journal of
 * what was not committed (lib/tree/content/replay.h), the sessions (fs/fuse/session/session.h) and the lock, and goes on.
 *
 *   starting anew: store_open, store_replay, mounts_resume, store_reap_orphans, mounts_serve, control_start --> serving
 *
 * Signals stop all mounts as a lazy umount does, after everything was committed; a second one changes nothing. Where
 * files are open in a mount, the process ends with everything on disk, and they get ENOTCONN. After SIGKILL of one without a
 * supervisor the next `corpusfs mount` finds a stale socket and a dead mount, and replaces both.
 *
 * Locks of the whole program, in the order in which they may be taken; those of fs/daemon are never held while calling
 * into another layer, nor while sending.
 *
 *   fs/daemon  mounts.lock     list of mounts, counts, `leaving`
 *              control.lock    list of connections, `stopping`, `closed`
 *              jobs.lock       state of the background thread
 *   fs/fuse, lib   see lib/base/lock_order.h
 *   fs/daemon  log.lock        leaf
 */
#ifndef CORPUSFS_DAEMON_SERVE_DAEMON_H
#define CORPUSFS_DAEMON_SERVE_DAEMON_H

#include <jansson.h>

#include "lib/store/store.h"

#define DAEMON_LOG "log"
#define DAEMON_LOG_WAITS "replay-waits" /* the event of a daemon that does not answer yet, because it waits for the disk */

struct daemon_options {
	const char *store; /* absolute */
	struct store_options store_options;
	/* Why it has no supervisor, so that no other goes on when it dies; NULL: it has one, if there is memory for that. */
	const char *unsupervised;
	bool foreground;     /* serve in this process, log to standard error, return when the daemon has left */
	const json_t *mount; /* arguments of its first mount, as of operation mount.start */
};

/* The program as it is started by a supervisor (fs/supervise/supervisor.h), with the words behind SUPERVISOR_ARGUMENT. Returns the exit code. */
int daemon_supervised(char **words);

/*
 * Starts the daemon; returns when its first mount answers, with the result of mount.start. Errors: of store_open and
 * mount_start.
 */
WARN_UNUSED int daemon_start(const struct daemon_options *options, json_t **ret_result, struct error *err);

/*
 * Goes on with the mounts that a service manager kept when all processes of the service were killed (fs/supervise/service.h). Before anything looks
 * at a mountpoint: whoever does waits for a daemon. 1: a daemon serves them; 0: there are none
 * any more, and what had been written to them is on disk; -EXDEV: of another version, they have ended.
 */
WARN_UNUSED int daemon_resume(struct error *err);

#endif
