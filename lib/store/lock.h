/*
 * The lock of a store: flock on STORE/lock, which the kernel gives back when the owner dies. The file says who: "PID COMMAND\n".
 * Internal to lib/store. Any thread.
 */
#ifndef CORPUSFS_STORE_LOCK_H
#define CORPUSFS_STORE_LOCK_H

#include <sys/types.h>

#include "lib/store/store_dir.h"

#define LOCK_NAME "lock"

WARN_UNUSED int lock_take(const struct store_dir *dir, int *ret_fd, struct error *err); /* -EBUSY, -EACCES */
/* For a store that nobody can write: shared with others that read it. *ret_fd is -1 where there is no lock file. */
WARN_UNUSED int lock_share(const struct store_dir *dir, int *ret_fd, struct error *err);
void lock_release(int fd);
pid_t lock_owner(int dir_fd); /* 0: nobody */

#endif
