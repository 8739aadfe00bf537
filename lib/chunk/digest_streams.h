/*
 * SHA-256 of messages that come in parts, one message after another, hashed side by side (digest_many). A part is hashed when digest_streams_run is
 * called, and stays where it is until then.
 *
 *   digest_streams_new -> (digest_streams_begin -> digest_streams_add... -> digest_streams_end or _drop)..., digest_streams_run -> digest_streams_free
 *
 * digest_streams_run may be called at any time, also in the midst of a message. One thread.
 */
#ifndef CORPUSFS_CHUNK_DIGEST_STREAMS_H
#define CORPUSFS_CHUNK_DIGEST_STREAMS_H

#include "lib/chunk/digest.h"

struct digest_streams;

struct digest_streams *digest_streams_new(void);
void digest_streams_free(struct digest_streams *streams); /* NULL is fine */
void digest_streams_use_one(struct digest_streams *streams); /* before the first message: one after another is hashed, as where there are no lanes */

/* What it is goes to `out` in the run that follows its end. */
void digest_streams_begin(struct digest_streams *streams, uint8_t out[DIGEST_LEN]);
void digest_streams_add(struct digest_streams *streams, const void *data, size_t len);
void digest_streams_end(struct digest_streams *streams);
void digest_streams_drop(struct digest_streams *streams); /* it does not come to its end; nothing if none is under way */

void digest_streams_run(struct digest_streams *streams);

#endif
