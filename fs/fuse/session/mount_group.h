/*
 * The inside of a mount group and its mounts. Internal to fs/fuse.
 *
 * Locks, in the order in which they are taken:
 *   group.notify_lock   one at a time makes the kernel write back or drop pages of read-write mounts: an inode that
 *                       the gate has sealed must not be invalidated. Held from freeze to thaw. Never taken in a
 *                       request's thread.
 *   group.lock          guards mounts, their refs and ended, and the open counts of snapshots; a leaf except for writers.lock
 *   changes, gate, writers, opens, slow: locks of their own, leaves
 */
#ifndef CORPUSFS_FUSE_SESSION_MOUNT_GROUP_H
#define CORPUSFS_FUSE_SESSION_MOUNT_GROUP_H

#include <pthread.h>
#include <stdatomic.h>

#include "fs/fuse/notify/changes.h"
#include "fs/fuse/freeze/gate.h"
#include "fs/fuse/session/aborter.h"
#include "fs/fuse/session/latency.h"
#include "fs/fuse/session/mount.h"
#include "fs/fuse/session/opens.h"
#include "fs/fuse/session/session.h"
#include "fs/fuse/notify/worker.h"
#include "fs/fuse/freeze/writers.h"

struct open_count;

struct mount_group {
	struct store *store;
	struct mount_log log;
	struct gate *gate;
	struct aborter *guard;
	struct latency *latency; /* NULL: not on this system */
	struct worker *slow;
	struct worker *digests; /* what may take minutes: virtual_xattrs.c */
	struct changes *changes;

	pthread_mutex_t notify_lock;
	bool frozen;              /* notify_lock is held for a freeze; the thread that took it */
	uint64_t freeze_until_ms; /* guarded by notify_lock: when a freeze gives up */

	pthread_mutex_t lock;
	pthread_cond_t ended_cond;
	struct mount *mounts;           /* that serve */
	unsigned alive;                 /* mounts not yet released: the group outlives them */
	struct open_count *open_counts; /* per snapshot view: open files and directories */
	void (*on_end)(void *arg, struct mount *mount);
	void *on_end_arg;

	atomic_uint sessions;        /* that serve: changes are only noted when somebody else may want to know */
	_Atomic uint64_t generation; /* grows when a head is replaced: handles then ask whether their view still lives */
	_Atomic int64_t changed_s;   /* when the list of datasets changed: the root's mtime */
	uid_t owner_uid;             /* of the mount's root: the store's owner */
	gid_t owner_gid;
};

struct mount {
	struct session *session; /* first: session.c finds it through the userdata */
	struct mount_group *group;
	struct mount *prev, *next;
	unsigned refs;
	bool ended;
	atomic_bool leaving; /* its session ended: digests for it are given up */
	struct mount_options options; /* with copies of its strings */
	bool read_only;               /* the whole session, so that OPEN is not needed */
	uint32_t dataset;             /* id; 0: the whole store */
	_Atomic uint32_t root_view;   /* 0: the whole store */
	struct view *pinned;          /* a mounted snapshot's */
	struct writers writers;
	struct opens opens;
	atomic_uint open_files;
	_Atomic uint64_t capabilities; /* how often somebody set security.capability: see files.c */
	unsigned read_ahead_kb;
	unsigned connection; /* known to the guard; 0: not */
	int result; /* of the commit at its end */
};

void group_log(struct mount_group *group, const char *level, const char *format, ...) PRINTF_LIKE(3, 4);

/* A snapshot's files in use; heads are not counted. */
void group_count_open(struct mount_group *group, struct view *view, int step);

void group_add(struct mount_group *group, struct mount *mount);
void group_ended(struct mount *mount); /* the session's `ended` */

/* The mounts as an array of references; each is given back with mount_put. */
size_t group_mounts(struct mount_group *group, struct mount ***ret_mounts);
void mount_get(struct mount *mount);
void mount_put(struct mount *mount);

/*
 * Makes the kernel write back the files that the mount has open for writing in a view (0: any). Not in a request's
 * thread.
 */
WARN_UNUSED int group_flush(struct mount *mount, uint32_t view);

extern const struct fuse_lowlevel_ops mount_ops;

#endif
