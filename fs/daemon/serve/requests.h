/*
 * What the control socket answers: the operations of lib/ops, and those that only a daemon has or has more to do for.
 *
 *   mount.start  {mountpoint, ... (mounts.h), wait?: answer when it has ended, end it when the client goes} -> {mountpoint}; with a descriptor
 *                of the mountpoint it is refused where the daemon finds another directory at that path
 *   mount.stop   {mountpoint, lazy?} -> {mountpoint, last: the daemon left, in_use}   answered when everything is on disk
 *   mount.list   {}; rows: the mounts
 *   mount.has    {connection: the number of a FUSE connection} -> {has: it is one of the mounts}
 *   store.sync   the kernel's pages first
 *   store.status also {pid, version, gc, supervised, memory: [{name, bytes, budget: 0 where there is none}], leases: rows of leases_list
 *                (lib/backup/leases.h) with the dataset's name, ...}, and the mounts as rows
 *   daemon.restart {heritage} -> {pid}; with a descriptor of the program: another daemon, which is that program, goes on with everything
 *   gc.run       pauses the daemon's own collector
 */
#ifndef CORPUSFS_DAEMON_SERVE_REQUESTS_H
#define CORPUSFS_DAEMON_SERVE_REQUESTS_H

#include "fs/daemon/background/jobs.h"
#include "fs/daemon/control/control.h"
#include "fs/daemon/process/mounts.h"

struct requests {
	struct store *store;
	struct mounts *mounts;
	struct jobs *jobs;
	struct keeper *keeper; /* NULL: there is no supervisor, and `unsupervised` says why */
	const char *unsupervised;
	int journal_fd;        /* -1: there is none */
	int event_fd;          /* is written to when the main thread is to look at this: */
	atomic_bool restart;   /* the daemon is to end for another */
};

/* For struct control_handler; arg is a struct requests. */
int requests_run(void *arg, struct control_call *call, json_t **ret_result, struct error *err);

#endif
