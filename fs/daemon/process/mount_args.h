/*
 * What mount.start is given (fs/daemon/process/mounts.h), as options of a mount, whose strings live in the arguments; and how they get on
 * with what is there.
 */
#ifndef CORPUSFS_DAEMON_PROCESS_MOUNT_ARGS_H
#define CORPUSFS_DAEMON_PROCESS_MOUNT_ARGS_H

#include <jansson.h>

#include "fs/fuse/mount/mount.h"

WARN_UNUSED int mount_args_to_options(const json_t *args, struct mount_options *ret_options, struct error *err);

/* Says which of dataset and snapshot is not there, before the kernel is asked for anything. */
WARN_UNUSED int mount_args_check_source(struct store *store, const struct mount_options *options, struct error *err);

/* Whether a mount for writing by `options` would write files that `has` has for writing already; and whether `has` has all of them. */
bool mount_args_overlap(const struct mount_options *has, const struct mount_options *options);
bool mount_args_cover(const struct mount_options *has, const struct mount_options *options);
/* Says that it cannot be mounted for writing beside `has`, which may show nowhere any more. -EBUSY. */
int mount_args_refuse(const struct mount_options *has, bool detached, struct error *err);

#endif
