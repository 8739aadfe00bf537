/*
 * Bytes to a descriptor, in order: a file, a pipe, a socket or a device. What is given is gathered into blocks.
 *
 *   stream_out_new -> stream_out_put ... -> stream_out_flush -> stream_out_free
 *
 * Nobody may ever read from a pipe: while it takes nothing, `stopped` is asked, several times a second, whether to give up.
 * The descriptor stays the caller's. One thread at a time. Errors: -errno of the descriptor, -ECANCELED.
 */
#ifndef CORPUSFS_TRANSFER_STREAM_OUT_H
#define CORPUSFS_TRANSFER_STREAM_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/clean.h"

struct stream_out;

struct stream_out *stream_out_new(int fd, bool (*stopped)(void *arg), void *arg);
void stream_out_free(struct stream_out *out); /* drops what is not flushed; NULL is fine */

WARN_UNUSED int stream_out_put(struct stream_out *out, const void *data, size_t len);
WARN_UNUSED int stream_out_flush(struct stream_out *out); /* everything is given to the descriptor */
uint64_t stream_out_position(const struct stream_out *out); /* bytes put so far */

#endif
