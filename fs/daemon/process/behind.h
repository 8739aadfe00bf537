/*
 * The process behind a mount, for who unmounts it and then needs what the process holds until it has ended, such as the lock of a repository.
 *
 *   the process:  behind_listen, and keeps the descriptor until it ends
 *   who unmounts: behind_connect -> unmounts -> behind_wait -> closes the descriptor
 *
 * The process listens on a socket whose abstract name (unix(7)) is the number of the mount's device: one in the whole system, in each mount
 * namespace. Nothing is said there, and connections are not taken: they end with the process. Anybody can take a name, so who listens is believed
 * only where the kernel says that it is a process of the user who mounted. In another network namespace there is no such socket: nothing is known.
 *
 * Threads: any.
 */
#ifndef CORPUSFS_DAEMON_PROCESS_BEHIND_H
#define CORPUSFS_DAEMON_PROCESS_BEHIND_H

#include <stdbool.h>
#include <sys/types.h>

#include "lib/base/clean.h"

/* Of the mount whose device has this minor number: a descriptor. */
WARN_UNUSED int behind_listen(unsigned minor);
/* The same, and which process it is, as this one sees it. -ECONNREFUSED: nobody listens; -EPERM: somebody else does. */
WARN_UNUSED int behind_connect(unsigned minor, uid_t mounted_by, pid_t *ret_pid);
/* Whether the process has ended within this time. */
bool behind_wait(int fd, int ms);

#endif
