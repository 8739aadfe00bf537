/*
 * Bytes with descriptors beside them, through a socket of this machine (SCM_RIGHTS). What is received is closed when a program is executed. Interrupted
 * calls are made again. Allocates nothing. Any thread.
 */
#ifndef CORPUSFS_BASE_FDS_H
#define CORPUSFS_BASE_FDS_H

#include <stddef.h>
#include <sys/types.h>

#include "lib/base/clean.h"

#define FDS_MAX 3

struct sockaddr;

/* At most FDS_MAX descriptors, and none at all is fine. `to`: of a socket that is not connected; else NULL. Bytes that were sent, or an error. */
WARN_UNUSED ssize_t fds_send(int socket, const void *data, size_t len, const int *fds, size_t count, const struct sockaddr *to, size_t to_len);
/* Bytes that came, 0: the other end has gone; or an error. The descriptors are the caller's; of more than FDS_MAX the rest is closed. */
WARN_UNUSED ssize_t fds_receive(int socket, void *data, size_t len, int ret_fds[FDS_MAX], size_t *ret_count);

#endif
