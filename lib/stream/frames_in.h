/*
 * Frames of a stream (lib/format/stream.h) from a descriptor. A frame is given out only when its checksum is right, which also means that it
 * comes right behind the one before. Nothing behind the last frame is waited for. Internal to lib/stream; one thread.
 *
 * Errors: -ENODATA the stream ends too early; -EBADMSG it is damaged, or no stream; -errno of the descriptor; -ECANCELED.
 */
#ifndef CORPUSFS_STREAM_FRAMES_IN_H
#define CORPUSFS_STREAM_FRAMES_IN_H

#include "lib/format/stream.h"
#include "lib/transfer/stream_in.h"

struct frames_in {
	struct stream_in *in;
	uint64_t seed;
	uint64_t frames; /* given out */
	struct buf body; /* of the last one */
	bool is_damaged; /* -EBADMSG was given out: it is the stream that is damaged, and nothing else */
};

void frames_in_begin(struct frames_in *frames, int fd, stream_stop_fn stopped, void *arg);
void frames_in_clear(struct frames_in *frames); /* of zeros is fine */
/* -ENODATA also where there is no stream at all; then nothing was read. */
WARN_UNUSED int frames_in_magic(struct frames_in *frames);
/* Its body is in frames->body until the next call. */
WARN_UNUSED int frames_in_next(struct frames_in *frames, enum stream_kind *ret_kind);
/* Behind the end of the stream: something is there that is no part of it. Nothing is waited for. */
bool frames_in_has_more(struct frames_in *frames);
/* The body of the last one cannot be read. Always -EBADMSG. */
int frames_in_bad(struct frames_in *frames);

#endif
