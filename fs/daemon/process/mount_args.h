/* What mount.start is given (fs/daemon/mounts.h), as options of a mount; their strings live in the arguments. */
#ifndef CORPUSFS_DAEMON_PROCESS_MOUNT_ARGS_H
#define CORPUSFS_DAEMON_PROCESS_MOUNT_ARGS_H

#include <jansson.h>

#include "fs/fuse/mount/mount.h"

WARN_UNUSED int mount_args_to_options(const json_t *args, struct mount_options *ret_options, struct error *err);

#endif
