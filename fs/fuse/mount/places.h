/* Where a mount can show. Internal to fs/fuse/mount; mount.h has the rest. */
#ifndef CORPUSFS_FUSE_MOUNT_PLACES_H
#define CORPUSFS_FUSE_MOUNT_PLACES_H

#include "lib/base/error.h"

/* Whether something can be mounted there: errors of mount_start. */
WARN_UNUSED int place_check(const char *path, struct error *err);

#endif
