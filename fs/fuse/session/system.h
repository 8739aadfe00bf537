/*
 * What the system says and does about mountpoints, without a call that our own mount would have to answer: such a
 * call in a thread of the daemon could hold a killed daemon, and with it the mount, for ever. So unmounting is a
 * child's work, and questions go to mountinfo.
 */
#ifndef CORPUSFS_FUSE_SESSION_SYSTEM_H
#define CORPUSFS_FUSE_SESSION_SYSTEM_H

#include <stdbool.h>

#include "lib/base/error.h"

struct system_mount {
	unsigned major, minor;
	char type[64];
};

/* What is mounted at exactly this absolute path (the last of several); -ENOENT. */
WARN_UNUSED int system_find_mount(const char *mountpoint, struct system_mount *ret_mount);

bool system_device_mounted(unsigned minor); /* anywhere that this process sees; the major number of such devices is 0 */

WARN_UNUSED int system_umount(const char *mountpoint, bool lazy); /* -EBUSY */
WARN_UNUSED int system_bind(const char *source, const char *mountpoint);
/*
 * Mounts a session once more, of which perhaps no mount is left: what belongs to the descriptor of /dev/fuse. `below`: only this directory
 * of its root; "" for all. `flags`: MS_*. Linux 5.15 and newer; before, -EINVAL.
 */
struct system_again {
	int fd;
	const char *source, *below, *mountpoint;
	unsigned long flags;
};
WARN_UNUSED int system_mount_again(const struct system_again *what);

/*
 * Raises read-ahead and lets write-back use more memory, where permitted. Returns the read-ahead that holds now, in
 * KiB; 0 unknown.
 */
unsigned system_tune(const struct system_mount *mount);

/* Says why libfuse could not mount there; the code. */
int system_mount_failed(const char *mountpoint, const char *mount_options, struct error *err);

#endif
