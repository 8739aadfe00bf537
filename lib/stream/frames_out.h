/*
 * Frames of a stream (lib/format/stream.h) to a descriptor. Internal to lib/stream; one thread. Errors: -errno of the descriptor, -ECANCELED.
 */
#ifndef CORPUSFS_STREAM_FRAMES_OUT_H
#define CORPUSFS_STREAM_FRAMES_OUT_H

#include "lib/format/stream.h"
#include "lib/transfer/stream_out.h"

struct frames_out {
	struct stream_out *out;
	uint64_t seed; /* checksum of the last frame */
	uint64_t frames;
	struct buf body; /* room */
};

/* Writes the magic, too. `stopped` is asked while the descriptor takes nothing. */
WARN_UNUSED int frames_out_begin(struct frames_out *frames, int fd, bool (*stopped)(void *arg), void *arg);
void frames_out_clear(struct frames_out *frames); /* of zeros is fine */
/* The body is that of frames->body and what follows it. */
WARN_UNUSED int frames_out_put(struct frames_out *frames, enum stream_kind kind, const void *tail, size_t tail_len);
/* The last frame; everything is given to the descriptor. */
WARN_UNUSED int frames_out_end(struct frames_out *frames);

#endif
