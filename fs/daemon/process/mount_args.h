/*
 * What mount.start is given (fs/daemon/process/mounts.h), as options of a mount, whose strings live in the arguments; and how they get on
 * with what is there.
 */
#ifndef CORPUSFS_DAEMON_PROCESS_MOUNT_ARGS_H
#define CORPUSFS_DAEMON_PROCESS_MOUNT_ARGS_H

#include <jansson.h>

#include "fs/fuse/mount/mount.h"

WARN_UNUSED int mount_args_to_options(const json_t *args, struct mount_options *ret_options, struct error *err);

/* What a mount is of. Names of datasets change while they are mounted. */
struct mount_source {
	uint32_t dataset; /* by id; 0: all of the store */
	bool writes;
};

/* Says which of dataset and snapshot is not there, before the kernel is asked for anything. */
WARN_UNUSED int mount_args_find_source(struct store *store, const struct mount_options *options, struct mount_source *ret_source, struct error *err);

/* Whether a mount of `wanted` would write files that `has` has for writing already; and whether `has` has all of them. */
bool mount_args_overlap(const struct mount_source *has, const struct mount_source *wanted);
bool mount_args_cover(const struct mount_source *has, const struct mount_source *wanted);
/* An option that is asked for and that the other mount does not have; NULL: it has all of them. Freed by the caller. */
char *mount_args_missing(const struct mount_options *has, const struct mount_options *wanted, const json_t *args);
/* The name that the dataset has now, or had last. NULL: it is all of the store. */
char *mount_args_dataset_name(struct store *store, const struct mount_source *source, const char *last);
/* Says that it cannot be mounted for writing beside a mount of this name at this place, which may show nowhere any more. -EBUSY. */
int mount_args_refuse(const char *name, const char *mountpoint, bool detached, struct error *err);

#endif
