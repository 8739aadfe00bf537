/*
 * The daemon's mounts: started and stopped by operations, ended by anybody's umount.
 *
 * An entry is in the list from before its mount starts until its session has ended and everything is committed.
 * Whoever takes the last one away sets `leaving`; from then on no mount starts (-ESHUTDOWN), so that a daemon never
 * gives up a store that is mounted.
 *
 * Two sessions that write the same files would have two page caches that do not know of each other. So what is
 * mounted for writing already is shown at the second place by a bind mount, where we are root; the session ends when
 * all its places are unmounted and nothing is open in it. What was detached from all its places, with files open, is shown again in the
 * same way. A session that is about to end is waited for.
 *
 * A dataset that is mounted with a lease is read-only until it has one (lib/backup/leases.h), which goes with the mount.
 *
 * Threads: any, except mounts_new, mounts_reap and mounts_free, which are the main thread's.
 */
#ifndef CORPUSFS_DAEMON_PROCESS_MOUNTS_H
#define CORPUSFS_DAEMON_PROCESS_MOUNTS_H

#include <errno.h>
#include <jansson.h>
#include <stdatomic.h>

#include "fs/daemon/process/log.h"
#include "lib/store/store.h"

struct keeper;
struct leases;
struct mounts;

/* `event_fd` is written to when the main thread should call mounts_reap. NULL: a thread could not be started. */
struct mounts *mounts_new(struct store *store, struct log *log, int event_fd, struct keeper *keeper); /* keeper: NULL, or of mount.h */
void mounts_free(struct mounts *mounts); /* after mounts_finished */

/*
 * After a daemon that died: all sessions that the keeper has go on. mounts_resume opens what was open; then orphans may be reaped; mounts_serve
 * answers requests again. A session that can never go on ends. MOUNTS_NONE: none
 * can. Other errors may be over for the next daemon, which finds all sessions.
 */
#define MOUNTS_NONE (-ENOLINK)
WARN_UNUSED int mounts_resume(struct mounts *mounts, struct keeper *keeper, struct error *err);
WARN_UNUSED int mounts_serve(struct mounts *mounts, struct error *err);

/* args, with all names as bytes: {mountpoint, dataset?, snapshot?, read_only?, allow_other?, acl?, debug?, snapdir?, extra?, lease?: a text} ->
 * {mountpoint} */
WARN_UNUSED int mounts_start(struct mounts *mounts, const json_t *args, json_t **ret_result, struct error *err);

struct mounts_stopped {
	bool last;     /* it was the last one: the daemon leaves */
	bool in_use;   /* somebody used it there, so it is detached only; what was written so far is on disk */
	bool lives_on; /* nobody used it there, but it was detached from another place in use, or another mount namespace has it */
};
/* Returns when the mount's session has ended, if it was its last place, and all is committed. -EBUSY when it is in use, unless `lazy`. */
WARN_UNUSED int mounts_stop(struct mounts *mounts, const char *mountpoint, bool lazy, struct mounts_stopped *ret_stopped,
                            struct error *err);

/* Returns when the mount at the mountpoint has ended, or, with it stopped, after `cancelled` became true. */
void mounts_wait(struct mounts *mounts, const char *mountpoint, const atomic_bool *cancelled);

/* Stops all lazily and lets no new one start; cuts off those with files open after a second; returns how many did not end even so. */
size_t mounts_stop_all(struct mounts *mounts);
struct leases *mounts_leases(struct mounts *mounts);
json_t *mounts_list(struct mounts *mounts); /* all names as bytes: [{mountpoint, dataset, snapshot, read_only, ..., requests, open_files, ...}] */
void mounts_settle(struct mounts *mounts); /* the mounts show what an operation has changed */
WARN_UNUSED int mounts_flush(struct mounts *mounts); /* what the kernel holds of open files comes in */
WARN_UNUSED int mounts_lost(struct mounts *mounts, struct error *err); /* as mount_lost(), of all mounts, those that have ended not */
void mounts_note_lost(struct mounts *mounts, uint32_t view, uint64_t ino, int error); /* for the mounts that show it, after mounts_resume */
bool mounts_has_device(struct mounts *mounts, dev_t device); /* files on it are ours */
bool mounts_may_have(struct mounts *mounts, dev_t device);   /* the same, or a mount that starts may be on it */
void mounts_names(struct mounts *mounts, struct memory_part *ret_part); /* memory of what is listed */
uint64_t mounts_requests(struct mounts *mounts);     /* served by the mounts there are; for pacing */

void mounts_reap(struct mounts *mounts);     /* frees what has ended */
int mounts_result(struct mounts *mounts); /* 0; as mount_result(), of the mounts with which the daemon leaves: the first that had one */
bool mounts_finished(struct mounts *mounts); /* leaving, and no mount is left */

#endif
