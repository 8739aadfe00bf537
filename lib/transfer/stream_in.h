/*
 * The bytes of a descriptor, in order. A file can be read again from its beginning; a pipe or a socket can when it is kept.
 *
 *   stream_in_new -> stream_in_keep? -> (stream_in_peek | stream_in_next, stream_in_take | stream_in_skip)... -> stream_in_rewind?
 *   -> stream_in_free
 *
 * The descriptor stays the caller's; a file is read from where the descriptor stands, and the descriptor is not moved.
 * One thread at a time. Errors: -errno of the descriptor, -ECANCELED when the caller said so.
 */
#ifndef CORPUSFS_TRANSFER_STREAM_IN_H
#define CORPUSFS_TRANSFER_STREAM_IN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/clean.h"

#define STREAM_BLOCK (1U << 20)

/* Whether to give up. It is asked while there is nothing to read, and by those who read for long. size 0: not known. */
typedef bool (*stream_stop_fn)(void *arg, uint64_t position, uint64_t size);

struct stream_in;
/* Both give NULL when there is no memory. */
struct stream_in *stream_in_new(int fd, stream_stop_fn stopped, void *arg);
/* A part of one that can rewind, which must live longer. */
struct stream_in *stream_in_new_part(const struct stream_in *of, uint64_t offset, uint64_t size);
/* Reads ahead no more than this: for who passes over most of it. */
void stream_in_set_step(struct stream_in *in, size_t step);
void stream_in_free(struct stream_in *in); /* NULL is fine */

/* Where a stream may be kept: in a file without a name. `room` is asked before so many bytes are written: 0, -ENOSPC. */
struct stream_keep {
	int dir;
	int (*room)(void *arg, size_t len);
	void *arg;
};
/* Whatever is read from now on is also kept. Nothing may have been taken yet. */
WARN_UNUSED int stream_in_keep(struct stream_in *in, const struct stream_keep *keep);
bool stream_in_can_rewind(const struct stream_in *in);
/* Only where it can. What is kept and was not read yet is lost: read to the end before. */
void stream_in_rewind(struct stream_in *in);

/* What was read and not taken: 1 and at least one byte, good until the next call; 0 at the end. */
WARN_UNUSED int stream_in_next(struct stream_in *in, const uint8_t **ret_data, size_t *ret_len);
/* The same, but at least `least` bytes (at most STREAM_BLOCK) unless the end comes before: the number there is, 0 at the end. */
WARN_UNUSED int stream_in_peek(struct stream_in *in, size_t least, const uint8_t **ret_data, size_t *ret_len);
void stream_in_take(struct stream_in *in, size_t len); /* of what was returned last */
/* Takes up to len bytes without looking at them; how many there were. */
WARN_UNUSED int stream_in_skip(struct stream_in *in, uint64_t len, uint64_t *ret_skipped);

bool stream_in_has_more(struct stream_in *in); /* something is there already; nothing is waited for */
bool stream_in_stopped(struct stream_in *in);
uint64_t stream_in_position(const struct stream_in *in); /* bytes taken since the beginning */
uint64_t stream_in_size(const struct stream_in *in);     /* 0: not known */

/* Bytes at any place, where it can rewind: how many, less than len only at the end. */
WARN_UNUSED int stream_in_at(struct stream_in *in, uint64_t offset, void *out, size_t len, size_t *ret_len);

#endif
