/*
 * A mount group holds all mounts of one store's daemon; each mount is one FUSE session with its own threads. Here are the two structs, which
 * mounts there are, and what is open in them. Internal to fs/fuse.
 *
 * Locks; their order is that of lib/base/lock_order.h:
 *   freeze (freeze.h)   one at a time makes the kernel write back or drop pages of read-write mounts
 *   group.lock          guards mounts, their refs and ended; a leaf except for writers.lock
 *   changes, gate, writers, opens, recent, name_pages, workers: locks of their own, leaves
 */
#ifndef CORPUSFS_FUSE_GROUP_MOUNT_GROUP_H
#define CORPUSFS_FUSE_GROUP_MOUNT_GROUP_H

#include <stdatomic.h>
#include <sys/types.h>

#include "fs/fuse/freeze/freeze.h"
#include "fs/fuse/group/habit.h"
#include "fs/fuse/group/name_page.h"
#include "fs/fuse/group/opens.h"
#include "fs/fuse/group/options.h"
#include "fs/fuse/group/listers.h"
#include "fs/fuse/group/recent.h"
#include "fs/fuse/group/worker.h"
#include "fs/fuse/session/aborter.h"
#include "fs/fuse/session/latency.h"
#include "fs/fuse/session/session.h"
#include "fs/supervise/keeper.h"
#include "lib/base/locks.h"

struct changes;
struct mount;
struct watch;

struct mount_group {
	struct store *store;
	struct mount_log log;
	struct keeper *keeper; /* NULL: nobody goes on with the mounts when this process dies */
	struct freeze *freeze;
	struct head_views *heads;
	struct aborter *aborter;
	struct latency *latency; /* NULL: not on this system */
	struct worker *worker;   /* what a request may not wait for in place */
	struct worker *dropper;  /* drops pages from the kernel's cache before a write is answered: files.c */
	struct worker *digests;  /* what may take minutes: virtual_xattrs.c */
	struct worker *forgetter; /* let_go.c */
	struct changes *changes;
	struct watch *watch;
	struct recent recent; /* snapshots.c */
	struct listers listers; /* dirs.c */
	struct name_pages name_pages; /* dirs.c */

	struct mutex lock;
	pthread_cond_t ended_cond;
	struct mount *mounts;           /* that serve */
	unsigned alive;                 /* mounts not yet released: the group outlives them */
	void (*on_end)(void *arg, struct mount *mount);
	void *on_end_arg;

	atomic_uint sessions;        /* that serve: changes are only noted when somebody else may want to know */
	_Atomic uint64_t generation; /* grows when a head is replaced: handles then ask whether their view still lives */
	_Atomic int64_t changed_s;   /* when the list of datasets changed: the root's mtime */
	uid_t owner_uid;             /* of the mount's root: the store's owner */
	gid_t owner_gid;
};

struct mount {
	struct gate_session gate; /* first, and its session first in it: session.c finds it through the userdata */
	struct mount_group *group;
	struct mount *prev, *next;
	unsigned refs;
	bool ended;
	atomic_bool leaving; /* its session ended: digests for it are given up */
	struct mount_options options; /* with copies of its strings */
	bool read_only;               /* the whole session, so that OPEN is not needed */
	uint32_t dataset;             /* id; 0: the whole store */
	struct view *pinned;          /* a mounted snapshot's */
	struct kept_session *kept;            /* what a daemon after this one needs */
	int kept_fd;                  /* its memory; -1: there will be none */
	bool rings;                   /* its requests may come by io_uring */
	int fuse_fd;                  /* of a mount that goes on, until it is served */
	unsigned number;              /* the keeper's, if kept_fd is one */
	pthread_mutex_t keep_lock;    /* a leaf: guards the next, so that nothing is kept under a number that may be another's by then */
	bool is_dropped;              /* the keeper has the session no more */
	struct opens opens;
	struct habit habit;           /* of those who read snapshots */
	atomic_uint open_files;
	_Atomic uint64_t capabilities; /* how often somebody set security.capability: see files.c */
	unsigned read_ahead_kb;
	int result; /* of the commit at its end */
	uint64_t told_unique; /* of the request that was told last of those that waited for long; the watch's */
};

/* NULL: others see the mount, and its session has not begun. */
static inline struct session *mount_session(const struct mount *mount)
{
	return mount->gate.session;
}

/* The view that the mount's root stands for; 0: the whole store. */
static inline uint32_t mount_root_view(const struct mount *mount)
{
	return node_root_view(&mount->gate.root);
}

void group_log(struct mount_group *group, const char *level, const char *format, ...) PRINTF_LIKE(3, 4);

bool group_is_mounted(struct mount_group *group, uint32_t view); /* a snapshot's, by itself */

/* Caller holds the group's lock. */
void group_add(struct mount_group *group, struct mount *mount);
void group_remove(struct mount_group *group, struct mount *mount);

/* The mounts as an array of references; each is given back with mount_put. */
size_t group_mounts(struct mount_group *group, struct mount ***ret_mounts);
void mount_get(struct mount *mount);
void mount_put(struct mount *mount);

#endif
