/* Messages with descriptors between the daemon and its supervisor, over a socket of packets. */
#ifndef CORPUSFS_SUPERVISE_PASS_H
#define CORPUSFS_SUPERVISE_PASS_H

#include <stdint.h>

#include "lib/base/clean.h"

#define PASS_FDS_MAX 3

struct pass {
	uint32_t what, number;
	int fds[PASS_FDS_MAX]; /* -1: none; not in the bytes that travel */
	uint32_t count;        /* of those that travel, all in front */
};

WARN_UNUSED int pass_send(int socket, const struct pass *pass);
/* 1; 0: the other end has gone; -EAGAIN: there is nothing, and the socket does not wait. The descriptors are the caller's. */
WARN_UNUSED int pass_receive(int socket, struct pass *ret_pass);

#endif
