/*
 * The first half of a store's lock (lock.c): flock on STORE/lock, which the kernel gives back when the owner dies. The file says who:
 * "PID COMMAND\n". When he has closed the store it says how that went: "0 ERRNO\n", with 0 or why not all that was written is on disk; where
 * nobody had room for a text yet it is empty. Internal to lib/store. Any thread.
 */
#ifndef CORPUSFS_STORE_LOCK_FILE_H
#define CORPUSFS_STORE_LOCK_FILE_H

#include <stdbool.h>
#include <sys/types.h>

#include "lib/store/store_dir.h"

#define LOCK_NAME "lock"

WARN_UNUSED int lock_file_take(const struct store_dir *dir, int *ret_fd, struct error *err); /* -EBUSY, -EACCES */
/*
 * For who only reads: shared with others who do. *ret_fd is -1 where the file is not there or not to be read. kept_fd: of STORE/lock, which somebody
 * keeps for us and stays the caller's; then it is the same lock. -1: there is none. -ESTALE: it is of another store.
 */
WARN_UNUSED int lock_file_share(const struct store_dir *dir, int kept_fd, int *ret_fd, struct error *err);
void lock_file_unshare(int fd, bool opened); /* fd may be -1. opened: the store was, and nobody keeps the lock for us any more */
/* A descriptor of our own for the same lock as kept_fd; how: LOCK_EX, LOCK_SH. -ESTALE: that is of another store; -EBUSY. */
WARN_UNUSED int lock_file_again(const struct store_dir *dir, int kept_fd, int how, int *ret_fd, struct error *err);
void lock_file_write_owner(int fd);
/* written: lock_file_write_owner was called; fd may be -1; result: 0 or negative errno, how closing the store went. */
void lock_file_release(int fd, bool written, int result);
pid_t lock_file_owner(int dir_fd); /* 0: nobody, as far as flock is shared with us; -1: somebody who has not said who */
/* For fd of STORE/lock, from before: whether it is the lock of this directory; and where its store lies now; NULL: that cannot be told. */
bool lock_file_is_of(int fd, int dir_fd);
char *lock_file_place(int fd);
int lock_file_result(int dir_fd); /* of the last owner who released it; -ENOTCONN: he died, or it cannot be told */

#endif
