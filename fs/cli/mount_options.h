/* The text after -o of `corpusfs mount`. */
#ifndef CORPUSFS_CLI_MOUNT_OPTIONS_H
#define CORPUSFS_CLI_MOUNT_OPTIONS_H

#include <jansson.h>

#include "lib/store/store.h"

/* In `args`, of remotes and of mounts of backups: how many seconds who reads waits; the cache on disk (as it was given), and its bytes; that what is
 * published may be an older version than the newest; that the mount moves to each newer one. */
#define MOUNT_TIMEOUT "timeout"
#define MOUNT_CACHE_DIR "cache_dir"
#define MOUNT_CACHE_SIZE "cache_size"
#define MOUNT_STALE_OK "stale_ok"
#define MOUNT_FOLLOW "follow"
/* Of datasets: as what they are published, "REMOTE[:NAME]", and the seconds of the lease (mount_lease.h). */
#define MOUNT_LEASE "lease"
#define MOUNT_LEASE_TIME "lease_time"

/* -EINVAL: one of these was given, and is of no use with a store. */
WARN_UNUSED int mount_options_check_store(const json_t *args, struct error *err);

/*
 * Sets in `args` what mount.start takes (fs/daemon/process/mounts.h) and in `store_options` what belongs to the daemon.
 * -EINVAL with a text that names the option. May be called several times.
 */
WARN_UNUSED int mount_options_parse(const char *text, json_t *args, struct store_options *store_options, struct error *err);

#endif
