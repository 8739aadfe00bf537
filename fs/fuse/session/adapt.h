/*
 * Requests and the INIT reply, rewritten so that libfuse 3.14 passes on all that we want to know (session.h has the list). `offered`: the flags of
 * the kernel's INIT. Internal to fs/fuse/session.
 */
#ifndef CORPUSFS_FUSE_SESSION_ADAPT_H
#define CORPUSFS_FUSE_SESSION_ADAPT_H

#include <linux/fuse.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* Adds to libfuse's INIT reply what it cannot negotiate, and the flags for flags2. True: FUSE_HANDLE_KILLPRIV_V2 is among it. */
bool adapt_init(uint64_t offered, uint32_t flags2, struct iovec *iov, int count);
size_t adapt_request(uint64_t offered, struct fuse_in_header *in, size_t len); /* returns the new length */
bool adapt_is_marked(uint32_t opcode); /* a request that cannot be done a second time as if it were the first */

#endif
