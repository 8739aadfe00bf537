/*
 * What every operation starts and ends with: which view and inode a request speaks of, and how an inode is told to
 * the kernel.
 *
 *   AUTO_TARGET target;
 *   target_open(req, id, &target)  ...  reply
 */
#ifndef CORPUSFS_FUSE_OPS_REQUEST_H
#define CORPUSFS_FUSE_OPS_REQUEST_H

#include <fuse_lowlevel.h>

#include "fs/fuse/group/mount_group.h"
#include "fs/fuse/session/node.h"

#define SNAPSHOTS_NAME ".snapshots"
#define READERS_MS 1000 /* who removes a snapshot or a dataset waits so long for those who are about to let go of it */

/* Of a directory whose subdirectories are not counted, as btrfs says it: who walks a tree by counting does not count here. */
#define NLINK_UNKNOWN 1

struct target {
	struct mount *mount;
	struct node node;
	struct view *view; /* of a file or of the directory of ".snapshots"; NULL for the list of datasets. Held until target_close */
};

#define AUTO_TARGET CLEANUP(target_close) struct target

static inline struct mount *request_mount(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* -ESTALE when the view is gone. The target may be closed in any case. */
WARN_UNUSED int target_open(fuse_req_t req, fuse_ino_t id, struct target *ret_target);
/* The same for what is to be changed: -EROFS in read-only mounts and snapshots, -EPERM for the virtual directories. */
WARN_UNUSED int target_open_writable(fuse_req_t req, fuse_ino_t id, struct target *ret_target);
/* The same, a name in a directory being changed: -EPERM for ".snapshots". */
WARN_UNUSED int target_open_name(fuse_req_t req, fuse_ino_t dir, const char *name, struct target *ret_target);
void target_close(struct target *target);

/* Whether ".snapshots" is a virtual directory in this one, which then is the root of a head. */
bool target_has_snapshots(const struct target *target);

/*
 * How long the kernel may trust what it is told: for ever in snapshots; in heads long, since whoever changes them
 * tells (changes.h).
 */
#define TIMEOUT_SNAPSHOT 1e9
#define TIMEOUT_HEAD 86400.0
#define TIMEOUT_LIST 1.0 /* names of datasets and snapshots */
double target_timeout(const struct target *target);
double target_name_timeout(const struct target *dir); /* for a name in the directory */

void target_stat(const struct target *target, const struct attr *attr, struct stat *ret_stat);
/* An inode of the target's view. */
void target_entry(const struct target *target, const struct attr *attr, struct fuse_entry_param *ret_entry);

/*
 * Whether set-gid falls although the group may not execute the file: who changes it is not in its group. Asked only where that decides,
 * since the kernel does not say in which groups a caller is: they come from /proc. A caller who is not to be found is in none; root is in all.
 */
bool request_is_outsider(fuse_req_t req, const struct attr *attr);

/* For listing a directory that no view holds. */
typedef int (*virtual_list_fn)(void *arg, const char *name, uint64_t number, uint32_t view);

/* Replies with the inode, or with an error when `result` is one. */
void reply_entry(fuse_req_t req, const struct target *target, int result, const struct attr *attr);
void reply_result(fuse_req_t req, int result);
/* Replies with the first `got` bytes of a buffer of session_buffer_get(), or with an error, and puts the buffer. NULL: `got` is one. */
void reply_buffer(fuse_req_t req, struct session *session, void *buffer, ssize_t got);

#endif
